//! Actors that are always in one of a few states, as Erlang's `gen_statem`.
//!
//! # Intuition
//! A connection that is down, dialling or up answers the same message in three ways. As a plain behaviour every handler
//! would begin by asking where it is, and every timer by asking whether it still matters. A [`StateMachine`] is handed its
//! state with each message, answers with a [`Step`], and the [`Machine`] around it keeps the rest: how long a state may
//! last, and the messages that can only be handled in another.
//!
//! # Invariants
//! - The timeout of a state that was left never fires, and no full mailbox can lose one.
//! - Postponed messages are handled in the order they came, before any that came later, as soon as the state has changed.
//! - At most [`StateMachine::POSTPONED_MAX`] are postponed. They are in hand: a crash loses them, and their callers hear
//!   why.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::mem;
use std::time::Duration;

use covenant_types::ExitReason;
use serde::de::DeserializeOwned;

use crate::following::{current_trace, replace_trace};
use crate::mailbox::Envelope;
use crate::{Behaviour, Context, Down, Exit, StartError};

/// What the author of a state machine writes. Run it as the behaviour [`Machine`].
///
/// The alarm of its context is the machine's, for the timeouts of states: set no other.
pub trait StateMachine: Sized + Send + 'static {
    /// The `config` table of its child in a tree file.
    type Config: DeserializeOwned + Send;
    /// What it is asked.
    type Message: Send + 'static;
    /// Where it is. What all states share belongs into the machine itself.
    type State: PartialEq + Send + Sync + 'static;

    /// The most messages postponed at a time. One more is dropped, and a call in it ends in `MailboxFull`.
    const POSTPONED_MAX: usize = 1024;

    /// Builds the machine and says where it begins.
    fn start(
        config: Self::Config,
        ctx: &Context<Machine<Self>>,
    ) -> impl Future<Output = Result<(Self, Self::State), StartError>> + Send;

    /// Handles one message in `state`. An `Err` ends the actor with that reason.
    fn handle(
        &mut self,
        state: &Self::State,
        message: Self::Message,
        ctx: &Context<Machine<Self>>,
    ) -> impl Future<Output = Result<Step<Self>, Exit>> + Send;

    /// How long `state` may last before [`StateMachine::timeout`]; asked when it is entered.
    fn state_timeout(&self, state: &Self::State) -> Option<Duration> {
        let _ = state;
        None
    }

    /// `state` has lasted as long as [`StateMachine::state_timeout`] said.
    fn timeout(
        &mut self,
        state: &Self::State,
        ctx: &Context<Machine<Self>>,
    ) -> impl Future<Output = Result<Step<Self>, Exit>> + Send {
        let _ = (state, ctx);
        async { Ok(Step::Stay) }
    }

    /// `state` is entered: the first one too, and each before the messages that were postponed for it.
    fn enter(
        &mut self,
        state: &Self::State,
        ctx: &Context<Machine<Self>>,
    ) -> impl Future<Output = Result<(), Exit>> + Send {
        let _ = (state, ctx);
        async { Ok(()) }
    }

    /// As [`Behaviour::down`], in `state`.
    fn down(
        &mut self,
        state: &Self::State,
        down: Down,
        ctx: &Context<Machine<Self>>,
    ) -> impl Future<Output = Result<Step<Self>, Exit>> + Send {
        let _ = (state, down, ctx);
        async { Ok(Step::Stay) }
    }

    /// As [`Behaviour::stop`], in `state`.
    fn stop(
        self,
        state: &Self::State,
        reason: &ExitReason,
        ctx: &Context<Machine<Self>>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (state, reason, ctx);
        async {}
    }
}

/// What follows from a message or a timeout.
pub enum Step<S: StateMachine> {
    /// It stays where it is, and its timeout goes on.
    Stay,
    /// It goes there. Going to the state it is in is staying.
    Go(S::State),
    /// It stays, and handles this message again in its next state.
    Postpone(S::Message),
}

/// Runs a [`StateMachine`] as a behaviour: `registry.register::<Machine<Door>>("door")`.
pub struct Machine<S: StateMachine> {
    machine: S,
    state: S::State,
    /// In the order they came.
    postponed: VecDeque<Envelope<S::Message>>,
}

impl<S: StateMachine> Behaviour for Machine<S> {
    type Config = S::Config;
    type Message = S::Message;

    async fn start(config: S::Config, ctx: &Context<Self>) -> Result<Self, StartError> {
        let (machine, state) = S::start(config, ctx).await?;
        let mut started = Self { machine, state, postponed: VecDeque::new() };
        started.enter(ctx).await.map_err(|Exit(reason)| StartError::failed(reason))?;
        Ok(started)
    }

    async fn handle(&mut self, message: S::Message, ctx: &Context<Self>) -> Result<(), Exit> {
        let step = self.machine.handle(&self.state, message, ctx).await?;
        self.take(step, ctx).await
    }

    async fn alarm(&mut self, ctx: &Context<Self>) -> Result<(), Exit> {
        let step = self.machine.timeout(&self.state, ctx).await?;
        self.take(step, ctx).await
    }

    async fn down(&mut self, down: Down, ctx: &Context<Self>) -> Result<(), Exit> {
        let step = self.machine.down(&self.state, down, ctx).await?;
        self.take(step, ctx).await
    }

    async fn stop(self, reason: &ExitReason, ctx: &Context<Self>) {
        self.machine.stop(&self.state, reason, ctx).await;
    }
}

impl<S: StateMachine> Machine<S> {
    /// Takes a step, and after a change of state handles again what was postponed.
    ///
    /// It ends: every change of state on the way uses up one message that was postponed.
    async fn take(&mut self, step: Step<S>, ctx: &Context<Self>) -> Result<(), Exit> {
        if !self.step(step, ctx).await? {
            return Ok(());
        }
        let mut again = mem::take(&mut self.postponed);
        while !ctx.is_stopping()
            && let Some(Envelope { message, trace }) = again.pop_front()
        {
            replace_trace(trace); // it follows from its own sender, and not from what ended its wait
            let step = self.machine.handle(&self.state, message, ctx).await?;
            if self.step(step, ctx).await? {
                // What was postponed in between came before the rest, and both wait for a change as this one.
                self.postponed.append(&mut again);
                again = mem::take(&mut self.postponed);
            }
        }
        self.postponed.append(&mut again);
        Ok(())
    }

    /// True when the state has changed.
    async fn step(&mut self, step: Step<S>, ctx: &Context<Self>) -> Result<bool, Exit> {
        match step {
            Step::Stay => Ok(false),
            Step::Go(state) if state == self.state => Ok(false),
            Step::Go(state) => {
                self.state = state;
                self.enter(ctx).await?;
                Ok(true)
            }
            Step::Postpone(message) if self.postponed.len() < S::POSTPONED_MAX => {
                self.postponed.push_back(Envelope { message, trace: current_trace() });
                Ok(false)
            }
            Step::Postpone(message) => {
                ctx.mailbox().drop_counted(Envelope { message, trace: None });
                Ok(false)
            }
        }
    }

    async fn enter(&mut self, ctx: &Context<Self>) -> Result<(), Exit> {
        match self.machine.state_timeout(&self.state) {
            Some(timeout) => ctx.set_alarm(timeout),
            None => ctx.cancel_alarm(),
        }
        self.machine.enter(&self.state, ctx).await
    }
}

impl<S: StateMachine<State: fmt::Debug>> fmt::Debug for Machine<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("state", &self.state).field("postponed", &self.postponed.len()).finish()
    }
}

impl<S: StateMachine<State: fmt::Debug>> fmt::Debug for Step<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stay => f.write_str("Stay"),
            Self::Go(state) => f.debug_tuple("Go").field(state).finish(),
            Self::Postpone(_) => f.write_str("Postpone"),
        }
    }
}
