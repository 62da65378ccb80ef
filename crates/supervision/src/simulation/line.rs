//! What a simulation prints, one JSON object a line. The form is documented in `docs/operating/simulate.md` and stays.

use std::time::Duration;

use covenant_types::{ActorPath, ExitReason, Uptime};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::script::AdminCall;
use crate::{AdminError, AdminResult, Shutdown};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// When.
    pub at: Uptime,
    /// With whom.
    pub path: ActorPath,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A child runs, for the how manieth time.
    Started(u64),
    /// A child could not be started.
    StartFailed(ExitReason),
    /// A child's start said that there is nothing to run.
    StartIgnored,
    /// A child was asked to stop, and has this long.
    Stopped(Shutdown),
    /// A supervisor gives up: restarts in its window, and how many it forgives.
    Escalated {
        /// The one too many included.
        restarts: u64,
        /// Those that are forgiven.
        intensity: u32,
    },
    /// A supervisor has ended.
    Exited(ExitReason),
    /// An administrative call was answered; by nobody where its supervisor does not run, or ended before it came to it.
    Answered(AdminCall, Option<AdminResult>),
    /// An event of the script meant nothing.
    Ignored(&'static str),
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let path = written(&self.path);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("at", &self.at.as_millis())?;
        let effect = match &self.what {
            What::Started(_) => "start",
            What::StartFailed(_) => "start_failed",
            What::StartIgnored => "start_ignored",
            What::Stopped(_) => "stop",
            What::Escalated { .. } => "escalate",
            What::Exited(_) => "exit",
            What::Answered(call, result) => {
                map.serialize_entry("call", call.word())?;
                map.serialize_entry("path", path)?;
                map.serialize_entry("result", result.as_ref().map_or("noproc", word))?;
                return map.end();
            }
            What::Ignored(why) => {
                map.serialize_entry("ignored", path)?;
                map.serialize_entry("why", why)?;
                return map.end();
            }
        };
        map.serialize_entry("effect", effect)?;
        map.serialize_entry("path", path)?;
        match &self.what {
            What::Started(incarnation) => map.serialize_entry("incarnation", incarnation)?,
            What::StartFailed(reason) | What::Exited(reason) => map.serialize_entry("reason", &Reason(reason))?,
            What::Stopped(Shutdown::BrutalKill) => map.serialize_entry("how", "kill")?,
            What::Stopped(Shutdown::Timeout(timeout)) => {
                map.serialize_entry("how", "shutdown")?;
                map.serialize_entry("timeout", &millis(*timeout))?;
            }
            What::Stopped(Shutdown::Infinity) => {
                map.serialize_entry("how", "shutdown")?;
                map.serialize_entry("timeout", "infinity")?;
            }
            What::Escalated { restarts, intensity } => {
                map.serialize_entry("restarts", restarts)?;
                map.serialize_entry("intensity", intensity)?;
            }
            What::StartIgnored | What::Answered(..) | What::Ignored(_) => {}
        }
        map.end()
    }
}

/// A path as scripts and lines write it: without the first `/`, the root as `/`.
pub(super) fn written(path: &ActorPath) -> &str {
    let text = path.as_str();
    if path.is_root() { text } else { text.strip_prefix('/').unwrap_or(text) }
}

/// A reason as a script writes it.
pub(super) struct Reason<'a>(pub(super) &'a ExitReason);

impl Serialize for Reason<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (word, text) = match self.0 {
            ExitReason::Normal => ("normal", None),
            ExitReason::Shutdown => ("shutdown", None),
            ExitReason::ShutdownWith(text) => ("shutdown", Some(text)),
            ExitReason::Panicked(_) => ("panic", None),
            ExitReason::Error(text) => ("error", Some(text)),
            ExitReason::Killed => ("killed", None),
            ExitReason::NoConnection => ("noconnection", None),
            ExitReason::NameConflict(holder) => ("name_conflict", Some(holder)),
            ExitReason::Rebalanced => ("rebalanced", None),
        };
        match text {
            None => serializer.serialize_str(word),
            Some(text) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(word, text)?;
                map.end()
            }
        }
    }
}

/// The answer to a call in OTP's words.
fn word(result: &AdminResult) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(error) => match error {
            AdminError::NotFound => "not_found",
            AdminError::Running => "running",
            AdminError::Restarting => "restarting",
            AdminError::AlreadyStarted => "already_started",
            AdminError::AlreadyPresent => "already_present",
            AdminError::NameTaken(_) => "name_taken",
            AdminError::Dynamic => "dynamic",
            AdminError::BadSpec(_) => "bad_spec",
            AdminError::StartFailed(_) => "start_failed",
            AdminError::Unkillable => "unkillable",
            AdminError::Stopping => "stopping",
            AdminError::Busy => "busy",
        },
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
