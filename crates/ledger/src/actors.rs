//! The actors of the ledger: the book and its public log on the nodes that vote, a desk on every node, an outbox on towers.

mod book;
mod config;
mod desk;
mod expiry;
mod keys;
mod log;
mod offline;
mod outbox;

pub use book::{Book, BookMessage, VOTERS, VotersAnswer, VotersChange};
pub use config::{Backup, LedgerConfig};
pub(crate) use config::{GROUP, LOG, may_begin_file};
pub use desk::{Desk, DeskMessage};
pub use log::{Log, LogMessage};
pub use offline::OfflineMessage;
pub use outbox::{OutboxActor, OutboxMessage};

use covenant_runtime::BehaviourRegistry;

/// Registers `ledger.book`, `ledger.log`, `ledger.desk` and `ledger.outbox`.
pub fn register(registry: &mut BehaviourRegistry) {
    registry.register::<Book>("ledger.book").register::<Log>("ledger.log").register::<Desk>("ledger.desk");
    registry.register::<OutboxActor>("ledger.outbox");
}

#[cfg(test)]
mod tests;
