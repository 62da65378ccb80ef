//! Rows packed into blocks. A block is read whole, and its check is compared before any row of it is believed.
//!
//! Form of a row: how many bytes of its key are those of the row before (u8) · how many follow (u8), and they · the length
//! of the value (u32, or `u32::MAX` where the key was removed), and it. Behind the rows stand 16 bytes of BLAKE3 over the
//! run's number, the block's place in it, and the rows: a block of another place is no good block.

use std::io;
use std::sync::Arc;

use crate::row::{ROW_KEY_BYTES_MAX, RowKey, Value};

/// A block is closed when its rows have this many bytes.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// The longest value that is read: nothing in the book is longer than a command.
pub(crate) const VALUE_BYTES_MAX: usize = covenant_book::COMMAND_BYTES_MAX;
/// The longest block: one that had room left and then got the longest row.
pub(crate) const BLOCK_BYTES_MAX: usize = BLOCK_BYTES + VALUE_BYTES_MAX + 2 + ROW_KEY_BYTES_MAX + 4 + CHECK_BYTES;

const CHECK_BYTES: usize = 16;
const REMOVED: u32 = u32::MAX;

/// Where a block lies, which its check is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) run: u64,
    pub(crate) at: u64,
}

/// A block that is being filled.
#[derive(Debug, Default)]
pub(crate) struct BlockWriter {
    rows: Vec<u8>,
    last: Option<RowKey>,
}

impl BlockWriter {
    pub(crate) fn push(&mut self, key: &RowKey, value: Option<&[u8]>) -> io::Result<()> {
        let bytes = key.as_bytes();
        let shared = self.last.map_or(0, |last| {
            let pairs = last.as_bytes().iter().zip(bytes);
            pairs.take_while(|(before, now)| before == now).count()
        });
        let rest = &bytes[shared..];
        let short = |length: usize| u8::try_from(length).map_err(io::Error::other);
        self.rows.extend([short(shared)?, short(rest.len())?]);
        self.rows.extend(rest);
        match value {
            Some(value) if value.len() > VALUE_BYTES_MAX => return Err(io::ErrorKind::FileTooLarge.into()),
            Some(value) => {
                self.rows.extend(u32::try_from(value.len()).map_err(io::Error::other)?.to_le_bytes());
                self.rows.extend(value);
            }
            None => self.rows.extend(REMOVED.to_le_bytes()),
        }
        self.last = Some(*key);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() >= BLOCK_BYTES
    }

    /// The block for its place, and an empty writer.
    pub(crate) fn finish(&mut self, place: Place) -> Vec<u8> {
        self.last = None;
        let mut block = std::mem::take(&mut self.rows);
        let check = check(place, &block);
        block.extend(check);
        block
    }
}

/// The rows of a block, if it is the one of this place.
pub(crate) fn checked(place: Place, block: &[u8]) -> io::Result<&[u8]> {
    let (rows, found) = block.split_last_chunk::<CHECK_BYTES>().ok_or_else(|| damaged(place))?;
    if check(place, rows) != *found {
        return Err(damaged(place));
    }
    Ok(rows)
}

fn check(place: Place, rows: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&place.run.to_le_bytes()).update(&place.at.to_le_bytes()).update(rows);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK_BYTES]);
    check
}

pub(crate) fn damaged(place: Place) -> io::Error {
    let what = format!("the block at {} of the run {} is damaged", place.at, place.run);
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads the rows of a block one after another.
#[derive(Debug)]
pub(crate) struct BlockReader<'b> {
    rest: &'b [u8],
    last: [u8; ROW_KEY_BYTES_MAX],
}

impl<'b> BlockReader<'b> {
    pub(crate) fn new(rows: &'b [u8]) -> Self {
        Self { rest: rows, last: [0; ROW_KEY_BYTES_MAX] }
    }

    /// How many bytes are left, to go on from there.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Goes on behind `last` where so many bytes were left.
    pub(crate) fn resume(rows: &'b [u8], left: usize, last: &RowKey) -> Self {
        let mut key = [0; ROW_KEY_BYTES_MAX];
        key[..last.as_bytes().len()].copy_from_slice(last.as_bytes());
        Self { rest: rows.get(rows.len().saturating_sub(left)..).unwrap_or_default(), last: key }
    }

    /// The next row; `None` at the end. An error where the bytes are no row: the check was right and the writer wrong.
    pub(crate) fn next(&mut self) -> Option<Result<BlockRow<'b>, NoRow>> {
        if self.rest.is_empty() { None } else { Some(self.row().ok_or(NoRow)) }
    }

    fn row(&mut self) -> Option<BlockRow<'b>> {
        let ([shared, rest], bytes) = self.rest.split_first_chunk()?;
        let (shared, rest) = (usize::from(*shared), usize::from(*rest));
        let (more, bytes) = bytes.split_at_checked(rest)?;
        self.last.get_mut(shared..shared + rest)?.copy_from_slice(more);
        let key = RowKey::from_bytes(self.last.get(..shared + rest)?)?;
        let (length, bytes) = bytes.split_first_chunk()?;
        let length = u32::from_le_bytes(*length);
        if length == REMOVED {
            self.rest = bytes;
            return Some((key, None));
        }
        let length = usize::try_from(length).ok().filter(|length| *length <= VALUE_BYTES_MAX)?;
        let (value, bytes) = bytes.split_at_checked(length)?;
        self.rest = bytes;
        Some((key, Some(value)))
    }
}

/// A row that lies in its block; without a value its key was removed.
pub(crate) type BlockRow<'b> = (RowKey, Option<&'b [u8]>);

/// Bytes that are no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRow;

/// A value of its own, for a row that leaves its block.
pub(crate) fn owned(value: Option<&[u8]>) -> Value {
    value.map(Arc::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use covenant_book::Table;

    #[test]
    fn rows_are_read_as_they_were_written_and_no_bit_may_flip() {
        let place = Place { run: 3, at: 4096 };
        let rows: Vec<(RowKey, Option<Vec<u8>>)> = (0..60u16)
            .map(|number| {
                let key = RowKey::new(Table::Receipts, &number.to_be_bytes()).unwrap();
                (key, (number % 7 != 0).then(|| vec![7; usize::from(number)]))
            })
            .collect();
        let mut writer = BlockWriter::default();
        rows.iter().for_each(|(key, value)| writer.push(key, value.as_deref()).unwrap());
        let mut block = writer.finish(place);
        let mut reader = BlockReader::new(checked(place, &block).unwrap());
        for (key, value) in &rows {
            assert_eq!(reader.next(), Some(Ok((*key, value.as_deref()))));
            let left = reader.left();
            reader = BlockReader::resume(checked(place, &block).unwrap(), left, key);
        }
        assert_eq!(reader.next(), None);
        assert!(
            checked(Place { at: 0, ..place }, &block).is_err() && checked(Place { run: 4, ..place }, &block).is_err()
        );
        for bit in 0..block.len() * 8 {
            block[bit / 8] ^= 1 << (bit % 8);
            assert!(checked(place, &block).is_err(), "bit {bit}");
            block[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
