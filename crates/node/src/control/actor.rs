//! The verbs about single actors: what can be seen of them, why they crashed, and holding them.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::{Extension, body};
use covenant_identity::Verb;
use covenant_runtime::{DrainError, Inspection, ObserveError, Trace, TraceLimits};
use covenant_types::ActorPath;
use futures_util::stream;

use super::caller::{Caller, Done, act};
use super::{Answer, Control, body as read};
use crate::api::actor::{
    ActorDrained, ActorResumed, ActorSuspended, Capsule, CrashSummary, DrainActor, ThisActor, TraceActor, TraceLine,
};
use crate::api::{ApiError, ErrorKind};

/// How long an actor may take to answer between two of its messages.
const ACTOR_WITHIN: Duration = Duration::from_secs(2);
/// How long after its deadline a drain is waited for: an actor may take its time to stop.
const DRAIN_ANSWER_WITHIN: Duration = Duration::from_secs(20);

pub(crate) async fn crashes(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
) -> Answer<Vec<CrashSummary>> {
    control.allow(&caller, Verb::Crashes).await?;
    Ok(Json(control.crashes.list()))
}

pub(crate) async fn crash(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer<Capsule> {
    control.allow(&caller, Verb::Crashes).await?;
    let none = || ApiError::new(ErrorKind::NotFound, "no such crash here; `covenant crash ls` lists them");
    control.crashes.find(&id).map(Json).ok_or_else(none)
}

pub(crate) async fn inspect(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<Inspection> {
    control.allow(&caller, Verb::ActorInspect).await?;
    let ThisActor { path } = read(&bytes)?;
    control.system.inspect(&path, ACTOR_WITHIN).await.map(Json).map_err(no)
}

pub(crate) async fn suspend(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<ActorSuspended> {
    let ThisActor { path } = read(&bytes)?;
    act(&control, &caller, Verb::ActorSuspend, target(&control, &path), async {
        let suspended = control.system.suspend(&path, ACTOR_WITHIN).await;
        let incarnation = suspended.map_err(|error| match error {
            ObserveError::NoAnswer(path) => ApiError::new(
                ErrorKind::Timeout,
                format!("{path} is suspended, and a handler of it still runs: it rests when that returns"),
            ),
            error @ (ObserveError::NoSuchPath(_)
            | ObserveError::NotRunning(_)
            | ObserveError::NoMailbox(_)
            | ObserveError::TooManyAsks(_)
            | ObserveError::Traced(_)) => no(error),
        })?;
        let before = format!("incarnation {incarnation}");
        Ok(Done { answer: ActorSuspended { path: path.clone(), incarnation }, before, after: "suspended".to_owned() })
    })
    .await
}

pub(crate) async fn resume(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<ActorResumed> {
    let ThisActor { path } = read(&bytes)?;
    act(&control, &caller, Verb::ActorResume, target(&control, &path), async {
        let was_suspended = control.system.resume(&path).map_err(no)?;
        let before = if was_suspended { "suspended" } else { "not suspended" };
        let answer = ActorResumed { path: path.clone(), was_suspended };
        Ok(Done { answer, before: before.to_owned(), after: "resumed".to_owned() })
    })
    .await
}

/// Answers when the actor has ended, or [`DRAIN_ANSWER_WITHIN`] after the deadline.
pub(crate) async fn drain(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<ActorDrained> {
    let request: DrainActor = read(&bytes)?;
    let deadline = request.deadline()?;
    act(&control, &caller, Verb::ActorDrain, target(&control, &request.path), async {
        let drain = control.system.drain(&request.path, deadline);
        let drained = tokio::time::timeout(deadline + DRAIN_ANSWER_WITHIN, drain).await.map_err(|_| {
            let message = format!("{} has not ended yet: it is stopped as its shutdown says", request.path);
            ApiError::new(ErrorKind::Timeout, message)
        })?;
        let drained = drained.map_err(|error| {
            let kind = match error {
                DrainError::NoSuchPath(_) => ErrorKind::NotFound,
                DrainError::NotRunning(_) => ErrorKind::Conflict,
                DrainError::Supervisor(_) => ErrorKind::Refused,
            };
            ApiError::new(kind, format!("{error}; nothing was done"))
        })?;
        let before = format!("incarnation {}", drained.incarnation);
        let after = drained.reason.to_string();
        Ok(Done { answer: ActorDrained::new(request.path.clone(), &drained), before, after })
    })
    .await
}

/// The line of the audit log is about its beginning; it ends by itself.
pub(crate) async fn trace(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Response, ApiError> {
    let request: TraceActor = read(&bytes)?;
    let limits = TraceLimits { messages: request.limit, time: request.time() };
    let mut begun = None;
    let _audited: Json<()> = act(&control, &caller, Verb::ActorTrace, target(&control, &request.path), async {
        begun = Some(control.system.trace(&request.path, limits, ACTOR_WITHIN).await.map_err(no)?);
        let after = format!("at most {} messages in {} ms", limits.messages, request.for_ms);
        Ok(Done { answer: (), before: String::new(), after })
    })
    .await?;
    let lines = stream::unfold(begun, |trace| async move { next_line(trace?).await });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

async fn next_line(mut trace: Trace) -> Option<(Result<body::Bytes, Infallible>, Option<Trace>)> {
    let (line, rest) = match trace.next().await {
        Ok(message) => (TraceLine::Message(message), Some(trace)),
        Err(end) => (TraceLine::End(end), None),
    };
    let mut text = serde_json::to_vec(&line).ok()?;
    text.push(b'\n');
    Some((Ok(text.into()), rest))
}

fn target(control: &Control, path: &ActorPath) -> String {
    format!("{}:{path}", control.config.node.name)
}

fn no(error: ObserveError) -> ApiError {
    let kind = match error {
        ObserveError::NoSuchPath(_) => ErrorKind::NotFound,
        ObserveError::NotRunning(_) | ObserveError::Traced(_) => ErrorKind::Conflict,
        ObserveError::NoMailbox(_) | ObserveError::TooManyAsks(_) => ErrorKind::Refused,
        ObserveError::NoAnswer(_) => ErrorKind::Timeout,
    };
    ApiError::new(kind, format!("{error}; nothing was done"))
}
