//! What a desk is asked about allowances, the inbox, and what devices signed.

use covenant_book::{Intent, IntentState, Refusal, SignedIntent};
use covenant_consensus::Freshness;
use covenant_runtime::Reply;
use covenant_types::TransferId;

use super::desk::{BOOK_WITHIN, Way, another};
use crate::offline::{self, OfflineQuestion, OfflineSaid};
use crate::question::{Question, Said};
use crate::{AllowanceList, AllowanceOpened, AsOf, Inbox, LedgerError, Resolved, WrittenOff, order};

/// What became of intents; an error was not kept, and may be sent again.
type Answers = Vec<Result<IntentState, Refusal>>;

/// What a desk is asked about what devices do.
#[derive(Debug)]
pub enum OfflineMessage {
    /// Open an allowance for a device and fill it.
    Open {
        /// The device's public key in hexadecimal.
        key: String,
        /// The client's id.
        id: TransferId,
        /// The account that fills it.
        from: String,
        /// Dollars and cents.
        amount: String,
        /// Where the answer goes. So for every request below.
        reply: Reply<Result<AllowanceOpened, LedgerError>>,
    },
    /// End an allowance whose device does not come back.
    WriteOff {
        /// The device.
        device: String,
        /// Why.
        reason: String,
        /// Where the answer goes.
        reply: Reply<Result<WrittenOff, LedgerError>>,
    },
    /// A page of allowances.
    Allowances {
        /// The device it begins at, if not the first.
        from: Option<String>,
        /// Whether only that one is wanted.
        alone: bool,
        /// Whether it may be behind.
        stale: bool,
        /// Where the answer goes.
        reply: Reply<Result<AllowanceList, LedgerError>>,
    },
    /// A page of the inbox.
    Inbox {
        /// The number of the entry it begins at.
        from: u64,
        /// Where the answer goes.
        reply: Reply<Result<Inbox, LedgerError>>,
    },
    /// Decide on an entry of the inbox.
    Resolve {
        /// Its number.
        entry: u64,
        /// Whether it is booked, or rejected.
        book: bool,
        /// Why.
        reason: String,
        /// Where the answer goes.
        reply: Reply<Result<Resolved, LedgerError>>,
    },
    /// Bring what a device signed to the book.
    Deliver {
        /// In the order of their numbers.
        intents: Vec<SignedIntent>,
        /// Where the answer goes.
        reply: Reply<Result<Answers, LedgerError>>,
    },
    /// What became of intents. It may be behind.
    Fates {
        /// They.
        intents: Vec<Intent>,
        /// Where the answer goes.
        reply: Reply<Result<Vec<Option<IntentState>>, LedgerError>>,
    },
}

impl OfflineMessage {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Open { .. } => "OpenAllowance",
            Self::WriteOff { .. } => "WriteOff",
            Self::Allowances { .. } => "Allowances",
            Self::Inbox { .. } => "Inbox",
            Self::Resolve { .. } => "Resolve",
            Self::Deliver { .. } => "Deliver",
            Self::Fates { .. } => "Fates",
        }
    }
}

impl Way {
    pub(super) async fn offline(&self, message: OfflineMessage) {
        match message {
            OfflineMessage::Open { key, id, from, amount, reply } => {
                reply.send(self.open_allowance((&key, id), (&from, &amount)).await);
            }
            OfflineMessage::WriteOff { device, reason, reply } => reply.send(self.write_off(&device, &reason).await),
            OfflineMessage::Allowances { from, alone, stale, reply } => {
                reply.send(self.allowances(from, alone, stale).await);
            }
            OfflineMessage::Inbox { from, reply } => reply.send(self.inbox(from).await),
            OfflineMessage::Resolve { entry, book, reason, reply } => {
                reply.send(self.resolve(entry, book, &reason).await);
            }
            OfflineMessage::Deliver { intents, reply } => reply.send(self.deliver(intents).await),
            OfflineMessage::Fates { intents, reply } => reply.send(self.fates(&intents).await),
        }
    }

    async fn open_allowance(
        &self,
        device: (&str, TransferId),
        funds: (&str, &str),
    ) -> Result<AllowanceOpened, LedgerError> {
        let tables = (&*self.config.nations, &*self.config.projects);
        let order = offline::open(device, funds, order::period_of(self.env.wall()), tables)?;
        self.adopt().await?;
        let mut answer = self.submit(order::command(order)).await?;
        if let Some(before) = order::before(&answer) {
            answer = self.submit(order::command(offline::open(device, funds, before, tables)?)).await?;
        }
        offline::opened(order::outcome(&answer)?, device.0)
    }

    async fn write_off(&self, device: &str, reason: &str) -> Result<WrittenOff, LedgerError> {
        let order = offline::write_off(device, reason, order::period_of(self.env.wall()))?;
        let answer = self.submit(order::command(order)).await?;
        offline::written_off(order::outcome(&answer)?)
    }

    async fn resolve(&self, entry: u64, book: bool, reason: &str) -> Result<Resolved, LedgerError> {
        let order = offline::resolve(entry, book, reason, order::period_of(self.env.wall()));
        let answer = self.submit(order::command(order)).await?;
        offline::resolved(order::outcome(&answer)?)
    }

    async fn deliver(&self, intents: Vec<SignedIntent>) -> Result<Answers, LedgerError> {
        self.adopt().await?;
        let order = covenant_book::Order::Intents(intents.clone());
        let answer = self.submit(order::command(order)).await?;
        offline::answers(order::outcome(&answer)?, &intents)
    }

    async fn allowances(&self, from: Option<String>, alone: bool, stale: bool) -> Result<AllowanceList, LedgerError> {
        let from = from.unwrap_or_else(|| covenant_book::DeviceId(0).to_string());
        let (said, as_of) = self.ask_offline(OfflineQuestion::Allowances { from, alone }, stale).await?;
        let OfflineSaid::Allowances(list) = said else { return Err(another()) };
        Ok(AllowanceList { as_of, ..list })
    }

    async fn inbox(&self, from: u64) -> Result<Inbox, LedgerError> {
        let (said, as_of) = self.ask_offline(OfflineQuestion::Inbox { from }, false).await?;
        let OfflineSaid::Inbox(inbox) = said else { return Err(another()) };
        Ok(Inbox { as_of, ..inbox })
    }

    async fn fates(&self, intents: &[Intent]) -> Result<Vec<Option<IntentState>>, LedgerError> {
        let question = intents.iter().map(|intent| offline::hex(&intent.to_bytes())).collect();
        let (said, _) = self.ask_offline(OfflineQuestion::Fates { intents: question }, true).await?;
        let OfflineSaid::Fates(fates) = said else { return Err(another()) };
        let read = |fate: String| {
            let state = offline::from_hex(&fate).and_then(|bytes| IntentState::from_bytes(&bytes).ok());
            state.ok_or_else(|| LedgerError::failed("what became of an intent cannot be read"))
        };
        let fates = fates.into_iter().map(|fate| fate.map(read).transpose()).collect::<Result<Vec<_>, _>>()?;
        if fates.len() == intents.len() { Ok(fates) } else { Err(another()) }
    }

    async fn ask_offline(&self, question: OfflineQuestion, stale: bool) -> Result<(OfflineSaid, AsOf), LedgerError> {
        let freshness = if stale { Freshness::Stale } else { Freshness::Linearizable };
        match self.ask(&Question::Offline(question), freshness, BOOK_WITHIN).await? {
            (Said::Offline(said), as_of) => Ok((said, as_of)),
            _ => Err(another()),
        }
    }
}
