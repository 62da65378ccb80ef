//! Draining, sleeping, leaving; waiting, and what happened.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use covenant_cluster::{MemberEvent, MemberState, MemberView};
use covenant_node::api::part::{
    DrainNode, EventLine, FOLLOW_MAX, LeaveNode, NodeActive, NodeAsleep, NodeDrained, NodeLeaves, SleepNode,
};
use covenant_node::api::{ApiError, ErrorKind, Status};
use covenant_types::format_duration;
use tokio::time::Instant;

use crate::args::{Drain, DrainVerb, Events, Global, Leave, Sleep, Wait, Wanted};
use crate::client::Client;
use crate::output::Output;

/// How long after its deadline the answer to a drain may take to arrive.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How often a wait looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long nothing may change before a cluster is steady.
const STEADY_FOR: Duration = Duration::from_secs(2);

/// Has a node drain, or work again.
pub(crate) async fn drain(global: &Global, args: Drain, output: &Output) -> Result<(), ApiError> {
    let client = named(global).await?;
    if let Some(DrainVerb::Cancel) = args.verb {
        let active: NodeActive = client.post("/v1/node/drain/cancel", &()).await?;
        output.view(&active, |_| format!("{} works again", active.node));
        return Ok(());
    }
    let deadline_ms = u64::try_from(args.deadline.as_millis()).unwrap_or(u64::MAX);
    let request = |dry_run| DrainNode { deadline_ms, reason: args.reason.clone(), dry_run };
    let plan: NodeDrained = client.post("/v1/node/drain", &request(true)).await?;
    if args.dry_run {
        output.view(&plan, |_| consequences(&format!("draining {}", plan.node), &plan.consequences));
        return Ok(());
    }
    confirm(&format!("draining {}", plan.node), &plan.consequences, args.yes, output)?;
    let within = args.deadline + ANSWER_WITHIN;
    let done: NodeDrained = client.post_within("/v1/node/drain", &request(false), within).await?;
    output.view(&done, |_| match done.under_way {
        0 => format!("{} drains; nothing is under way", done.node),
        count => format!("{} drains; {count} calls were still under way at the deadline", done.node),
    });
    if done.under_way > 0 {
        let message = format!("{} calls were still under way; the node drains on", done.under_way);
        return Err(ApiError::new(ErrorKind::Timeout, message));
    }
    Ok(())
}

/// Puts a node to sleep.
pub(crate) async fn sleep(global: &Global, args: Sleep, output: &Output) -> Result<(), ApiError> {
    let client = named(global).await?;
    let for_ms = u64::try_from(args.time.as_millis()).unwrap_or(u64::MAX);
    let plan: NodeAsleep = client.post("/v1/node/sleep", &SleepNode { for_ms, dry_run: true }).await?;
    let what = format!("putting {} to sleep", plan.node);
    if args.dry_run {
        output.view(&plan, |_| consequences(&what, &plan.consequences));
        return Ok(());
    }
    confirm(&what, &plan.consequences, args.yes, output)?;
    let done: NodeAsleep = client.post("/v1/node/sleep", &SleepNode { for_ms, dry_run: false }).await?;
    output.view(&done, |_| {
        let told: Vec<&str> = done.told.iter().map(covenant_types::NodeName::as_str).collect();
        format!("{} sleeps for {}; {} know", done.node, format_duration(args.time), told.join(", "))
    });
    Ok(())
}

/// Wakes a node.
pub(crate) async fn wake(global: &Global, output: &Output) -> Result<(), ApiError> {
    let active: NodeActive = named(global).await?.post("/v1/node/wake", &()).await?;
    output.view(&active, |_| format!("{} is awake", active.node));
    Ok(())
}

/// Stops a node in order.
pub(crate) async fn leave(global: &Global, args: &Leave, output: &Output) -> Result<(), ApiError> {
    let client = named(global).await?;
    let plan: NodeLeaves = client.post("/v1/node/leave", &LeaveNode { dry_run: true }).await?;
    let what = format!("stopping {}", plan.node);
    if args.dry_run {
        output.view(&plan, |_| consequences(&what, &plan.consequences));
        return Ok(());
    }
    confirm(&what, &plan.consequences, args.yes, output)?;
    let done: NodeLeaves = client.post("/v1/node/leave", &LeaveNode { dry_run: false }).await?;
    output.view(&done, |_| format!("{} leaves", done.node));
    Ok(())
}

/// Waits for a condition.
pub(crate) async fn wait(global: &Global, args: Wait, output: &Output) -> Result<(), ApiError> {
    let begun = Instant::now();
    let mut last: Option<(Vec<(String, MemberState)>, Instant)> = None;
    let mut why = String::from("nobody answered");
    while begun.elapsed() < args.timeout {
        match look(global, &args.what, &mut last).await {
            Ok(None) => {
                let took = begun.elapsed();
                output.view(&serde_json::json!({ "ok": true, "took_ms": took.as_millis() }), |_| {
                    format!("as wanted after {:.1} s", took.as_secs_f64())
                });
                return Ok(());
            }
            Ok(Some(not_yet)) => why = not_yet,
            Err(error) if error.kind == ErrorKind::Unreachable => why = error.message,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(ApiError::new(ErrorKind::Timeout, format!("not within {}: {why}", format_duration(args.timeout))))
}

/// Why it is not so yet; `None` when it is.
async fn look(
    global: &Global,
    what: &Wanted,
    last: &mut Option<(Vec<(String, MemberState)>, Instant)>,
) -> Result<Option<String>, ApiError> {
    let client = global.client().await?;
    if *what == Wanted::Ready {
        let status: Status = client.get("/v1/status").await?;
        return Ok((!status.ready).then_some(status.not_ready_because));
    }
    let members: Vec<MemberView> = client.get("/v1/members").await?;
    if let Wanted::Member { name, word } = what {
        let Some(member) = members.iter().find(|member| member.name == *name) else {
            return Ok(Some(format!("{name} is not known here")));
        };
        let is = [member.state.as_str(), member.phase.as_str()].contains(&word.as_str());
        return Ok((!is).then(|| format!("{name} is {} and {}", member.state, member.phase.as_str())));
    }
    let wrong = members.iter().find(|member| matches!(member.state, MemberState::Unreachable | MemberState::Down));
    if let Some(member) = wrong {
        *last = None;
        return Ok(Some(format!("{} is {}", member.name, member.state)));
    }
    let states: Vec<_> = members.iter().map(|member| (member.name.to_string(), member.state)).collect();
    match last {
        Some((before, since)) if *before == states => {
            let steady = since.elapsed() >= STEADY_FOR;
            Ok((!steady).then(|| "something changed a moment ago".to_owned()))
        }
        _ => {
            *last = Some((states, Instant::now()));
            Ok(Some("something changed a moment ago".to_owned()))
        }
    }
}

/// Shows what happened to members.
pub(crate) async fn events(global: &Global, args: &Events, output: &Output) -> Result<(), ApiError> {
    let client = global.client().await?;
    let follow = if args.follow { FOLLOW_MAX } else { Duration::ZERO };
    let follow_ms = u64::try_from(follow.as_millis()).unwrap_or(u64::MAX);
    let request = covenant_node::api::part::Events { after: args.after, follow_ms };
    let mut last = args.after;
    client
        .post_lines("/v1/events", &request, follow + ANSWER_WITHIN, |line: EventLine| {
            if last > 0 && line.number > last + 1 {
                output.talk(&format!("{} events were lost", line.number - last - 1));
            }
            last = line.number;
            if output.json() {
                if let Ok(text) = serde_json::to_string(&line) {
                    output.data(&text);
                }
            } else {
                output.data(&told(&line));
            }
        })
        .await
}

fn told(line: &EventLine) -> String {
    let what = match &line.event {
        MemberEvent::Changed(member) => {
            let phase = match member.phase.as_str() {
                "active" => String::new(),
                phase => format!(", {phase}"),
            };
            format!("{} is {}{phase} (epoch {}, {})", member.name, member.state, member.epoch, member.address)
        }
        MemberEvent::Quarantined { node, why } => {
            format!("{node} is {why}, which no honest member does: see covenant incidents")
        }
        MemberEvent::SchemaDiffers { node, message } => {
            format!("{node}: schema differs: {message}; messages of this type are refused on both sides")
        }
        MemberEvent::OwnEpochBehind { ours, known } => {
            format!(
                "this node stays in epoch {ours}, and the cluster knows {known}: if no other process has its key, node replace"
            )
        }
        MemberEvent::OwnEpochRaised { known, epoch } => {
            format!(
                "the cluster knew epoch {known} of this node, which goes on in {epoch}: its data was restored or copied"
            )
        }
        MemberEvent::Doubled { node, at } => {
            let at: Vec<String> = at.iter().map(ToString::to_string).collect();
            format!("two processes run with the key of {node}: {}; stop the one that is wrong", at.join(" and "))
        }
    };
    format!("{:>5}  {}  {what}", line.number, line.at.0)
}

/// An act needs a node that was named: none of a folder's nodes is a good guess.
pub(super) async fn named(global: &Global) -> Result<Client, ApiError> {
    if global.node.is_none() && global.socket.is_none() && global.address.is_none() {
        return Err(ApiError::usage("say which node: --node NAME, --socket PATH or --address; nothing was done"));
    }
    global.client().await
}

pub(super) fn consequences(what: &str, list: &[String]) -> String {
    let lines: Vec<String> = list.iter().map(|line| format!("  - {line}")).collect();
    format!("{what}:\n{}", lines.join("\n"))
}

/// Says what follows, and on a terminal asks.
pub(super) fn confirm(what: &str, list: &[String], yes: bool, output: &Output) -> Result<(), ApiError> {
    output.talk(&consequences(what, list));
    if yes || !std::io::stdin().is_terminal() {
        return Ok(());
    }
    let mut stderr = std::io::stderr();
    let _closed = write!(stderr, "go on? [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(ApiError::new(ErrorKind::Refused, "not confirmed; nothing was done"))
    }
}
