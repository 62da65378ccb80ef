//! Doing all of a backup again, in a book of its own.

use std::io;
use std::path::Path;

use covenant_book::Command;
use covenant_consensus::{Command as Handed, Replicated};
use covenant_ledger_state::{Applied, Ledger, LedgerConfig, LedgerState, read_view};
use covenant_types::WallTime;
use serde::{Deserialize, Serialize};

use super::{BackupError, BackupFile, Until};

/// So many commands are applied in one turn.
const AT_ONCE: usize = 256;

/// What doing a backup again found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupChecked {
    /// How many commands were done again.
    pub position: u64,
    /// How many transfers that made.
    pub transfers: u64,
    /// When the last of them was booked, in seconds since 1970 in UTC.
    pub at: WallTime,
    /// The hash of the book, in hexadecimal.
    pub state: String,
    /// What does not add up, at most [`PROBLEMS_MAX`](crate::PROBLEMS_MAX); none where the book holds.
    pub problems: Vec<String>,
}

/// Reads a whole backup and does all of it again in the folder `scratch`, which is empty or not there yet and may be deleted
/// afterwards. `progress` hears how many commands are done. Blocks, for about a minute for every few million commands.
///
/// # Errors
/// The backup is damaged, or the disk refused. A book that does not add up is no error but a finding.
pub fn check(backup: &BackupFile, scratch: &Path, progress: impl FnMut(u64)) -> Result<BackupChecked, BackupError> {
    let done = redo(backup, scratch, Until::End, progress)?;
    let book = done.ledger.reader().check().map_err(BackupError::io("the book that was made again cannot be read"))?;
    let (head, checked) = book;
    let state = blake3::Hash::from_bytes(done.state.state_hash()).to_hex().to_string();
    if state != backup.head().state {
        return Err(backup.damaged("its book has another hash than it says"));
    }
    Ok(BackupChecked {
        position: head.position,
        transfers: head.transfers,
        at: head.at,
        state,
        problems: checked.problems,
    })
}

/// A book that was made again.
pub(super) struct Redone {
    pub(super) ledger: Ledger,
    pub(super) state: LedgerState,
}

/// Reads the whole backup and does it again up to a point.
pub(super) fn redo(
    backup: &BackupFile,
    scratch: &Path,
    until: Until,
    mut progress: impl FnMut(u64),
) -> Result<Redone, BackupError> {
    let ledger = Ledger::open(scratch, LedgerConfig { check_on_open: false, ..LedgerConfig::default() });
    let ledger = ledger.map_err(|error| BackupError::Refused(error.to_string()))?;
    let state = ledger.state().map_err(BackupError::io("the book cannot be begun"))?;
    let mut redone = Redone { ledger, state };
    let (mut waiting, mut done, mut ended) = (Vec::with_capacity(AT_ONCE), 0_u64, false);
    let head = backup.read(|from| {
        read_view(from, |applied| {
            let command = Command::from_bytes(applied.command()).map_err(io::Error::other)?;
            ended |= match until {
                Until::End => false,
                Until::Position(position) => done >= position,
                Until::Time(time) => command.at > time,
            };
            if ended {
                return Ok(());
            }
            waiting.push((applied.clone(), command.at));
            done += 1;
            if waiting.len() == AT_ONCE {
                redone.apply(&mut waiting)?;
                progress(done);
            }
            Ok(())
        })
    })?;
    redone.apply(&mut waiting).map_err(|error| backup.damaged(error.to_string()))?;
    progress(done);
    if let Until::Position(position) = until
        && done < position
    {
        return Err(BackupError::Refused(format!("the backup ends at position {}, before {position}", head.position)));
    }
    let said = backup.head();
    if (head.position, head.transfers) != (said.position, said.transfers) {
        return Err(backup.damaged("it holds another book than it says"));
    }
    Ok(redone)
}

impl Redone {
    /// Applies what waits. The book behind the last of it is the one that was there; each command is in its hash.
    fn apply(&mut self, waiting: &mut Vec<(Applied, WallTime)>) -> io::Result<()> {
        let Some((last, _)) = waiting.last().cloned() else { return Ok(()) };
        let hand = |(applied, at): (Applied, WallTime)| Handed { id: 0, bytes: applied.command().to_vec(), at };
        let commands: Vec<Handed> = waiting.drain(..).map(hand).collect();
        self.state.apply(&commands, &[])?;
        if self.state.state_hash() != *last.state_hash() {
            let what = "doing its commands again leads to another book";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(())
    }
}
