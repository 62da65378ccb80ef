//! `sync.scheduler`: fetches every dataset of the subscribed classes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use covenant_cluster::Cluster;
use covenant_runtime::{Behaviour, Context, Exit, Reply, StartError};
use covenant_store::write_atomic;

use super::SyncConfig;
use super::pass::Pass;
use crate::plan::Wanted;
use crate::{Class, ContentConfig, ContentView};

/// What the scheduler is asked.
#[derive(Debug)]
pub enum SchedulerMessage {
    /// It is time for a pass.
    Tick,
    /// The pass is over.
    PassDone,
    /// What is here?
    View(Reply<ContentView>),
    /// Follow a class from now on, or no longer. Answers with all that are followed, or why it was not done.
    Subscribe {
        /// The class.
        class: Class,
        /// False ends it.
        on: bool,
        /// The answer.
        reply: Reply<Result<Vec<Class>, String>>,
    },
}

/// Follows what the node is subscribed to.
pub struct Scheduler {
    pass: Pass,
    config: Arc<ContentConfig>,
    subscribed: BTreeSet<Class>,
    under_way: bool,
}

impl std::fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scheduler").field("subscribed", &self.subscribed).finish_non_exhaustive()
    }
}

impl Behaviour for Scheduler {
    type Config = SyncConfig;
    type Message = SchedulerMessage;

    async fn start(sync: SyncConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        let config = ctx.resource::<ContentConfig>()?;
        let (opening, now) = (config.clone(), ctx.env().wall());
        let opened = ctx.env().blocking(move || (opening.store(now), subscriptions(&opening))).await;
        let (store, subscribed) = opened.map_err(StartError::failed)?;
        let store = store.map_err(StartError::failed)?;
        let pass = Pass { store, cluster: ctx.resource::<Cluster>()?, env: ctx.env().clone() };
        ctx.send_every(sync.every, || SchedulerMessage::Tick);
        Ok(Self { pass, config, subscribed, under_way: false })
    }

    fn kind(message: &SchedulerMessage) -> &'static str {
        match message {
            SchedulerMessage::Tick => "Tick",
            SchedulerMessage::PassDone => "PassDone",
            SchedulerMessage::View(_) => "View",
            SchedulerMessage::Subscribe { .. } => "Subscribe",
        }
    }

    fn inspect(&self) -> Option<serde_json::Value> {
        Some(serde_json::json!({ "subscribed": self.subscribed, "under_way": self.under_way }))
    }

    async fn handle(&mut self, message: SchedulerMessage, ctx: &Context<Self>) -> Result<(), Exit> {
        match message {
            SchedulerMessage::Tick if self.under_way => {}
            SchedulerMessage::Tick => {
                let (pass, me) = (self.pass.clone(), ctx.me());
                let wanted = Wanted { classes: self.subscribed.iter().copied().collect(), names: Vec::new() };
                let making = async move {
                    pass.make(&wanted).await;
                    // Fails only when this incarnation has ended, and its flag with it.
                    let _ended = me.cast(SchedulerMessage::PassDone).await;
                };
                self.under_way = ctx.spawn(making).is_ok();
            }
            SchedulerMessage::PassDone => self.under_way = false,
            SchedulerMessage::View(reply) => {
                let (store, now) = (self.pass.store.clone(), ctx.env().wall());
                let read = ctx.env().blocking(move || (store.views(now), store.bad_chunks())).await;
                let (datasets, bad_chunks) = read.map_err(Exit::error)?;
                reply.send(ContentView {
                    node: self.config.me.clone(),
                    subscribed: self.subscribed.iter().copied().collect(),
                    pinned: self.config.pinned.clone(),
                    datasets,
                    bad_chunks,
                });
            }
            SchedulerMessage::Subscribe { class, on, reply } => reply.send(self.subscribe(class, on, ctx).await),
        }
        Ok(())
    }
}

impl Scheduler {
    async fn subscribe(&mut self, class: Class, on: bool, ctx: &Context<Self>) -> Result<Vec<Class>, String> {
        let mut changed = self.subscribed.clone();
        if on {
            changed.insert(class);
        } else {
            changed.remove(&class);
        }
        let text = serde_json::to_vec(&changed).map_err(|error| error.to_string())?;
        let path = file(&self.config);
        let written = ctx.env().blocking(move || write_atomic(&path, &text, 0o600)).await;
        written
            .and_then(|written| written)
            .map_err(|error| format!("the subscription cannot be written: {error}; nothing changed"))?;
        self.subscribed = changed;
        Ok(self.subscribed.iter().copied().collect())
    }
}

fn file(config: &ContentConfig) -> PathBuf {
    config.dir.join("subscriptions.json")
}

/// What an operator said last, or else what the configuration says.
fn subscriptions(config: &ContentConfig) -> BTreeSet<Class> {
    let read = std::fs::read(file(config)).ok();
    let said = read.and_then(|text| {
        serde_json::from_slice(&text).inspect_err(|error| tracing::warn!(%error, "subscriptions.json is not used")).ok()
    });
    said.unwrap_or_else(|| config.subscribe.iter().copied().collect())
}
