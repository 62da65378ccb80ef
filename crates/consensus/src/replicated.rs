//! What a group agrees on: the application, as a trait.

use std::io::{self, Read, Write};

use crate::gate::Sender;
use crate::types::Command;

/// Writes one state as it was when it was asked for, whatever is applied meanwhile.
pub type View = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// A state that is the same on every node because the same commands are applied to it in the same order.
///
/// Nothing in it may depend on a clock, on chance, on the order of a hash map, or on how commands are cut into calls: what a
/// command needs of these, its sender writes into its bytes. A command whose id was applied before changes nothing and
/// is answered as it was then.
///
/// These calls may block on the disk; they are made through `Env::blocking`.
pub trait Replicated: Send + Sync + 'static {
    /// Applies `commands` in their order and gives back an answer for each. A refusal is an answer.
    ///
    /// Whoever keeps its state on disk keeps `mark` with it in the same transaction.
    ///
    /// # Errors
    /// The state cannot be kept. The group stops on this node, and nothing was applied.
    fn apply(&mut self, commands: &[Command], mark: &[u8]) -> io::Result<Vec<Vec<u8>>>;

    /// Whether `from`, who is proven, may send this command. Asked once, by whoever leads, of commands that other nodes and
    /// [`GroupClient`](crate::GroupClient)s send; what is in the log was admitted.
    ///
    /// # Errors
    /// It may not. The words go to the sender, and nothing is done.
    fn admits(_from: Sender, _command: &[u8]) -> Result<(), String> {
        Ok(())
    }

    /// Answers a question and changes nothing. Asked by [`GroupClient`](crate::GroupClient), in the application's encoding.
    ///
    /// # Errors
    /// There is no such question, or the state cannot be read. The words go to whoever asked.
    fn query(&self, _question: &[u8]) -> Result<Vec<u8>, String> {
        Err("this group answers no questions".to_owned())
    }

    /// The mark that is kept with the state; `None` where the state is in memory, or new. What follows it in the log is
    /// applied again.
    ///
    /// # Errors
    /// The state cannot be read.
    fn mark(&self) -> io::Result<Option<Vec<u8>>>;

    /// A view of the state as it is now. It is asked for between two calls of [`apply`](Self::apply) and written beside them.
    ///
    /// # Errors
    /// The state cannot be read.
    fn view(&self) -> io::Result<View>;

    /// Replaces the state by what a [`View`] wrote, and keeps `mark` with it. The bytes were checked.
    ///
    /// # Errors
    /// The bytes are no state, or it cannot be kept. The state is as it was.
    fn restore(&mut self, from: &mut dyn Read, mark: &[u8]) -> io::Result<()>;

    /// A hash of the whole state, equal on two nodes if and only if their states are.
    fn state_hash(&self) -> [u8; 32];
}
