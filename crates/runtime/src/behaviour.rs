//! What the author of an actor writes.

use std::fmt;
use std::future::Future;

use covenant_types::ExitReason;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Context, Down};

/// An actor: state, and how it answers messages one at a time.
///
/// Implementors write plain `async fn`. A crash, whether a panic or an `Err`, loses the state and the message in hand;
/// the supervisor starts the next incarnation, which finds the messages that were waiting.
pub trait Behaviour: Sized + Send + 'static {
    /// The `config` table of its child in a tree file.
    type Config: DeserializeOwned + Send;
    /// What it is asked. A [`Reply`](crate::Reply) in a variant makes it a call.
    type Message: Send + 'static;

    /// Builds the state. Siblings that start later wait for this.
    fn start(config: Self::Config, ctx: &Context<Self>) -> impl Future<Output = Result<Self, StartError>> + Send;

    /// Handles one message. An `Err` ends the actor with that reason.
    fn handle(&mut self, message: Self::Message, ctx: &Context<Self>) -> impl Future<Output = Result<(), Exit>> + Send;

    /// Hears of the end of an actor that this one [monitors](Context::monitor), or is linked to while it
    /// [traps exits](Context::trap_exits). An `Err` ends the actor with that reason.
    fn down(&mut self, down: Down, ctx: &Context<Self>) -> impl Future<Output = Result<(), Exit>> + Send {
        let _ = (down, ctx);
        async { Ok(()) }
    }

    /// The alarm that [`Context::set_alarm`] set is due. An `Err` ends the actor with that reason.
    fn alarm(&mut self, ctx: &Context<Self>) -> impl Future<Output = Result<(), Exit>> + Send {
        let _ = ctx;
        async { Ok(()) }
    }

    /// What kind of message this is, for the flight recorder and for traces. The type's name unless said otherwise: name the
    /// variants of an enum. It is called for every message and must cost next to nothing.
    fn kind(message: &Self::Message) -> &'static str {
        let _ = message;
        std::any::type_name::<Self::Message>()
    }

    /// How large this message is, in bytes. Unless said otherwise that is the message itself, without what it points to.
    fn size(message: &Self::Message) -> usize {
        let _ = message;
        size_of::<Self::Message>()
    }

    /// What crash capsules may tell of this message, for everyone to read who may look at the node. Nothing unless said
    /// otherwise. It is called for every message: a text made here is paid for by each of them.
    fn text(message: &Self::Message) -> Option<String> {
        let _ = message;
        None
    }

    /// The state as `covenant actor inspect` shows it, for everyone who may look at the node. Nothing unless said otherwise.
    ///
    /// It is called between two messages. A panic here is an error answer to whoever asked, and no crash.
    fn inspect(&self) -> Option<serde_json::Value> {
        None
    }

    /// Runs before an orderly end: the supervisor's stop, [`Context::stop`] or an orderly [`Exit`]. Not after a crash or
    /// a kill.
    fn stop(self, reason: &ExitReason, ctx: &Context<Self>) -> impl Future<Output = ()> + Send {
        let _ = (reason, ctx);
        async {}
    }
}

/// Why a behaviour did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// It has nothing to do on this node. Its siblings start; it is not tried again.
    #[error("it has nothing to do here")]
    Ignore,
    /// What it stands for is run by this one already: an actor, or another process. Whoever starts it by hand is told so; a
    /// supervisor tries again, and does not count it.
    #[error("it runs already as {0}")]
    NameTaken(String),
    /// It cannot run. Its supervisor decides what that means for the others.
    #[error("{0}")]
    Failed(String),
}

impl StartError {
    /// A failure, told in `why`.
    pub fn failed(why: impl fmt::Display) -> Self {
        Self::Failed(why.to_string())
    }
}

/// The `config` of a behaviour that has none: any key in it is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// Ends an actor from inside its handler.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Exit(pub ExitReason);

impl Exit {
    /// A crash, told in `why`: the supervisor restarts what its policy says.
    pub fn error(why: impl fmt::Display) -> Self {
        Self(ExitReason::Error(why.to_string()))
    }

    /// The work is done.
    pub fn normal() -> Self {
        Self(ExitReason::Normal)
    }

    /// As if the supervisor had asked it to stop.
    pub fn shutdown() -> Self {
        Self(ExitReason::Shutdown)
    }
}
