//! `ledger.outbox`: keeps what a tower signed while nobody heard it, and brings it to the book when somebody does.
//!
//! An intent is acknowledged when it is on disk with its number. It is sent, again and again, until the book has answered, and
//! kept until it is applied or rejected. The book knows each by its number, so that sending twice does nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use covenant_book::{IntentState, Refusal, Wish};
use covenant_env::Env;
use covenant_identity::NodeKey;
use covenant_runtime::{Behaviour, Context, Exit, NoConfig, Ref, Reply, StartError};
use covenant_types::ActorPath;
use parking_lot::Mutex;

use super::{DeskMessage, LedgerConfig, OfflineMessage};
use crate::offline::{self, Heard, Outbox};
use crate::{IntentView, IntentWanted, LedgerError, OutboxView, order};

/// How long the box waits before it tries again to deliver something.
const DELIVER_EVERY: Duration = Duration::from_secs(1);
/// How often it asks about what the book has and has not settled.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How often it asks how its allowance is when nothing else is to be done.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long a desk may take: longer than it gives the book.
const DESK_WITHIN: Duration = Duration::from_secs(12);
/// Where the desk hangs in its node's tree.
const DESK_PATH: &str = "/ledger/desk";

/// What an outbox is asked, by callers of its own node.
#[derive(Debug)]
pub enum OutboxMessage {
    /// Sign a payment and deliver it when it can be. The answer says that it is on disk, and not that it is booked.
    Intend {
        /// The payment.
        wanted: IntentWanted,
        /// Where the answer goes. So for every request below.
        reply: Reply<Result<IntentView, LedgerError>>,
    },
    /// Sign that the allowance is closed.
    Close {
        /// Where the answer goes.
        reply: Reply<Result<IntentView, LedgerError>>,
    },
    /// What is in it.
    Show {
        /// Where the answer goes.
        reply: Reply<Result<OutboxView, LedgerError>>,
    },
    /// A round of delivery has ended.
    Delivered {
        /// Whether the book did not take something that was sent: it is tried again, and not at once.
        refused: bool,
    },
}

/// Signs what is to be paid, and delivers it.
#[derive(Debug)]
pub struct OutboxActor {
    store: Store,
    desk: Ref<DeskMessage>,
    /// Whether a round of delivery is under way.
    delivering: bool,
    /// Why the last round failed.
    trouble: Arc<Mutex<Option<String>>>,
}

impl Behaviour for OutboxActor {
    type Config = NoConfig;
    type Message = OutboxMessage;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        let config = ctx.resource::<LedgerConfig>()?;
        let path: ActorPath = DESK_PATH.parse().map_err(StartError::failed)?;
        let desk = ctx.lookup(&path).map_err(StartError::failed)?;
        let store = Store { config, env: ctx.env().clone() };
        // Read now, so that a box that cannot be read is known from the start.
        ctx.set_alarm(store.change(|outbox| Ok(pause(outbox))).await.map_err(StartError::failed)?);
        Ok(Self { store, desk, delivering: false, trouble: Arc::default() })
    }

    fn kind(message: &OutboxMessage) -> &'static str {
        match message {
            OutboxMessage::Intend { .. } => "Intend",
            OutboxMessage::Close { .. } => "Close",
            OutboxMessage::Show { .. } => "Show",
            OutboxMessage::Delivered { .. } => "Delivered",
        }
    }

    async fn alarm(&mut self, ctx: &Context<Self>) -> Result<(), Exit> {
        if self.delivering {
            return Ok(());
        }
        let (round, me) = (Round { store: self.store.clone(), desk: self.desk.clone() }, ctx.me());
        let trouble = self.trouble.clone();
        let begun = ctx.spawn(async move {
            let (said, refused) = match round.run().await {
                Ok(refusal) => (refusal.as_ref().map(Refusal::to_string), refusal.is_some()),
                Err(error) => (Some(error.message), false),
            };
            *trouble.lock() = said;
            // Where nobody hears it the actor has ended, and the next incarnation begins its own round.
            let _gone = me.cast(OutboxMessage::Delivered { refused }).await;
        });
        self.delivering = begun.is_ok();
        if let Err(refused) = begun {
            tracing::warn!(%refused, "nothing is delivered for now: too many tasks");
            ctx.set_alarm(DELIVER_EVERY);
        }
        Ok(())
    }

    async fn handle(&mut self, message: OutboxMessage, ctx: &Context<Self>) -> Result<(), Exit> {
        match message {
            OutboxMessage::Intend { wanted, reply } => {
                let signed = self.intend(&wanted).await;
                let sent = signed.is_ok();
                reply.send(signed);
                if sent {
                    ctx.set_alarm(Duration::ZERO);
                }
            }
            OutboxMessage::Close { reply } => {
                let period = order::period_of(self.store.env.wall());
                let signed = self.sign(Wish::Close { period }).await;
                let sent = signed.is_ok();
                reply.send(signed);
                if sent {
                    ctx.set_alarm(Duration::ZERO);
                }
            }
            OutboxMessage::Show { reply } => {
                let trouble = self.trouble.lock().clone();
                let shown = self.store.change(|outbox| Ok(outbox.view(order::account_name, trouble))).await;
                // Whoever looks waits for an allowance that was opened a moment ago.
                if shown.as_ref().is_ok_and(|outbox| outbox.allowance.is_none()) {
                    ctx.set_alarm(Duration::ZERO);
                }
                reply.send(shown);
            }
            OutboxMessage::Delivered { refused } => {
                self.delivering = false;
                let next = self.store.change(|outbox| Ok(pause(outbox))).await.map_err(Exit::error)?;
                // A person or another intent has to come first: each try is an entry of the log for everybody.
                ctx.set_alarm(if refused { LOOK_EVERY } else { next });
            }
        }
        Ok(())
    }
}

/// How long to wait for the next round.
fn pause(outbox: &Outbox) -> Duration {
    if !outbox.unsent().is_empty() {
        DELIVER_EVERY
    } else if !outbox.is_settled() {
        ASK_EVERY
    } else {
        LOOK_EVERY
    }
}

impl OutboxActor {
    async fn intend(&self, wanted: &IntentWanted) -> Result<IntentView, LedgerError> {
        let config = &self.store.config;
        let period = order::period_of(self.store.env.wall());
        let device = self.store.change(|outbox| Ok(outbox.device())).await?;
        self.sign(offline::wish(wanted, device, period, (&config.nations, &config.projects))?).await
    }

    async fn sign(&self, wish: Wish) -> Result<IntentView, LedgerError> {
        let at = self.store.env.wall();
        let signed = self.store.change(move |outbox| {
            let (sequence, _) = outbox.accept(wish, at)?;
            let view = outbox.view(order::account_name, None);
            let view = view.intents.into_iter().find(|intent| intent.sequence == sequence);
            view.ok_or_else(|| LedgerError::failed("what was signed is gone"))
        });
        signed.await
    }
}

/// The box and its file.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) config: Arc<LedgerConfig>,
    pub(super) env: Env,
}

impl Store {
    /// Changes the box; what is changed is on disk when this returns. After an error nothing is changed, or the disk says what
    /// was: the box is read again before anything else.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Outbox) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let path = self.config.outbox_path();
        // The guard goes along to the disk: who waits for the box waits for a write that nobody waits for any more.
        let mut slot = self.config.outbox.clone().lock_owned().await;
        let work = move || {
            let before = match slot.as_ref() {
                Some(outbox) => outbox.clone(),
                None => open(&path)?,
            };
            let mut now = before.clone();
            let done = change(&mut now)?;
            if now != before {
                *slot = None;
                let wrote = covenant_store::write_atomic(&path, &now.to_bytes(), 0o600);
                wrote.map_err(|error| {
                    let what =
                        format!("{}: {error}; it may have been signed: try again with the same id", path.display());
                    LedgerError::new(crate::LedgerErrorKind::Failed, what)
                })?;
            }
            *slot = Some(now);
            Ok(done)
        };
        self.env.blocking(work).await.map_err(LedgerError::failed)?
    }
}

/// The box of this tower, or a new device where there is none.
fn open(path: &Path) -> Result<Outbox, LedgerError> {
    let failed = |what: String| LedgerError::new(crate::LedgerErrorKind::Failed, format!("{}: {what}", path.display()));
    match std::fs::read(path) {
        Ok(bytes) => Outbox::from_bytes(&zeroize::Zeroizing::new(bytes)).map_err(|error| {
            failed(format!(
                "{error}; its numbers cannot be trusted, so nothing is signed: keep the file, move it away to begin a new device, \
                 and have the allowance of the old one written off"
            ))
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let outbox = Outbox::begin(&NodeKey::generate());
            let folder = path.parent().unwrap_or(path);
            let wrote = std::fs::create_dir_all(folder)
                .and_then(|()| covenant_store::write_atomic(path, &outbox.to_bytes(), 0o600));
            wrote.map_err(|error| failed(format!("{error}; nothing was signed")))?;
            Ok(outbox)
        }
        Err(error) => Err(failed(format!("{error}; nothing was signed"))),
    }
}

/// One round: sends what was not answered, asks about what was not settled, and how the allowance is.
struct Round {
    store: Store,
    desk: Ref<DeskMessage>,
}

impl Round {
    /// What the book did not take, if there was anything.
    async fn run(&self) -> Result<Option<Refusal>, LedgerError> {
        let (unsent, unsettled, device) =
            self.store.change(|outbox| Ok((outbox.unsent(), outbox.unsettled(), outbox.device()))).await?;
        let mut refused = None;
        if !unsent.is_empty() {
            let intents = unsent.clone();
            let answers = self.ask(|reply| OfflineMessage::Deliver { intents, reply }).await?;
            refused = answers.iter().find_map(|answer| answer.as_ref().err()).cloned();
            let told = unsent.iter().map(|signed| signed.intent).zip(answers);
            let kept = told.filter_map(|(intent, answer)| Some((intent, answer.ok()?)));
            self.tell(kept.collect()).await?;
        }
        if !unsettled.is_empty() {
            let intents = unsettled.clone();
            let fates = self.ask(|reply| OfflineMessage::Fates { intents, reply }).await?;
            let told = unsettled.into_iter().zip(fates).filter_map(|(intent, fate)| Some((intent, fate?)));
            self.tell(told.collect()).await?;
        }
        let from = Some(device.to_string());
        // After a delivery what is left is less: an answer of before would let too much be signed.
        let stale = unsent.is_empty();
        let list = self.ask(|reply| OfflineMessage::Allowances { from, alone: true, stale, reply }).await?;
        let at = self.store.env.wall();
        if let Some(heard) = list.allowances.first().and_then(|allowance| Heard::of(allowance, at)) {
            let hear = move |outbox: &mut Outbox| {
                outbox.heard(heard);
                Ok(())
            };
            self.store.change(hear).await?;
        }
        Ok(refused)
    }

    async fn tell(&self, told: Vec<(covenant_book::Intent, IntentState)>) -> Result<(), LedgerError> {
        let tell = |outbox: &mut Outbox| {
            told.into_iter().for_each(|(intent, state)| outbox.told(&intent, state));
            Ok(())
        };
        self.store.change(tell).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        make: impl FnOnce(Reply<Result<T, LedgerError>>) -> OfflineMessage + Send,
    ) -> Result<T, LedgerError> {
        let asked = self.desk.call(|reply| DeskMessage::Offline(make(reply)), DESK_WITHIN).await;
        asked.map_err(|error| LedgerError::failed(format_args!("the desk did not answer: {error}")))?
    }
}
