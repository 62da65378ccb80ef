//! The book as the state of the group `ledger`, with the questions that it answers.

use std::io::{self, Read};

use covenant_book::Head;
use covenant_consensus::{Command, Replicated, View};
use covenant_ledger_state::LedgerState;
use covenant_types::WallTime;

use crate::question;

/// The book on this node.
#[derive(Debug)]
pub(crate) struct Member(LedgerState);

impl Member {
    pub(crate) fn new(state: LedgerState) -> Self {
        Self(state)
    }

    /// Where the book is, its hash, and a copy of it: one moment.
    pub(crate) fn backup(&self) -> io::Result<(Head, [u8; 32], View)> {
        let book = self.0.book()?;
        Ok((*book.head(), book.state_hash(), self.0.view()?))
    }

    /// When the next transfer that is set aside is over. Reads the disk.
    pub(crate) fn next_expiry(&self) -> io::Result<Option<WallTime>> {
        self.0.book()?.next_expiry().map_err(io::Error::other)
    }
}

impl Replicated for Member {
    fn apply(&mut self, commands: &[Command], mark: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.0.apply(commands, mark)
    }

    fn query(&self, asked: &[u8]) -> Result<Vec<u8>, String> {
        let book = self.0.book().map_err(|error| format!("the book cannot be read: {error}"))?;
        question::answer_bytes(&book, asked)
    }

    fn mark(&self) -> io::Result<Option<Vec<u8>>> {
        self.0.mark()
    }

    fn view(&self) -> io::Result<View> {
        self.0.view()
    }

    fn restore(&mut self, from: &mut dyn Read, mark: &[u8]) -> io::Result<()> {
        self.0.restore(from, mark)
    }

    fn state_hash(&self) -> [u8; 32] {
        self.0.state_hash()
    }
}
