//! What is asked of an actor beside its messages, and answered between two batches.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use super::trace::Tracer;
use super::{FlightRecord, Observed, Recorder};
use crate::{Behaviour, Context, panic_text};

/// Something that is asked of a running actor. Whoever asks has a deadline, and leaves when it has passed.
#[derive(Debug)]
pub(crate) enum Ask {
    /// What it shows of itself.
    Inspect(oneshot::Sender<Shown>),
    /// To say when it handles no more messages, having been suspended.
    Suspended(oneshot::Sender<()>),
    /// To tell of the messages it handles. The answer is whether nobody else was watching.
    Trace(Box<Tracer>, oneshot::Sender<bool>),
}

/// What an actor shows of itself.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Its state, or why there is none.
    pub(crate) state: Result<Option<serde_json::Value>, String>,
    pub(crate) record: Option<FlightRecord>,
}

impl Ask {
    /// Whether somebody still waits for the answer.
    pub(super) fn is_wanted(&self) -> bool {
        match self {
            Self::Inspect(answer) => !answer.is_closed(),
            Self::Suspended(answer) => !answer.is_closed(),
            Self::Trace(_, answer) => !answer.is_closed(),
        }
    }
}

/// Answers what waits. At most [`ASKS_MAX`](super::ASKS_MAX) do.
///
/// A panic in [`Behaviour::inspect`] is an error answer and no crash: it has the state by reference, and no message is lost.
pub(crate) fn answer<B: Behaviour>(behaviour: &B, context: &Context<B>, recorder: &mut Option<Box<Recorder>>) {
    for _ in 0..super::ASKS_MAX {
        let Some(ask) = context.slot().if_observed().and_then(Observed::next_ask) else { return };
        match ask {
            Ask::Inspect(answer) if !answer.is_closed() => {
                let state = catch_unwind(AssertUnwindSafe(|| behaviour.inspect()));
                let state = state.map_err(|payload| format!("its inspect panicked: {}", panic_text(&*payload)));
                let record = recorder.as_deref().map(Recorder::view);
                let _asker_left = answer.send(Shown { state, record });
            }
            Ask::Inspect(_) => {}
            Ask::Suspended(answer) => {
                let _asker_left = answer.send(());
            }
            Ask::Trace(tracer, answer) => {
                let free = recorder.get_or_insert_with(Box::default).trace(tracer);
                let _asker_left = answer.send(free);
            }
        }
    }
}
