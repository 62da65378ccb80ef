//! Single actors: looked at, traced, held and killed.

use std::time::Duration;

use covenant_node::api::actor::{
    ActorDrained, ActorResumed, ActorSuspended, DrainActor, ThisActor, TraceActor, TraceLine,
};
use covenant_node::api::{ActorKilled, ApiError, KillActor, Status};
use covenant_runtime::{FlightRecord, Inspection, TraceEnd, TraceEnded, TracedMessage};
use covenant_types::RemotePath;

use crate::args::{ActorVerb, Global};
use crate::client::Client;
use crate::output::{Output, Tone};

/// Does one verb about an actor.
pub(crate) async fn run(global: &Global, verb: ActorVerb, output: &Output) -> Result<(), ApiError> {
    match verb {
        ActorVerb::Kill { path } => kill(global, path, output).await,
        ActorVerb::Inspect { path } => inspect(global, path, output).await,
        ActorVerb::Trace { path, limit, time } => {
            let client = client_of(global, &path).await?;
            let for_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            trace(&client, TraceActor { path: path.path, limit, for_ms }, output).await
        }
        ActorVerb::Suspend { path } => suspend(global, path, output).await,
        ActorVerb::Drain { path, deadline } => drain(global, path, deadline, output).await,
        ActorVerb::Resume { path } => resume(global, path, output).await,
    }
}

/// A client for the node that a path names.
async fn client_of(global: &Global, path: &RemotePath) -> Result<Client, ApiError> {
    match &path.node {
        // With --socket or --address the node is said already, and the name before ':' must be its name.
        Some(node) if global.socket.is_none() && global.address.is_none() => global.client_of(node),
        Some(node) => {
            let client = global.client().await?;
            let status: Status = client.get("/v1/status").await?;
            if status.name != *node {
                return Err(ApiError::usage(format!("{client} is {}, not {node}; nothing was done", status.name)));
            }
            Ok(client)
        }
        None => global.client().await,
    }
}

async fn kill(global: &Global, path: RemotePath, output: &Output) -> Result<(), ApiError> {
    let client = client_of(global, &path).await?;
    let killed: ActorKilled = client.post("/v1/actor/kill", &KillActor { path: path.path }).await?;
    output.view(&killed, |_| {
        format!("{} incarnation {} was killed; its supervisor decides what comes next", killed.path, killed.incarnation)
    });
    Ok(())
}

async fn suspend(global: &Global, path: RemotePath, output: &Output) -> Result<(), ApiError> {
    let client = client_of(global, &path).await?;
    let done: ActorSuspended = client.post("/v1/actor/suspend", &ThisActor { path: path.path }).await?;
    output.view(&done, |_| {
        format!(
            "{} incarnation {} begins no message more; let it go on with: covenant actor resume {}",
            done.path, done.incarnation, done.path
        )
    });
    Ok(())
}

async fn resume(global: &Global, path: RemotePath, output: &Output) -> Result<(), ApiError> {
    let client = client_of(global, &path).await?;
    let done: ActorResumed = client.post("/v1/actor/resume", &ThisActor { path: path.path }).await?;
    output.view(&done, |_| match done.was_suspended {
        true => format!("{} goes on", done.path),
        false => format!("{} was not suspended", done.path),
    });
    Ok(())
}

async fn drain(global: &Global, path: RemotePath, deadline: Duration, output: &Output) -> Result<(), ApiError> {
    let request =
        DrainActor { path: path.path.clone(), deadline_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX) };
    let within = request.deadline()? + ANSWER_WITHIN;
    let client = client_of(global, &path).await?;
    let done: ActorDrained = client.post_within("/v1/actor/drain", &request, within).await?;
    output.view(&done, |_| {
        let ActorDrained { path, incarnation, reason, took_ms, .. } = &done;
        match done.complete {
            true => format!("{path} incarnation {incarnation} handled what waited and ended, in {took_ms} ms"),
            false => format!(
                "{path} incarnation {incarnation} ended after {took_ms} ms before it had handled what waited: {reason}"
            ),
        }
    });
    Ok(())
}

async fn inspect(global: &Global, path: RemotePath, output: &Output) -> Result<(), ApiError> {
    let client = client_of(global, &path).await?;
    let seen: Inspection = client.post("/v1/actor/inspect", &ThisActor { path: path.path }).await?;
    output.view(&seen, |output| inspection(&seen, output));
    Ok(())
}

fn inspection(seen: &Inspection, output: &Output) -> String {
    let mut text = format!(
        "{} {}\nincarnation   {}\nrestarts      {}\nbehaviour     {}\nhandled       {}\nhandler time  {}",
        seen.path,
        output.paint(super::tree::tone(seen.state), &seen.state.to_string()),
        seen.incarnation,
        seen.restarts,
        seen.behaviour.as_deref().unwrap_or("a supervisor"),
        seen.handled,
        micros(seen.handler_us),
    );
    if let Some(mailbox) = &seen.mailbox {
        text += &format!("\nmailbox       {} of {}, {} dropped", mailbox.depth, mailbox.capacity, mailbox.dropped);
    }
    if let Some(crash) = &seen.last_crash {
        let place = crash.site.as_ref().map(|site| format!(" at {site}")).unwrap_or_default();
        text += &format!("\nlast crash    incarnation {}: {}{place}", crash.incarnation, crash.reason);
    }
    match (&seen.shown, &seen.not_shown_because) {
        (Some(state), _) => text += &format!("\nstate         {state:#}"),
        (None, Some(why)) => {
            text += &format!("\nstate         {}", output.paint(Tone::Warn, &format!("not shown: {why}")))
        }
        (None, None) => {}
    }
    if let Some(record) = &seen.record {
        text += &format!("\n\n{}", messages(record, output));
    }
    text
}

/// The messages of a flight record.
pub(super) fn messages(record: &FlightRecord, output: &Output) -> String {
    let rows: Vec<_> = record
        .messages
        .iter()
        .map(|message| {
            let batch = record.batches.iter().find(|batch| batch.batch == message.batch);
            let took = batch.map_or_else(
                || "-".to_owned(),
                |batch| match batch.messages {
                    1 => micros(batch.took_us),
                    count => format!("{} for {count}", micros(batch.took_us)),
                },
            );
            vec![
                (Tone::Plain, message.kind.to_string()),
                (Tone::Plain, format!("{} B", message.size)),
                (Tone::Dim, message.batch.to_string()),
                (Tone::Plain, took),
                (Tone::Dim, message.trace.map_or_else(|| "-".to_owned(), |trace| trace.to_string())),
                (Tone::Dim, message.text.clone().unwrap_or_default()),
            ]
        })
        .collect();
    output.table(&["LAST MESSAGES", "SIZE", "BATCH", "TOOK", "TRACE", "TEXT"], &rows)
}

async fn trace(client: &Client, request: TraceActor, output: &Output) -> Result<(), ApiError> {
    let within = request.time() + TRACE_ANSWER_WITHIN;
    let mut ended = None;
    client
        .post_lines("/v1/actor/trace", &request, within, |line: TraceLine| {
            match &line {
                TraceLine::Message(message) if !output.json() => output.data(&traced(message)),
                TraceLine::Message(_) => {}
                TraceLine::End(end) => ended = Some(*end),
            }
            if output.json()
                && let Ok(text) = serde_json::to_string(&line)
            {
                output.data(&text);
            }
        })
        .await?;
    let Some(TraceEnd { ended, shown, skipped }) = ended else {
        return Err(ApiError::failure("the trace broke off: the node stopped, or the connection broke"));
    };
    let why = match ended {
        TraceEnded::Limit => "the limit was reached",
        TraceEnded::Time => "the time is over",
        TraceEnded::Incarnation => "the incarnation ended",
    };
    output.talk(&format!("{why}: {shown} messages shown, {skipped} not"));
    Ok(())
}

fn traced(message: &TracedMessage) -> String {
    let TracedMessage { at_us, kind, size, took_us, trace } = message;
    let (seconds, rest) = (at_us / 1_000_000, at_us % 1_000_000);
    let trace = trace.map_or_else(String::new, |trace| format!("  {trace}"));
    format!("+{seconds}.{rest:06}s  {kind}  {size} B  {}{trace}", micros(*took_us))
}

fn micros(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} us"),
        10_000..10_000_000 => format!("{} ms", count / 1000),
        _ => format!("{} s", count / 1_000_000),
    }
}

/// How long after its own end the end of a trace may take to arrive.
const TRACE_ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long after its deadline the answer to a drain may take to arrive: longer than the node waits.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
