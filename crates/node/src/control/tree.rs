//! The verbs about a running tree: what a change would do, and whether what runs is what files say.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::{Extension, Json};
use covenant_identity::Verb;
use tokio::sync::oneshot;

use super::caller::{Caller, Done, act};
use super::{Answer, Control, body};
use crate::api::tree::{ApplyTree, FindDrift, TreeApplied, TreeBundle, TreePlan};
use crate::api::{ApiError, ErrorKind};
use crate::live_tree::{Told, Wanted, read_bundle};

/// The longest request with tree files in it: all files of a tree, and what JSON adds to them.
pub(crate) const BUNDLE_BYTES_MAX: usize = 20 * 1024 * 1024;

pub(crate) async fn plan(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<TreePlan> {
    control.allow(&caller, Verb::TreePlan).await?;
    let bundle: TreeBundle = body(&bytes)?;
    aside(&control, move |control| {
        let (_, to) = read_bundle(bundle, control.system.behaviours())?;
        against(control, &to)
    })
    .await
    .map(Json)
}

pub(crate) async fn drift(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<TreePlan> {
    control.allow(&caller, Verb::TreePlan).await?;
    let FindDrift { with } = body(&bytes)?;
    aside(&control, move |control| {
        let to = match with {
            Some(bundle) => read_bundle(bundle, control.system.behaviours())?.1,
            None => {
                let (files, tree) = control.live_tree.store.in_force().map_err(ApiError::failure)?;
                Told::new(&files, tree)
            }
        };
        against(control, &to)
    })
    .await
    .map(Json)
}

pub(crate) async fn apply(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<TreeApplied> {
    let request: ApplyTree = body(&bytes)?;
    let (own, (tell, told)) = (Arc::clone(&control), oneshot::channel());
    let taken = control.live_tree.deal_with(async move {
        let _caller_left = tell.send(apply_for(&own, &caller, request).await);
    });
    if !taken {
        return Err(ApiError::new(ErrorKind::Refused, "too many changes wait for their turn; nothing was done"));
    }
    told.await.unwrap_or_else(|_| Err(ApiError::failure("the node stops; its next boot says which tree it has")))
}

async fn apply_for(control: &Control, caller: &Caller, request: ApplyTree) -> Answer<TreeApplied> {
    let target = format!("plan {}", shortened(&request.plan));
    let (before, who) = (control.live_tree.told().hash, caller.to_string());
    act(control, caller, Verb::TreeChange, target, async {
        let ApplyTree { tree, plan } = request;
        let (files, to) = aside(control, move |control| read_bundle(tree, control.system.behaviours())).await?;
        let after = to.hash.clone();
        let wanted = Wanted { files, to, hash: plan, who };
        let applied = control.live_tree.apply(control.config.node.name.as_str(), &control.system, wanted).await?;
        let answer = TreeApplied { plan: applied.plan, done: applied.done };
        Ok(Done { answer, before, after })
    })
    .await
}

/// A text of somebody else's, short enough for a line of the audit log.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

fn against(control: &Control, to: &Told) -> Result<TreePlan, ApiError> {
    let running = control.system.tree();
    control.live_tree.plan(control.config.node.name.as_str(), &running, to).map(|(_, view)| view)
}

/// Comparing large trees takes milliseconds: not on the threads that answer probes.
async fn aside<T: Send + 'static>(
    control: &Control,
    work: impl FnOnce(&Control) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let own = Arc::clone(control);
    control.env.blocking(move || work(&own)).await.map_err(ApiError::failure)?
}
