//! Neighbours that write down what they are told.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covenant_runtime::{Behaviour, Context, Exit, StartError};
use tokio::sync::Notify;

use crate::tree::PATIENCE;

/// How many messages a stand-in keeps for its test; one more ends its actor.
pub const HEARD_MAX: usize = 1024;

/// What was told to an actor that stands in for another. Made by [`Kit::stand_in`](crate::Kit::stand_in).
pub struct StandIn<M>(Arc<Heard<M>>);

/// What a stand-in has heard and its test has not taken yet.
pub(crate) struct Heard<M> {
    waiting: Mutex<VecDeque<M>>,
    more: Notify,
}

impl<M> Heard<M> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), more: Notify::new() })
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<M>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> StandIn<M> {
    pub(crate) fn new(heard: Arc<Heard<M>>) -> Self {
        Self(heard)
    }

    /// The next message, whoever sent it. A message that asks is answered by whoever takes it; dropped, it tells the caller
    /// that nobody answered.
    ///
    /// # Panics
    /// None comes within [`PATIENCE`].
    pub async fn next(&self) -> M {
        let next = async {
            loop {
                let more = self.0.more.notified();
                if let Some(message) = self.0.waiting().pop_front() {
                    return message;
                }
                more.await;
            }
        };
        match tokio::time::timeout(PATIENCE, next).await {
            Ok(message) => message,
            Err(_) => panic!("the stand-in was told nothing for {PATIENCE:?} of virtual time"),
        }
    }

    /// Whether nothing comes for that long.
    pub async fn hears_nothing_for(&self, time: Duration) -> bool {
        tokio::time::sleep(time).await;
        self.0.waiting().is_empty()
    }

    /// What has come and was not taken yet, oldest first.
    pub fn take(&self) -> Vec<M> {
        self.0.waiting().drain(..).collect()
    }
}

impl<M> fmt::Debug for StandIn<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandIn").field("waiting", &self.0.waiting().len()).finish()
    }
}

/// The actor of a stand-in. It takes any `config`: that of whom it stands in for.
pub(crate) struct Listener<M>(Arc<Heard<M>>);

impl<M: Send + 'static> Behaviour for Listener<M> {
    type Config = toml::Table;
    type Message = M;

    async fn start(_: toml::Table, ctx: &Context<Self>) -> Result<Self, StartError> {
        Ok(Self(ctx.resource()?))
    }

    async fn handle(&mut self, message: M, _: &Context<Self>) -> Result<(), Exit> {
        let mut waiting = self.0.waiting();
        if waiting.len() >= HEARD_MAX {
            return Err(Exit::error(format!("its test left {HEARD_MAX} messages untaken")));
        }
        waiting.push_back(message);
        drop(waiting);
        self.0.more.notify_one();
        Ok(())
    }
}
