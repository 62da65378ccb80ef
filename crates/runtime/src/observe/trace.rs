//! Watching one actor for a while: kinds, sizes and handler times of its messages as they are handled.
//!
//! The actor must not pay for its audience. At most [`TRACE_RATE_MAX`] messages a second are timed and handed over, by a
//! bounded channel that is never waited for; the rest are counted. The watching ends by itself.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use covenant_types::{TraceId, Uptime};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::recorder::micros;

/// The most messages a second of one actor that are timed and told.
pub const TRACE_RATE_MAX: u32 = 1000;
/// The most messages of one trace.
pub const TRACED_MAX: u32 = 10_000;
/// The longest trace.
const TRACE_TIME_MAX: Duration = Duration::from_secs(300);
/// How many told messages may wait for the one who watches.
const WAITING_MAX: usize = 256;
const SECOND: Duration = Duration::from_secs(1);

/// When a trace ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceLimits {
    /// After so many messages, at most [`TRACED_MAX`].
    pub messages: u32,
    /// After so long, at most five minutes.
    pub time: Duration,
}

/// A message that was handled while somebody watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracedMessage {
    /// When its handler began, in microseconds since the node started.
    pub at_us: u64,
    /// Its kind.
    pub kind: Cow<'static, str>,
    /// Its size, in bytes.
    pub size: u32,
    /// How long its handler took, waiting included, in microseconds.
    pub took_us: u64,
    /// The trace it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceId>,
}

/// How a trace ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEnd {
    /// Why.
    pub ended: TraceEnded,
    /// How many messages were told.
    pub shown: u32,
    /// How many were handled meanwhile and not told: more a second than are told, or the watcher was slow.
    pub skipped: u64,
}

/// Why a trace ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceEnded {
    /// As many messages as wanted.
    Limit,
    /// As long as wanted.
    Time,
    /// The incarnation that was watched ended.
    Incarnation,
}

/// A trace, for the one who watches. Dropping it ends it.
#[derive(Debug)]
pub struct Trace {
    messages: mpsc::Receiver<TracedMessage>,
    over: Pin<Box<tokio::time::Sleep>>,
    skipped: Arc<AtomicU64>,
    limit: u32,
    shown: u32,
}

impl Trace {
    /// The next message, or how it ended.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<TracedMessage, TraceEnd> {
        if self.shown == self.limit {
            return Err(self.end(TraceEnded::Limit));
        }
        tokio::select! {
            biased;
            () = &mut self.over => Err(self.end(TraceEnded::Time)),
            message = self.messages.recv() => match message {
                Some(message) => {
                    self.shown += 1;
                    Ok(message)
                }
                None => Err(self.end(TraceEnded::Incarnation)),
            },
        }
    }

    fn end(&self, ended: TraceEnded) -> TraceEnd {
        TraceEnd { ended, shown: self.shown, skipped: self.skipped.load(Ordering::Relaxed) }
    }
}

/// A trace, for the actor.
#[derive(Debug)]
pub(crate) struct Tracer {
    to: mpsc::Sender<TracedMessage>,
    skipped: Arc<AtomicU64>,
    left: u32,
    /// When the running second began, and how many were told in it.
    second: Uptime,
    in_second: u32,
    /// Not looked at a clock since so many messages.
    blind: u32,
    in_hand: Option<(Uptime, &'static str, u32, Option<TraceId>)>,
}

/// Above the rate the clock is looked at once for so many messages.
const LOOK_EVERY: u32 = 64;

/// Both ends of a trace.
pub(super) fn trace(limits: TraceLimits, now: Uptime) -> (Box<Tracer>, Trace) {
    let limit = limits.messages.clamp(1, TRACED_MAX);
    let (to, messages) = mpsc::channel(WAITING_MAX);
    let skipped = Arc::new(AtomicU64::new(0));
    let over = Box::pin(tokio::time::sleep(limits.time.min(TRACE_TIME_MAX)));
    let told = Arc::clone(&skipped);
    let tracer = Tracer { to, skipped: told, left: limit, second: now, in_second: 0, blind: 0, in_hand: None };
    (Box::new(tracer), Trace { messages, over, skipped, limit, shown: 0 })
}

impl Tracer {
    /// A message is about to be handled.
    pub(super) fn begin(
        &mut self,
        kind: &'static str,
        size: u32,
        trace: Option<TraceId>,
        now: impl FnOnce() -> Uptime,
    ) {
        if self.in_second >= TRACE_RATE_MAX {
            self.blind += 1;
            if self.blind < LOOK_EVERY {
                self.skip();
                return;
            }
            self.blind = 0;
        }
        let now = now();
        if now.since(self.second) >= SECOND {
            (self.second, self.in_second) = (now, 0);
        }
        if self.in_second >= TRACE_RATE_MAX {
            self.skip();
            return;
        }
        self.in_second += 1;
        self.in_hand = Some((now, kind, size, trace));
    }

    /// It was handled. False when this trace is over.
    pub(super) fn end(&mut self, now: impl FnOnce() -> Uptime) -> bool {
        if let Some((began, kind, size, trace)) = self.in_hand.take() {
            let took_us = micros(now().since(began));
            let message = TracedMessage { at_us: micros(began.0), kind: Cow::Borrowed(kind), size, took_us, trace };
            match self.to.try_send(message) {
                Ok(()) => self.left -= 1,
                Err(mpsc::error::TrySendError::Full(_)) => self.skip(),
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
            }
        }
        self.left > 0 && !self.is_over()
    }

    /// Nobody watches any more.
    pub(super) fn is_over(&self) -> bool {
        self.to.is_closed()
    }

    fn skip(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(messages: u32, time: Duration) -> TraceLimits {
        TraceLimits { messages, time }
    }

    #[tokio::test(start_paused = true)]
    async fn above_its_rate_messages_are_counted_and_the_clock_is_spared() {
        let (mut tracer, mut trace) = trace(limits(TRACED_MAX, SECOND), Uptime::ZERO);
        let mut looks = 0;
        for _ in 0..TRACE_RATE_MAX {
            tracer.begin("m", 1, None, || Uptime::ZERO);
            assert!(tracer.end(|| Uptime::ZERO));
            trace.next().await.unwrap();
        }
        for _ in 0..6400 {
            tracer.begin("m", 1, None, || {
                looks += 1;
                Uptime::from_millis(999)
            });
            assert!(tracer.end(|| unreachable!("it is not timed")));
        }
        assert_eq!(looks, 100);
        let end = trace.next().await.unwrap_err();
        assert_eq!(end, TraceEnd { ended: TraceEnded::Time, shown: TRACE_RATE_MAX, skipped: 6400 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_who_does_not_read_delays_nobody() {
        let (mut tracer, trace) = trace(limits(TRACED_MAX, SECOND), Uptime::ZERO);
        for _ in 0..WAITING_MAX + 7 {
            tracer.begin("m", 1, None, || Uptime::ZERO);
            assert!(tracer.end(|| Uptime::ZERO));
        }
        assert_eq!(trace.skipped.load(Ordering::Relaxed), 7);
        drop(trace);
        tracer.begin("m", 1, None, || Uptime::ZERO);
        assert!(!tracer.end(|| Uptime::ZERO), "it is over with its watcher");
    }
}
