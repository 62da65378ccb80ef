//! The flight recorder of one incarnation: the last messages it handled and how long its batches took.
//!
//! It belongs to its incarnation alone, so that noting a message is a few stores: no lock, no clock, and no allocation once it
//! has its size. Time is taken once at either end of a batch. A message is noted before it is handled, so that the last
//! one of a crash is the one in hand.

use std::borrow::Cow;
use std::time::Duration;

use covenant_types::{TraceId, Uptime};
use serde::{Deserialize, Serialize};

use super::trace::Tracer;
use crate::Behaviour;

/// How many messages of an incarnation are remembered.
pub const RECORDED_MAX: usize = 32;
/// How many of its batches.
const BATCHES_MAX: usize = 8;
/// The longest text of a message that is kept, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// What an incarnation handled last, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlightRecord {
    /// Messages. The last one of an incarnation that crashed was in hand.
    pub messages: Vec<SeenMessage>,
    /// The batches they came in.
    pub batches: Vec<SeenBatch>,
}

/// A message that was taken out of the mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenMessage {
    /// Its [kind](Behaviour::kind).
    pub kind: Cow<'static, str>,
    /// Its [size](Behaviour::size), in bytes.
    pub size: u32,
    /// Which batch it was part of.
    pub batch: u32,
    /// The trace it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceId>,
    /// Its text, where the behaviour [lets it be seen](Behaviour::text).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Messages that were handled in one go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenBatch {
    /// Its number.
    pub batch: u32,
    /// When it began, in microseconds since the node started.
    pub began_us: u64,
    /// How long its handlers took together, waiting included, in microseconds.
    pub took_us: u64,
    /// How many messages.
    pub messages: u32,
}

/// The recorder itself.
#[derive(Default)]
pub(crate) struct Recorder {
    messages: Vec<Entry>,
    /// Where the next one goes once `messages` is full.
    oldest: usize,
    /// Beside `messages`; empty unless the behaviour shows texts.
    texts: Vec<Option<Box<str>>>,
    batch: u32,
    batches: Vec<SeenBatch>,
    /// A message was begun and not ended.
    in_hand: bool,
    tracer: Option<Box<Tracer>>,
}

#[derive(Clone, Copy)]
struct Entry {
    kind: &'static str,
    size: u32,
    batch: u32,
    trace: Option<TraceId>,
}

impl Recorder {
    /// Notes a message that is about to be handled.
    #[inline]
    pub(crate) fn begin<B: Behaviour>(
        &mut self,
        message: &B::Message,
        trace: Option<TraceId>,
        now: impl FnOnce() -> Uptime,
    ) {
        let entry = Entry { kind: B::kind(message), size: saturated(B::size(message)), batch: self.batch, trace };
        self.in_hand = true;
        let at = if self.messages.len() < RECORDED_MAX {
            self.messages.push(entry);
            self.messages.len() - 1
        } else {
            let at = self.oldest;
            self.messages[at] = entry;
            self.oldest = (at + 1) % RECORDED_MAX;
            at
        };
        let text = B::text(message);
        if text.is_some() || !self.texts.is_empty() {
            self.keep_text(at, text);
        }
        if let Some(tracer) = &mut self.tracer {
            tracer.begin(entry.kind, entry.size, trace, now);
        }
    }

    fn keep_text(&mut self, at: usize, text: Option<String>) {
        if self.texts.len() <= at {
            self.texts.resize_with(at + 1, || None);
        }
        self.texts[at] = text.map(|mut text| {
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
            text.into_boxed_str()
        });
    }

    /// The message was handled.
    #[inline]
    pub(crate) fn end(&mut self, now: impl FnOnce() -> Uptime) {
        self.in_hand = false;
        if let Some(tracer) = &mut self.tracer
            && !tracer.end(now)
        {
            self.tracer = None;
        }
    }

    /// The batch is over, however it ended.
    pub(crate) fn end_batch(&mut self, began: Uptime, took: Duration, messages: u32) {
        let seen = SeenBatch { batch: self.batch, began_us: micros(began.0), took_us: micros(took), messages };
        if self.batches.len() < BATCHES_MAX {
            self.batches.push(seen);
        } else {
            let oldest = self.oldest_batch();
            self.batches[oldest] = seen;
        }
        self.batch = self.batch.wrapping_add(1);
    }

    /// Where the oldest batch is once there are [`BATCHES_MAX`], which divides the range of their numbers.
    fn oldest_batch(&self) -> usize {
        self.batch as usize % BATCHES_MAX
    }

    /// Shows every message to `tracer` from now on; `false` where somebody else is watching.
    pub(crate) fn trace(&mut self, tracer: Box<Tracer>) -> bool {
        let free = self.tracer.as_ref().is_none_or(|tracer| tracer.is_over());
        if free {
            self.tracer = Some(tracer);
        }
        free
    }

    /// The trace of the message that was begun and not ended, if it has one.
    pub(crate) fn trace_in_hand(&self) -> Option<TraceId> {
        let count = self.messages.len();
        let last = (self.oldest + count).checked_sub(1)? % count.max(1);
        self.messages.get(last).filter(|_| self.in_hand)?.trace
    }

    /// What it holds.
    pub(crate) fn view(&self) -> FlightRecord {
        let count = self.messages.len();
        let in_order = (0..count).map(|place| (self.oldest + place) % count.max(1));
        let messages = in_order.map(|at| {
            let Entry { kind, size, batch, trace } = self.messages[at];
            let text = self.texts.get(at).and_then(|text| text.as_deref().map(str::to_owned));
            SeenMessage { kind: Cow::Borrowed(kind), size, batch, trace, text }
        });
        let mut batches = self.batches.clone();
        if batches.len() == BATCHES_MAX {
            batches.rotate_left(self.oldest_batch());
        }
        FlightRecord { messages: messages.collect(), batches }
    }
}

pub(crate) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn saturated(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, Exit, StartError};

    struct Loud;

    impl Behaviour for Loud {
        type Config = toml::Table;
        type Message = String;

        async fn start(_: toml::Table, _: &Context<Self>) -> Result<Self, StartError> {
            Ok(Self)
        }
        async fn handle(&mut self, _: String, _: &Context<Self>) -> Result<(), Exit> {
            Ok(())
        }
        fn kind(_: &String) -> &'static str {
            "word"
        }
        fn size(message: &String) -> usize {
            message.len()
        }
        fn text(message: &String) -> Option<String> {
            (message != "secret").then(|| message.clone())
        }
    }

    fn recorded(messages: impl IntoIterator<Item = String>) -> FlightRecord {
        let mut recorder = Recorder::default();
        for message in messages {
            recorder.begin::<Loud>(&message, None, || Uptime::ZERO);
            recorder.end_batch(Uptime::ZERO, Duration::from_micros(5), 1);
        }
        recorder.view()
    }

    #[test]
    fn the_last_messages_are_kept_in_order() {
        let record = recorded((0..RECORDED_MAX + 5).map(|number| "x".repeat(number)));
        let sizes: Vec<u32> = record.messages.iter().map(|message| message.size).collect();
        assert_eq!(sizes, (5..37).collect::<Vec<_>>());
        let batches: Vec<u32> = record.batches.iter().map(|batch| batch.batch).collect();
        assert_eq!(batches, (29..37).collect::<Vec<_>>());
        let last = record.batches.last().unwrap();
        assert_eq!((last.batch, last.took_us, last.messages), (36, 5, 1));
        assert_eq!(record.messages.last().unwrap().batch, 36);
    }

    #[test]
    fn texts_are_those_the_behaviour_shows_cut_to_size() {
        let record = recorded(["hello".to_owned(), "secret".to_owned(), "é".repeat(200)]);
        let texts: Vec<Option<&str>> = record.messages.iter().map(|message| message.text.as_deref()).collect();
        assert_eq!(texts[..2], [Some("hello"), None]);
        assert_eq!(texts[2].map(str::len), Some(TEXT_BYTES_MAX));
    }
}
