//! What a simulation is told: one JSON object a line, in order of time, read strictly.

mod fields;

use std::time::Duration;

use covenant_types::{ActorPath, ExitReason, Uptime};

use crate::{Restart, Shutdown};
use fields::Fields;

/// The longest script, in bytes.
pub const SCRIPT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most events of a script.
pub const SCRIPT_EVENTS_MAX: usize = 100_000;

/// One event of a script.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptedEvent {
    /// When.
    pub at: Uptime,
    /// With whom.
    pub path: ActorPath,
    /// What.
    pub what: Happening,
}

/// What a script can say.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// The child ends by itself. Whatever runs below a supervisor that ends so is killed with it.
    Exit(ExitReason),
    /// The child's next starts fail.
    StartFails {
        /// How many.
        times: u64,
    },
    /// The child's next starts say that there is nothing to run.
    StartIgnored {
        /// How many.
        times: u64,
    },
    /// The child's starts take this long from now on.
    StartTakes(Duration),
    /// The worker takes this long to stop from now on.
    StopTakes(Duration),
    /// An administrative call.
    Call(AdminCall),
}

/// OTP's administrative calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminCall {
    /// Stop a child and keep its spec.
    TerminateChild,
    /// Start a child that is stopped.
    RestartChild,
    /// Forget a child that is stopped.
    DeleteChild,
    /// Start one more worker, or one more instance of a dynamic supervisor: those are what their template says.
    StartChild(Option<NewChild>),
}

/// What a worker that is added is to be, where it is not what a worker is by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewChild {
    /// When it is started again.
    pub restart: Restart,
    /// How it is stopped; none for five seconds.
    pub shutdown: Option<Shutdown>,
    /// Whether its end counts.
    pub significant: bool,
}

impl AdminCall {
    /// The call's name.
    pub fn word(&self) -> &'static str {
        match self {
            Self::TerminateChild => "terminate_child",
            Self::RestartChild => "restart_child",
            Self::DeleteChild => "delete_child",
            Self::StartChild(_) => "start_child",
        }
    }
}

/// What is wrong with a script, and where. Prints as `12:1: what`; nothing was simulated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {what}")]
pub struct ScriptError {
    line: usize,
    column: usize,
    what: String,
}

/// Reads a script. Empty lines are skipped.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn read_script(bytes: &[u8]) -> Result<Vec<ScriptedEvent>, ScriptError> {
    if bytes.len() > SCRIPT_BYTES_MAX {
        let what = format!("the events are longer than the {SCRIPT_BYTES_MAX} bytes that are read");
        return Err(ScriptError { line: 1, column: 1, what });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or_default());
        let (line, last) = before.split('\n').enumerate().last().unwrap_or_default();
        ScriptError { line: line + 1, column: last.chars().count() + 1, what: "this is not UTF-8".to_owned() }
    })?;
    let mut events: Vec<ScriptedEvent> = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        if events.len() >= SCRIPT_EVENTS_MAX {
            let what = format!("at most {SCRIPT_EVENTS_MAX} events are read");
            return Err(ScriptError { line: at + 1, column: 1, what });
        }
        let fields = Fields::read(at + 1, line)?;
        let event = event(&fields)?;
        if let Some(last) = events.last().filter(|last| last.at > event.at) {
            let what = format!("times never decrease, and the line before is at {}", last.at.as_millis());
            return Err(fields.error_at("at", what));
        }
        events.push(event);
    }
    Ok(events)
}

fn event(fields: &Fields<'_>) -> Result<ScriptedEvent, ScriptError> {
    let kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).filter(|kind| fields.has(kind)).collect();
    let [kind] = kinds[..] else {
        fields.only(&ALL_KEYS)?; // a misspelt word explains more than a missing one
        let (first, all) = (kinds.get(1), KINDS.map(|(kind, _)| kind).join(", "));
        let what = format!("an event has one of {all}");
        return Err(first.map_or_else(|| fields.error_here(what.clone()), |second| fields.error_at_key(second, &what)));
    };
    let keys = KINDS.iter().find(|(known, _)| *known == kind).map_or(&[][..], |(_, keys)| keys);
    fields.only(keys)?;
    let at = Uptime::from_millis(fields.integer("at")?.ok_or_else(|| fields.missing("at"))?);
    let path = |key: &str| {
        let text = fields.text(key)?.ok_or_else(|| fields.missing(key))?;
        text.parse::<ActorPath>().map_err(|error| fields.error_at(key, error.to_string()))
    };
    let times = || Ok(fields.integer("times")?.unwrap_or(1));
    let span = || fields.integer("ms")?.map(Duration::from_millis).ok_or_else(|| fields.missing("ms"));
    let (path, what) = match kind {
        "exit" => (path("exit")?, Happening::Exit(fields.reason("reason")?.ok_or_else(|| fields.missing("reason"))?)),
        "start_fails" => (path(kind)?, Happening::StartFails { times: times()? }),
        "start_ignored" => (path(kind)?, Happening::StartIgnored { times: times()? }),
        "start_takes" => (path(kind)?, Happening::StartTakes(span()?)),
        "stop_takes" => (path(kind)?, Happening::StopTakes(span()?)),
        _ => (path("path")?, Happening::Call(call(fields)?)),
    };
    if path.is_root() && !matches!(what, Happening::Exit(_)) {
        let key = if kind == "call" { "path" } else { kind };
        return Err(fields.error_at(key, "nobody supervises the root: name a child".to_owned()));
    }
    Ok(ScriptedEvent { at, path, what })
}

fn call(fields: &Fields<'_>) -> Result<AdminCall, ScriptError> {
    let call = fields.word("call", &CALLS)?.ok_or_else(|| fields.missing("call"))?;
    if !matches!(call, AdminCall::StartChild(_)) {
        fields.only(&["at", "call", "path"])?;
    }
    let restart = fields.word("restart", &RESTARTS)?;
    let shutdown = fields.shutdown("shutdown")?;
    let significant = fields.boolean("significant")?;
    if restart.is_none() && shutdown.is_none() && significant.is_none() {
        return Ok(call);
    }
    let (restart, significant) = (restart.unwrap_or_default(), significant.unwrap_or(false));
    Ok(AdminCall::StartChild(Some(NewChild { restart, shutdown, significant })))
}

/// What an event can be, and the keys it then has.
const KINDS: [(&str, &[&str]); 6] = [
    ("exit", &["at", "exit", "reason"]),
    ("start_fails", &["at", "start_fails", "times"]),
    ("start_ignored", &["at", "start_ignored", "times"]),
    ("start_takes", &["at", "start_takes", "ms"]),
    ("stop_takes", &["at", "stop_takes", "ms"]),
    ("call", &["at", "call", "path", "restart", "shutdown", "significant"]),
];
const ALL_KEYS: [&str; 14] = [
    "at",
    "exit",
    "reason",
    "start_fails",
    "start_ignored",
    "times",
    "start_takes",
    "stop_takes",
    "ms",
    "call",
    "path",
    "restart",
    "shutdown",
    "significant",
];
const CALLS: [(&str, AdminCall); 4] = [
    ("terminate_child", AdminCall::TerminateChild),
    ("restart_child", AdminCall::RestartChild),
    ("delete_child", AdminCall::DeleteChild),
    ("start_child", AdminCall::StartChild(None)),
];
const RESTARTS: [(&str, Restart); 3] =
    [("permanent", Restart::Permanent), ("transient", Restart::Transient), ("temporary", Restart::Temporary)];
