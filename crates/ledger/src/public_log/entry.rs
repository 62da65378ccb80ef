//! How a command stands in the public log.
//!
//! An entry of a log has at most 65,535 bytes and a command two million, so a long one stands in several entries, one behind
//! the other. Form of an entry: the position of its command, the first of the book being 1 (u64) · how many more entries the
//! command takes behind this one (u16) · bytes. The bytes of a command's entries together: the hash of the book behind it (32
//! bytes), and the command in its canonical form. All entries but the last are as long as can be, so each command has one form.

use covenant_book::COMMAND_BYTES_MAX;
use covenant_tlog::ENTRY_BYTES_MAX;

const HEADER_BYTES: usize = 10;
/// How many bytes of a command stand in one entry.
const PIECE_BYTES: usize = ENTRY_BYTES_MAX - HEADER_BYTES;
/// The hash of the book in front of a command.
pub(crate) const STATE_BYTES: usize = 32;
const RECORD_BYTES_MAX: usize = STATE_BYTES + COMMAND_BYTES_MAX;

/// Where an entry belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The position of its command.
    pub(crate) position: u64,
    /// How many more entries the command takes.
    pub(crate) left: u16,
}

/// The entries of the command at `position`, the first of the book being 1. Its `record` is the hash of the book behind it and its
/// canonical bytes.
///
/// # Panics
/// The record is many times longer than any command.
pub fn entries_of(position: u64, record: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let count = record.len().div_ceil(PIECE_BYTES);
    record.chunks(PIECE_BYTES).enumerate().map(move |(at, piece)| {
        let left = u16::try_from(count - 1 - at).expect("a command has few entries");
        [&position.to_be_bytes()[..], &left.to_be_bytes(), piece].concat()
    })
}

/// Where an entry belongs, and its bytes; `None` if it is none.
pub(crate) fn place_of(entry: &[u8]) -> Option<(Place, &[u8])> {
    let (position, rest) = entry.split_first_chunk()?;
    let (left, piece) = rest.split_first_chunk()?;
    Some((Place { position: u64::from_be_bytes(*position), left: u16::from_be_bytes(*left) }, piece))
}

/// Puts commands together again from the entries of a log, in order.
#[derive(Debug)]
pub(crate) struct Joiner {
    /// The position of the command under way, or the next.
    position: u64,
    /// How many entries it still takes, where it is under way.
    left: Option<u16>,
    record: Vec<u8>,
}

impl Default for Joiner {
    fn default() -> Self {
        Self { position: 1, left: None, record: Vec::new() }
    }
}

impl Joiner {
    /// Takes the next entry, and gives the record of a command that is whole with it.
    ///
    /// # Errors
    /// It is not the entry that can come next.
    pub(crate) fn push(&mut self, entry: &[u8]) -> Result<Option<Vec<u8>>, EntryError> {
        let (place, piece) = place_of(entry).ok_or(EntryError::Form)?;
        if place.position != self.position {
            return Err(EntryError::Position { found: place.position, expected: self.position });
        }
        if self.left.is_some_and(|left| place.left + 1 != left) {
            return Err(EntryError::Part);
        }
        let fits = if place.left > 0 { piece.len() == PIECE_BYTES } else { !piece.is_empty() };
        let whole = self.record.len() + piece.len() + usize::from(place.left) * PIECE_BYTES;
        if !fits || whole > RECORD_BYTES_MAX + PIECE_BYTES {
            return Err(EntryError::Form);
        }
        self.record.extend_from_slice(piece);
        if place.left > 0 {
            self.left = Some(place.left);
            return Ok(None);
        }
        (self.left, self.position) = (None, self.position + 1);
        let record = std::mem::take(&mut self.record);
        if (STATE_BYTES..=RECORD_BYTES_MAX).contains(&record.len()) { Ok(Some(record)) } else { Err(EntryError::Form) }
    }

    /// Whether no command is half there.
    pub(crate) fn is_between(&self) -> bool {
        self.left.is_none()
    }
}

/// Why an entry cannot stand where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    /// It has too few bytes, or too many for its command.
    #[error("it has not the form of an entry")]
    Form,
    /// It is of another command.
    #[error("it is of the command at position {found}, and that at {expected} is next")]
    Position {
        /// What it says.
        found: u64,
        /// What comes next.
        expected: u64,
    },
    /// It is another part of its command.
    #[error("it is not the next part of its command")]
    Part,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(entries: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, EntryError> {
        let mut joiner = Joiner::default();
        let mut records = Vec::new();
        for entry in entries {
            records.extend(joiner.push(entry)?);
        }
        Ok(records)
    }

    #[test]
    fn commands_of_any_length_are_put_together_again() {
        let lengths = [32, 33, 200, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, RECORD_BYTES_MAX];
        let records: Vec<Vec<u8>> = lengths.iter().map(|length| vec![7; *length]).collect();
        let entries: Vec<_> = (1..).zip(&records).flat_map(|(position, record)| entries_of(position, record)).collect();
        assert!(entries.len() > records.len() && entries.iter().all(|entry| entry.len() <= ENTRY_BYTES_MAX));
        assert_eq!(joined(&entries).unwrap(), records);
        for at in 0..entries.len() - 1 {
            let mut less = entries.clone();
            less.remove(at);
            // Without its first part a command is another one.
            assert!(joined(&less).is_err() || joined(&less).unwrap() != records, "without entry {at}");
            let mut swapped = entries.clone();
            swapped.swap(at, at + 1);
            assert!(joined(&swapped).is_err(), "entry {at} behind the next");
        }
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let record = vec![7; PIECE_BYTES + 40];
        let entries: Vec<_> = entries_of(1, &record).collect();
        assert_eq!(joined(&[vec![0; 9]]), Err(EntryError::Form));
        assert_eq!(
            joined(&[entries_of(2, &record).next().unwrap()]).unwrap_err(),
            EntryError::Position { found: 2, expected: 1 }
        );
        assert_eq!(joined(&[entries[0].clone(), entries[0].clone()]), Err(EntryError::Part));
        assert_eq!(joined(&[entries[0][..500].to_vec()]), Err(EntryError::Form), "a part that is not full");
        assert_eq!(joined(&[entries[1][..10].to_vec()]), Err(EntryError::Form), "a part that is empty");
        assert_eq!(joined(&[entries[1][..41].to_vec()]), Err(EntryError::Form), "less than a hash");
        let mut long = entries[0].clone();
        long[8..10].copy_from_slice(&u16::MAX.to_be_bytes());
        assert_eq!(joined(&[long]), Err(EntryError::Form), "more than a command has");
    }
}
