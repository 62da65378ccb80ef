//! The two actors of the ledger: the book on the nodes that vote, a desk on every node.

mod book;
mod config;
mod desk;
mod expiry;

pub use book::{Book, BookMessage, VOTERS, VotersAnswer, VotersChange};
pub use config::{Backup, LedgerConfig};
pub(crate) use config::{GROUP, LOG, may_begin_file};
pub use desk::{Desk, DeskMessage};

use covenant_runtime::BehaviourRegistry;

/// Registers `ledger.book` and `ledger.desk`.
pub fn register(registry: &mut BehaviourRegistry) {
    registry.register::<Book>("ledger.book").register::<Desk>("ledger.desk");
}

#[cfg(test)]
mod tests;
