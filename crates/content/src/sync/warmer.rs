//! `sync.warmer`: keeps what is pinned, without being asked.

use std::sync::Arc;

use covenant_cluster::Cluster;
use covenant_runtime::{Behaviour, Context, Exit, StartError};

use super::SyncConfig;
use super::pass::Pass;
use crate::ContentConfig;
use crate::plan::Wanted;

/// What the warmer is told.
#[derive(Debug)]
pub enum WarmerMessage {
    /// It is time for a pass.
    Tick,
    /// The pass is over.
    PassDone,
}

/// Fetches pinned datasets, whatever their class.
pub struct Warmer {
    pass: Pass,
    wanted: Arc<Wanted>,
    under_way: bool,
}

impl std::fmt::Debug for Warmer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Warmer").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

impl Behaviour for Warmer {
    type Config = SyncConfig;
    type Message = WarmerMessage;

    async fn start(sync: SyncConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        let config = ctx.resource::<ContentConfig>()?;
        let (opening, now) = (config.clone(), ctx.env().wall());
        let opened = ctx.env().blocking(move || opening.store(now)).await.map_err(StartError::failed)?;
        let store = opened.map_err(StartError::failed)?;
        let pass = Pass { store, cluster: ctx.resource::<Cluster>()?, env: ctx.env().clone() };
        ctx.send_every(sync.every, || WarmerMessage::Tick);
        let wanted = Arc::new(Wanted { classes: Vec::new(), names: config.pinned.clone() });
        Ok(Self { pass, wanted, under_way: false })
    }

    fn kind(message: &WarmerMessage) -> &'static str {
        match message {
            WarmerMessage::Tick => "Tick",
            WarmerMessage::PassDone => "PassDone",
        }
    }

    fn inspect(&self) -> Option<serde_json::Value> {
        Some(serde_json::json!({ "pinned": self.wanted.names, "under_way": self.under_way }))
    }

    async fn handle(&mut self, message: WarmerMessage, ctx: &Context<Self>) -> Result<(), Exit> {
        match message {
            WarmerMessage::PassDone => self.under_way = false,
            WarmerMessage::Tick if self.under_way => {}
            WarmerMessage::Tick => {
                let (pass, wanted, me) = (self.pass.clone(), self.wanted.clone(), ctx.me());
                let making = async move {
                    pass.make(&wanted).await;
                    let _ended = me.cast(WarmerMessage::PassDone).await;
                };
                self.under_way = ctx.spawn(making).is_ok();
            }
        }
        Ok(())
    }
}
