//! The verbs of content: what is here, what is published, what is followed.

use std::path::PathBuf;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::{Extension, Json};
use covenant_content::{Class, ContentView, Published, SchedulerMessage, StoreMessage, StoreRequest, StoreResponse};
use covenant_identity::Verb;
use covenant_types::Role;

use super::caller::{Caller, Done, act};
use super::{Answer, Control, body};
use crate::api::{ApiError, ErrorKind, GetDataset, Publish, Subscribe, Written};

/// How long an actor may take to answer a question.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long reading or writing a whole dataset may take.
const DATASET_WITHIN: Duration = Duration::from_secs(600);

pub(crate) async fn view(State(control): State<Control>, Extension(caller): Extension<Caller>) -> Answer<ContentView> {
    control.allow(&caller, Verb::ContentList).await?;
    let scheduler = control.lookup::<SchedulerMessage>("/sync/scheduler")?;
    Ok(Json(scheduler.call(SchedulerMessage::View, ANSWER_WITHIN).await?))
}

pub(crate) async fn publish(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<Published> {
    let request: Publish = body(&bytes)?;
    let target = format!("{} from {}", request.name, request.dir);
    act(&control, &caller, Verb::ContentPublish, target, async {
        if control.config.node.role != Role::Hub {
            let message = format!(
                "{} is a {}, and only hubs publish; ask a hub with --node; nothing was published",
                control.config.node.name, control.config.node.role
            );
            return Err(ApiError::new(ErrorKind::Refused, message));
        }
        let class: Class = request.class.parse().map_err(ApiError::usage)?;
        let request = StoreRequest::Publish { dir: absolute(&request.dir)?, name: request.name, class };
        let response = ask(&control, request).await?;
        let StoreResponse::Published(answer) = response else { return Err(unexpected(response)) };
        let after = format!("version {} as {}", answer.version, answer.id);
        Ok(Done { answer, before: String::new(), after })
    })
    .await
}

pub(crate) async fn get(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<Written> {
    let request: GetDataset = body(&bytes)?;
    let target = format!("{} to {}", request.name, request.to);
    act(&control, &caller, Verb::ContentPublish, target, async {
        let response = ask(&control, StoreRequest::Get { name: request.name, to: absolute(&request.to)? }).await?;
        let StoreResponse::Written(id) = response else { return Err(unexpected(response)) };
        let answer = Written { id: id.to_string(), to: request.to };
        Ok(Done { answer, before: String::new(), after: id.to_string() })
    })
    .await
}

pub(crate) async fn subscribe(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<Vec<Class>> {
    let request: Subscribe = body(&bytes)?;
    let target = format!("{} {}", request.class, if request.on { "on" } else { "off" });
    act(&control, &caller, Verb::ContentSubscribe, target, async {
        let class: Class = request.class.parse().map_err(ApiError::usage)?;
        let scheduler = control.lookup::<SchedulerMessage>("/sync/scheduler")?;
        let make = |reply| SchedulerMessage::Subscribe { class, on: request.on, reply };
        let answer = scheduler.call(make, ANSWER_WITHIN).await?.map_err(ApiError::failure)?;
        let after = answer.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Ok(Done { answer, before: String::new(), after })
    })
    .await
}

async fn ask(control: &Control, request: StoreRequest) -> Result<StoreResponse, ApiError> {
    let store = control.lookup::<StoreMessage>("/content/store")?;
    Ok(store.call(|reply| StoreMessage { request, reply }, DATASET_WITHIN).await?)
}

fn absolute(path: &str) -> Result<PathBuf, ApiError> {
    let path = PathBuf::from(path);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(ApiError::usage(format!("{} is not an absolute path; nothing was done", path.display())))
    }
}

fn unexpected(response: StoreResponse) -> ApiError {
    match response {
        StoreResponse::No(why) => ApiError::new(ErrorKind::Refused, why),
        StoreResponse::Absent(what) => ApiError::new(ErrorKind::NotFound, what),
        StoreResponse::Catalog(_)
        | StoreResponse::Manifest(_)
        | StoreResponse::Published(_)
        | StoreResponse::Written(_) => ApiError::failure("the store answered another question"),
    }
}
