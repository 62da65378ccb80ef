//! A whole state as a stream of bytes: what a snapshot of the group holds.
//!
//! Form: a magic of 16 bytes · how many rows have filtered keys, at most (u64) · rows in order: the length of the key (u8),
//! the key, the length of the value (u32), the value · a zero where the next key would be, and the number of rows (u64) ·
//! the number of commands that led there (u64), each with its length (u32) · BLAKE3 of all before.

use std::io::{self, Read, Write};

use covenant_book::{BookSum, Head, Table};

use crate::block::VALUE_BYTES_MAX;
use crate::journal::{Applied, RECORD_BYTES_MAX, Written};
use crate::row::{ROW_KEY_BYTES_MAX, RowKey};
use crate::stack::Stack;

const MAGIC: &[u8; 16] = b"covenant/book/2\n";

/// Writes the state of a stack, and the commands that led to it.
pub(crate) fn write(stack: &Stack, journal: &Written, out: &mut dyn Write) -> io::Result<()> {
    let mut out = HashedWrite { out, hasher: blake3::Hasher::new() };
    out.write_all(MAGIC)?;
    out.write_all(&stack.filtered_most().to_be_bytes())?;
    let mut rows = stack.merged(None, None)?;
    let mut count = 0u64;
    while let Some((key, value)) = rows.next()? {
        let Some(value) = value else { continue };
        let bytes = key.as_bytes();
        out.write_all(&[u8::try_from(bytes.len()).map_err(io::Error::other)?])?;
        out.write_all(bytes)?;
        out.write_all(&u32::try_from(value.len()).map_err(io::Error::other)?.to_be_bytes())?;
        out.write_all(&value)?;
        count += 1;
    }
    out.write_all(&[0])?;
    out.write_all(&count.to_be_bytes())?;
    out.write_all(&journal.name().commands.to_be_bytes())?;
    journal.each(|applied| {
        let bytes = applied.as_bytes();
        out.write_all(&u32::try_from(bytes.len()).map_err(io::Error::other)?.to_be_bytes())?;
        out.write_all(bytes)
    })?;
    let hash = out.hasher.finalize();
    out.out.write_all(hash.as_bytes())
}

/// Begins to read a state: how many filtered rows there are at most, and the rest of it for [`read`].
pub(crate) fn begin(from: &mut dyn Read) -> io::Result<(u64, HashedRead<'_>)> {
    let mut from = HashedRead { from, hasher: blake3::Hasher::new() };
    let mut magic = [0; MAGIC.len()];
    from.read_exact(&mut magic).map_err(cut)?;
    if magic != *MAGIC {
        return Err(bad("it does not begin like one"));
    }
    Ok((number(&mut from)?, from))
}

/// Shows the rows of a state to `see`, in order, and then the commands to `see_command`, and gives back its head, whose hashes are
/// those of the rows and what the last command led to.
pub(crate) fn read(
    mut from: HashedRead<'_>,
    see: impl FnMut(&RowKey, &[u8]) -> io::Result<()>,
    see_command: impl FnMut(&Applied) -> io::Result<()>,
) -> io::Result<Option<Head>> {
    let head = rows(&mut from, see)?;
    commands(&mut from, &head.unwrap_or_default(), see_command)?;
    let hash = from.hasher.finalize();
    let mut said = [0; 32];
    from.from.read_exact(&mut said).map_err(cut)?;
    if *hash.as_bytes() != said || from.from.read(&mut [0])? != 0 {
        return Err(bad("its hash is another one"));
    }
    Ok(head)
}

/// Reads a copy of a state, as a [`View`](covenant_consensus::View) wrote it, to its end, shows the commands that led there to
/// `see_command`, in order, and gives back where the book was.
///
/// # Errors
/// The bytes are no state, they cannot be read, or what `see_command` found.
pub fn read_view(from: &mut dyn Read, see_command: impl FnMut(&Applied) -> io::Result<()>) -> io::Result<Head> {
    let (_, from) = begin(from)?;
    Ok(read(from, |_, _| Ok(()), see_command)?.unwrap_or_default())
}

fn rows(from: &mut HashedRead<'_>, mut see: impl FnMut(&RowKey, &[u8]) -> io::Result<()>) -> io::Result<Option<Head>> {
    let (mut sum, mut head, mut count) = (BookSum::default(), None, 0u64);
    let mut last: Option<RowKey> = None;
    let mut value = Vec::new();
    loop {
        let mut length = [0];
        from.read_exact(&mut length).map_err(cut)?;
        let length = usize::from(length[0]);
        if length == 0 {
            break;
        }
        let mut key = [0; ROW_KEY_BYTES_MAX];
        let key = key.get_mut(..length).ok_or_else(|| bad("a key is too long"))?;
        from.read_exact(key).map_err(cut)?;
        let key = RowKey::from_bytes(key).ok_or_else(|| bad("a key names no table"))?;
        if last.is_some_and(|last| last >= key) {
            return Err(bad("its rows are not in their order"));
        }
        last = Some(key);
        let mut bytes = [0; 4];
        from.read_exact(&mut bytes).map_err(cut)?;
        let bytes = u32::from_be_bytes(bytes) as usize;
        if bytes > VALUE_BYTES_MAX {
            return Err(bad("a value is too long"));
        }
        bytes_into(&mut value, from, bytes)?;
        if key.table() == Table::Head {
            head = Some(Head::from_bytes(&value).map_err(|error| bad(&error.to_string()))?);
        }
        sum.add(key.table(), key.key(), &value).map_err(|error| bad(&error.to_string()))?;
        see(&key, &value)?;
        count += 1;
    }
    if number(from)? != count {
        return Err(bad("it has another number of rows than it says"));
    }
    if !sum.is_of(&head.unwrap_or_default()) {
        return Err(bad("its rows do not come to the hash in its head"));
    }
    Ok(head)
}

fn commands(from: &mut HashedRead<'_>, head: &Head, mut see: impl FnMut(&Applied) -> io::Result<()>) -> io::Result<()> {
    if number(from)? != head.position {
        return Err(bad("it has another number of commands than its head says"));
    }
    let (mut bytes, mut last) = (Vec::new(), None);
    for _ in 0..head.position {
        let mut length = [0; 4];
        from.read_exact(&mut length).map_err(cut)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > RECORD_BYTES_MAX {
            return Err(bad("a command is too long"));
        }
        bytes_into(&mut bytes, from, length)?;
        let applied = Applied::from_bytes(&bytes).ok_or_else(|| bad("a command is too short"))?;
        see(&applied)?;
        last = Some(applied);
    }
    if last.is_some_and(|last| last.state_hash() != blake3::hash(&head.to_bytes()).as_bytes()) {
        return Err(bad("its last command led to another state"));
    }
    Ok(())
}

/// Reads so many bytes in place of those that are there. Takes memory only as they come.
fn bytes_into(bytes: &mut Vec<u8>, from: &mut HashedRead<'_>, length: usize) -> io::Result<()> {
    bytes.clear();
    from.take(length as u64).read_to_end(bytes)?;
    if bytes.len() == length { Ok(()) } else { Err(cut(io::ErrorKind::UnexpectedEof.into())) }
}

/// Counts what is written into a hash.
struct HashedWrite<'w> {
    out: &'w mut dyn Write,
    hasher: blake3::Hasher,
}

impl Write for HashedWrite<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Counts what is read into a hash.
pub(crate) struct HashedRead<'r> {
    from: &'r mut dyn Read,
    hasher: blake3::Hasher,
}

impl Read for HashedRead<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.hasher.update(into.get(..read).unwrap_or(into));
        Ok(read)
    }
}

fn number(from: &mut impl Read) -> io::Result<u64> {
    let mut number = [0; 8];
    from.read_exact(&mut number).map_err(cut)?;
    Ok(u64::from_be_bytes(number))
}

fn cut(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { bad("it ends too early") } else { error }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("these bytes are no state of the book: {what}"))
}
