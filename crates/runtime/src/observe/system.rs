//! Looking at one actor of a system, and holding it.

use std::sync::Arc;
use std::time::Duration;

use covenant_supervision::ChildKind;
use covenant_types::{ActorPath, ExitReason, Incarnation, WallTime};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::crash::shortened;
use super::recorder::micros;
use super::trace::{self, Trace, TraceLimits};
use super::{Ask, CrashContext, CrashKey, CrashReport, FlightRecord, Left, Observed, PanicSite};
use crate::System;
use crate::deadline;
use crate::slot::Slot;
use crate::view::{ActorKind, ActorState, MailboxView};

/// The longest state that is shown, in bytes of JSON.
const STATE_BYTES_MAX: usize = 256 * 1024;

/// What can be seen of one actor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// Where it hangs.
    pub path: ActorPath,
    /// Worker or supervisor.
    pub kind: ActorKind,
    /// What it is doing.
    pub state: ActorState,
    /// How many starts of this path succeeded since the node booted.
    pub incarnation: Incarnation,
    /// How often it came back after an exit.
    pub restarts: u64,
    /// The registered name of its behaviour; a supervisor has none.
    pub behaviour: Option<String>,
    /// Its mailbox.
    pub mailbox: Option<MailboxView>,
    /// How many messages it handled since the node booted.
    pub handled: u64,
    /// How long its handlers took since then, waiting included, in microseconds.
    pub handler_us: u64,
    /// Its last crash.
    pub last_crash: Option<LastCrash>,
    /// What its behaviour shows of its state.
    pub shown: Option<serde_json::Value>,
    /// Why that is missing, where it did not answer.
    pub not_shown_because: Option<String>,
    /// What the incarnation that runs handled last.
    pub record: Option<FlightRecord>,
}

/// The crash a path had last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCrash {
    /// The incarnation that ended.
    pub incarnation: Incarnation,
    /// Why.
    pub reason: String,
    /// Where it panicked, where that is known.
    pub site: Option<PanicSite>,
    /// When.
    pub at: WallTime,
}

/// Why an actor could not be looked at or held. Nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObserveError {
    /// The tree has no such path.
    #[error("the tree has no {0}")]
    NoSuchPath(ActorPath),
    /// It is between two incarnations, or was stopped.
    #[error("{0} is not running")]
    NotRunning(ActorPath),
    /// It is a supervisor or a plain ractor actor: it takes no messages through a mailbox of ours.
    #[error("{0} has no mailbox: only behaviours can be suspended and traced")]
    NoMailbox(ActorPath),
    /// Too many ask it something at a time.
    #[error("too many are asking {0} at once: try again")]
    TooManyAsks(ActorPath),
    /// Somebody else is tracing it.
    #[error("{0} is being traced by somebody else: wait for the end of that")]
    Traced(ActorPath),
    /// It did not answer in time. What was asked for is forgotten.
    #[error("{0} did not answer in time: a handler is running")]
    NoAnswer(ActorPath),
}

impl System {
    /// What can be seen of the actor at `path`. What it shows of its own state is asked for between two batches, beside its
    /// mailbox; where it does not answer within `deadline` the rest is seen all the same.
    ///
    /// # Errors
    /// The tree has no such path.
    pub async fn inspect(&self, path: &ActorPath, within: Duration) -> Result<Inspection, ObserveError> {
        let slot = self.slot(path).ok_or_else(|| ObserveError::NoSuchPath(path.clone()))?;
        let (shown, not_shown_because, record) = match self.ask_state(&slot, within).await {
            Ok((shown, record)) => (shown, None, record),
            Err(why) => (None, Some(why), None),
        };
        let view = slot.view_alone();
        Ok(Inspection {
            path: view.path,
            kind: view.kind,
            state: view.state,
            incarnation: view.incarnation,
            restarts: view.restarts,
            behaviour: view.behaviour,
            mailbox: view.mailbox,
            handled: view.handled,
            handler_us: view.handler_us,
            last_crash: slot.if_observed().and_then(Observed::last_crash),
            shown,
            not_shown_because,
            record,
        })
    }

    async fn ask_state(
        &self,
        slot: &Slot,
        within: Duration,
    ) -> Result<(Option<serde_json::Value>, Option<FlightRecord>), String> {
        if slot.kind == ChildKind::Supervisor {
            return Ok((None, None));
        }
        let (answer, shown) = oneshot::channel();
        put(slot, Ask::Inspect(answer)).map_err(|error| error.to_string())?;
        let no_answer = || ObserveError::NoAnswer(slot.path.clone()).to_string();
        let shown = deadline::within(within, shown).await.and_then(Result::ok).ok_or_else(no_answer)?;
        let state = shown.state?;
        let length = state.as_ref().map_or(0, |state| state.to_string().len());
        if length > STATE_BYTES_MAX {
            return Err(format!("it shows {length} bytes, and at most {STATE_BYTES_MAX} are passed on"));
        }
        Ok((state, shown.record))
    }

    /// Lets the actor at `path` begin no message more until it is [resumed](System::resume), or its incarnation ends. It can
    /// still be inspected, stopped and killed. Returns when it has come to rest.
    ///
    /// # Errors
    /// It runs nothing that could be suspended. `NoAnswer` where a handler still runs: the actor rests when that returns.
    pub async fn suspend(&self, path: &ActorPath, within: Duration) -> Result<Incarnation, ObserveError> {
        let slot = self.with_mailbox(path)?;
        let incarnation = slot.suspend().ok_or_else(|| ObserveError::NotRunning(path.clone()))?;
        let (answer, rests) = oneshot::channel();
        put(&slot, Ask::Suspended(answer))?;
        let rested = deadline::within(within, rests).await.is_some_and(|answered| answered.is_ok());
        if rested { Ok(incarnation) } else { Err(ObserveError::NoAnswer(path.clone())) }
    }

    /// Lets the actor at `path` go on. False where it was not suspended.
    ///
    /// # Errors
    /// It runs nothing that could be suspended.
    pub fn resume(&self, path: &ActorPath) -> Result<bool, ObserveError> {
        let slot = self.with_mailbox(path)?;
        let was = slot.resume();
        slot.signal();
        Ok(was)
    }

    /// Shows the messages that the actor at `path` handles from now on, until `limits` or its incarnation ends.
    ///
    /// # Errors
    /// It runs nothing that could be traced, is traced already, or did not answer within `deadline`.
    pub async fn trace(&self, path: &ActorPath, limits: TraceLimits, within: Duration) -> Result<Trace, ObserveError> {
        let slot = self.with_mailbox(path)?;
        if slot.running().is_none() {
            return Err(ObserveError::NotRunning(path.clone()));
        }
        let (tracer, trace) = trace::trace(limits, self.env().now());
        let (answer, begun) = oneshot::channel();
        put(&slot, Ask::Trace(tracer, answer))?;
        match deadline::within(within, begun).await {
            Some(Ok(true)) => Ok(trace),
            Some(Ok(false)) => Err(ObserveError::Traced(path.clone())),
            Some(Err(_)) | None => Err(ObserveError::NoAnswer(path.clone())),
        }
    }

    fn with_mailbox(&self, path: &ActorPath) -> Result<Arc<Slot>, ObserveError> {
        let slot = self.slot(path).ok_or_else(|| ObserveError::NoSuchPath(path.clone()))?;
        if slot.has_lane() { Ok(slot) } else { Err(ObserveError::NoMailbox(path.clone())) }
    }

    /// Tells of an abnormal end.
    pub(crate) fn report_crash(
        &self,
        slot: &Slot,
        key: &CrashKey,
        incarnation: Incarnation,
        context: CrashContext,
        reason: &ExitReason,
        left: Option<Left>,
    ) {
        let (site, record, trace, took_along) = match left {
            Some(Left { site, record, trace, took_along, .. }) => (site, record, trace, took_along),
            None => (None, None, None, 0),
        };
        let (reason, at) = (shortened(reason), self.env().wall());
        slot.observed().set_last_crash(LastCrash { incarnation, reason: reason.clone(), site: site.clone(), at });
        let Some(log) = self.crashes() else { return };
        let report = CrashReport {
            path: slot.path.clone(),
            incarnation,
            context,
            reason,
            site,
            trace,
            at,
            at_us: micros(self.env().now().0),
            behaviour: slot.behaviour.as_deref().map(str::to_owned),
            handled: slot.mailbox.as_ref().map_or(0, |mailbox| mailbox.handled()),
            waiting: slot.mailbox.as_ref().map_or(0, |mailbox| mailbox.depth()),
            took_along,
            record,
        };
        log.note(key, report);
    }
}

fn put(slot: &Slot, ask: Ask) -> Result<(), ObserveError> {
    if !slot.has_lane() {
        return Err(ObserveError::NoMailbox(slot.path.clone()));
    }
    if slot.running().is_none() {
        return Err(ObserveError::NotRunning(slot.path.clone()));
    }
    if !slot.observed().ask(ask) {
        return Err(ObserveError::TooManyAsks(slot.path.clone()));
    }
    slot.signal();
    Ok(())
}
