//! `up.sock`: where `covenant node kill` and `node start` reach the `up` that owns the processes.

use std::path::Path;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use covenant_env::Env;
use covenant_node::api::{ApiError, ErrorKind};
use covenant_node::audit::{Act, AuditLog};
use covenant_node::http::{Connected, ListenError, Server, serve_unix};
use covenant_types::NodeName;
use serde::{Deserialize, Serialize};

use super::layout::up_socket;
use super::processes::{ProcessView, ProcessesRef};

/// `POST /v1/node/kill`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KillNode {
    pub(crate) node: NodeName,
    pub(crate) hold: bool,
}

/// `POST /v1/node/start`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartNode {
    pub(crate) node: NodeName,
}

struct Shared {
    processes: ProcessesRef,
    audit: AuditLog,
    env: Env,
    uid: u32,
    /// One act at a time, so that the audit log's before and after are true.
    acting: tokio::sync::Mutex<()>,
}

/// Takes orders on the folder's socket until the server is dropped.
pub(crate) fn serve(env: &Env, folder: &Path, processes: ProcessesRef, audit: AuditLog) -> Result<Server, ListenError> {
    let shared = Arc::new(Shared {
        processes,
        audit,
        env: env.clone(),
        uid: covenant_node::own_uid(),
        acting: tokio::sync::Mutex::new(()),
    });
    let router = Router::new()
        .route("/v1/processes", get(processes_view))
        .route("/v1/node/kill", post(kill))
        .route("/v1/node/start", post(start))
        .with_state(shared);
    serve_unix(env, &up_socket(folder), router)
}

async fn processes_view(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Connected>,
) -> Result<Json<Vec<ProcessView>>, ApiError> {
    shared.allow(&who)?;
    Ok(Json(shared.processes.views()))
}

async fn kill(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Connected>,
    body: Bytes,
) -> Result<Json<ProcessView>, ApiError> {
    let order: KillNode = covenant_node::read_body(&body)?;
    let verb = if order.hold { "node kill --hold" } else { "node kill" };
    shared.act(&who, verb, &order.node, shared.processes.kill(&order.node, order.hold)).await
}

async fn start(
    State(shared): State<Arc<Shared>>,
    Extension(who): Extension<Connected>,
    body: Bytes,
) -> Result<Json<ProcessView>, ApiError> {
    let order: StartNode = covenant_node::read_body(&body)?;
    shared.act(&who, "node start", &order.node, shared.processes.start(&order.node)).await
}

impl Shared {
    fn allow(&self, who: &Connected) -> Result<u32, ApiError> {
        match who {
            Connected::Local { uid } if *uid == self.uid || *uid == 0 => Ok(*uid),
            Connected::Local { .. } | Connected::Certified(_) | Connected::Anyone => {
                let message = "only the user who ran `covenant up` may tell it what to do; nothing was done";
                Err(ApiError::new(ErrorKind::Denied, message))
            }
        }
    }

    async fn act(
        &self,
        who: &Connected,
        verb: &str,
        node: &NodeName,
        work: impl Future<Output = Result<(), ApiError>>,
    ) -> Result<Json<ProcessView>, ApiError> {
        let _one_at_a_time = self.acting.lock().await;
        let find = || self.processes.views().into_iter().find(|view| view.node == *node);
        let say = |view: Option<ProcessView>| {
            view.map_or_else(String::new, |view| format!("{} pid {:?}", view.state, view.pid))
        };
        let before = say(find());
        let allowed = self.allow(who);
        let result = match &allowed {
            Ok(_) => work.await,
            Err(error) => Err(error.clone()),
        };
        let name = match who {
            Connected::Local { uid } => format!("uid {uid}"),
            Connected::Certified(_) | Connected::Anyone => "a stranger".to_owned(),
        };
        let act = Act {
            who: name,
            verb: verb.to_owned(),
            target: node.to_string(),
            before,
            after: say(find()),
            result: result.as_ref().err().map_or_else(|| "ok".to_owned(), |error| error.message.clone()),
        };
        self.audit.record(self.env.wall(), act).map_err(ApiError::failure)?;
        result?;
        find().map(Json).ok_or_else(|| ApiError::failure("the node was told, and is not listed any more"))
    }
}
