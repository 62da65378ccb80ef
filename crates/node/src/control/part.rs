//! The verbs about a node's part in its cluster. Each says what follows before anything is done.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use covenant_cluster::{MemberState, Phase, SleepError};
use covenant_identity::Verb;
use covenant_types::{Role, Uptime, WallTime, format_duration};
use futures_util::stream;

use super::caller::{Caller, Done, act};
use super::{Answer, Control, body, ledger};
use crate::api::doctor::Checkup;
use crate::api::part::{
    DrainNode, Events, FOLLOW_MAX, LeaveNode, NodeActive, NodeAsleep, NodeDrained, NodeLeaves, SLEEP_MAX, SleepNode,
};
use crate::api::{ApiError, ErrorKind};
use crate::events::EventLog;

/// How often a drain looks whether anything is still under way.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is wrong with this node and its machine.
pub(crate) async fn doctor(State(control): State<Control>, Extension(caller): Extension<Caller>) -> Answer<Checkup> {
    control.allow(&caller, Verb::Status).await?;
    Ok(Json(crate::doctor::examine(&control).await))
}

/// Answers when nothing is under way, or at the deadline. Who does not wait for the answer leaves the node draining.
pub(crate) async fn drain(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<NodeDrained> {
    let request: DrainNode = body(&bytes)?;
    let deadline = request.deadline()?;
    let node = control.config.node.name.clone();
    let mut consequences = vec![
        "it takes nothing new: the others avoid it where they have a choice".to_owned(),
        format!("what it has it finishes: {} calls of other nodes are under way", control.cluster.answering()),
    ];
    consequences.extend(of_the_book(&control, "stays open for writing here until it leaves"));
    consequences.push("undo it with: covenant drain cancel".to_owned());
    let answer =
        NodeDrained { node: node.clone(), consequences, draining: false, under_way: control.cluster.answering() };
    if request.dry_run {
        control.allow(&caller, Verb::NodeDrain).await?;
        return Ok(Json(answer));
    }
    act(&control, &caller, Verb::NodeDrain, node.to_string(), async {
        let before = awake(&control)?;
        control.cluster.set_draining(true);
        let until = control.env.now().after(deadline);
        while control.cluster.answering() > 0 && control.env.now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let under_way = control.cluster.answering();
        let after = format!("draining, {under_way} calls under way; {}", request.reason);
        Ok(Done {
            answer: NodeDrained { draining: true, under_way, ..answer },
            before: before.as_str().to_owned(),
            after,
        })
    })
    .await
}

pub(crate) async fn drain_cancel(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
) -> Answer<NodeActive> {
    let node = control.config.node.name.clone();
    act(&control, &caller, Verb::NodeDrain, node.to_string(), async {
        let was = awake(&control)?;
        if was != Phase::Draining {
            return Err(ApiError::new(ErrorKind::Conflict, format!("{node} does not drain; nothing was done")));
        }
        control.cluster.set_draining(false);
        let (before, after) = (was.as_str().to_owned(), "active".to_owned());
        Ok(Done { answer: NodeActive { node: node.clone(), was }, before, after })
    })
    .await
}

pub(crate) async fn sleep(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<NodeAsleep> {
    let request: SleepNode = body(&bytes)?;
    let span = Duration::from_millis(request.for_ms);
    if span < Duration::from_secs(1) || span > SLEEP_MAX {
        let most = format_duration(SLEEP_MAX);
        return Err(ApiError::usage(format!("a node sleeps for 1s to {most}; nothing was done")));
    }
    let node = control.config.node.name.clone();
    let mut consequences = vec![
        format!("it is silent for {}: no messages reach it and it sends none", format_duration(span)),
        format!("the others hold it for asleep, and for down only after {}", format_duration(span * 2)),
        "its own actors work on; content on it stays readable there".to_owned(),
    ];
    consequences.extend(of_the_book(&control, "cannot be reached meanwhile"));
    consequences.push(format!("wake it early on its own machine with: covenant wake --node {node}"));
    let answer = NodeAsleep { node: node.clone(), consequences, until: None, told: Vec::new() };
    if request.dry_run {
        control.allow(&caller, Verb::NodeSleep).await?;
        return Ok(Json(answer));
    }
    act(&control, &caller, Verb::NodeSleep, node.to_string(), async {
        let before = control.cluster.phase().as_str().to_owned();
        let until = WallTime(control.env.wall().0.saturating_add(span.as_secs()));
        let asleep = control.cluster.sleep(until).await.map_err(|error| {
            let kind = match error {
                SleepError::Asleep => ErrorKind::Conflict,
                SleepError::Past => ErrorKind::Usage,
                SleepError::Unheard { .. } => ErrorKind::Timeout,
                SleepError::Alone | SleepError::Left | _ => ErrorKind::Refused,
            };
            ApiError::new(kind, format!("{error}; {node} is awake"))
        })?;
        let after = format!("asleep until {}", asleep.until.0);
        Ok(Done { answer: NodeAsleep { until: Some(asleep.until), told: asleep.told, ..answer }, before, after })
    })
    .await
}

pub(crate) async fn wake(State(control): State<Control>, Extension(caller): Extension<Caller>) -> Answer<NodeActive> {
    let node = control.config.node.name.clone();
    act(&control, &caller, Verb::NodeSleep, node.to_string(), async {
        let was = control.cluster.phase();
        if !control.cluster.wake().await {
            return Err(ApiError::new(ErrorKind::Conflict, format!("{node} is awake; nothing was done")));
        }
        let (before, after) = (was.as_str().to_owned(), "active".to_owned());
        Ok(Done { answer: NodeActive { node: node.clone(), was }, before, after })
    })
    .await
}

/// The node stops in order once this was answered.
pub(crate) async fn leave(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<NodeLeaves> {
    let request: LeaveNode = body(&bytes)?;
    let node = control.config.node.name.clone();
    let members = control.cluster.members();
    let reachable = |role| {
        let others = members.iter().filter(|member| member.name != node && member.state == MemberState::Reachable);
        others.filter(|member| member.role == role).count()
    };
    let drain = format_duration(control.config.node.drain_deadline);
    let mut consequences = vec![
        format!("its actors stop in order, within {drain}, and its process ends"),
        format!("{} hubs and {} towers stay in the cluster", reachable(Role::Hub), reachable(Role::Tower)),
    ];
    consequences.extend(of_the_book(&control, "cannot be written until it is back"));
    consequences.push("it stays a member: started again, it is back in its next epoch".to_owned());
    let answer = NodeLeaves { node: node.clone(), consequences, leaving: false };
    if request.dry_run {
        control.allow(&caller, Verb::NodeStop).await?;
        return Ok(Json(answer));
    }
    act(&control, &caller, Verb::NodeStop, node.to_string(), async {
        control.leave.notify_one();
        let before = control.cluster.phase().as_str().to_owned();
        Ok(Done { answer: NodeLeaves { leaving: true, ..answer }, before, after: "leaving".to_owned() })
    })
    .await
}

/// What happened to members, line by line.
pub(crate) async fn events(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Response, ApiError> {
    control.allow(&caller, Verb::Members).await?;
    let Events { after, follow_ms } = body(&bytes)?;
    let follow = Duration::from_millis(follow_ms).min(FOLLOW_MAX);
    let end = control.env.now().after(follow);
    let follower = Follower { log: Arc::clone(&control.events), control, after, end };
    let lines = stream::unfold(Some(follower), |follower| async move { next_lines(follower?).await });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

struct Follower {
    log: Arc<EventLog>,
    control: Control,
    after: u64,
    end: Uptime,
}

async fn next_lines(mut follower: Follower) -> Option<(Result<Bytes, Infallible>, Option<Follower>)> {
    let mut lines = follower.log.after(follower.after);
    if lines.is_empty() {
        let left = follower.end.since(follower.control.env.now());
        let waited = tokio::time::timeout(left, follower.log.wait_after(follower.after)).await;
        lines = follower.log.after(follower.after);
        if waited.is_err() && lines.is_empty() {
            return None;
        }
    }
    let mut text = Vec::new();
    for line in lines {
        follower.after = line.number;
        serde_json::to_writer(&mut text, &line).ok()?;
        text.push(b'\n');
    }
    Some((Ok(text.into()), Some(follower)))
}

/// What follows for the book, where this node has a vote on it.
fn of_the_book(control: &Control, what: &str) -> Option<String> {
    let voters = ledger::voters_of(control);
    let others = voters.len().saturating_sub(1);
    voters.contains(&control.config.node.name).then(|| match others {
        0 => format!("the book is kept here alone: it {what}"),
        _ => format!("the book is kept here and on {others} others, who need more than half of {} to book", others + 1),
    })
}

fn awake(control: &Control) -> Result<Phase, ApiError> {
    let phase = control.cluster.phase();
    if matches!(phase, Phase::Asleep { .. }) {
        let node = &control.config.node.name;
        return Err(ApiError::new(ErrorKind::Conflict, format!("{node} sleeps: wake it first; nothing was done")));
    }
    Ok(phase)
}
