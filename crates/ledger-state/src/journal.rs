//! The commands that were applied, in order, for those who want to do all of it again.
//!
//! The log of the group is cut off where a snapshot stands, and runs say what came of commands, not what they were. So each
//! command is kept here, once, in a file that only grows; up to where it counts stands in the manifest, with the runs and the
//! mark, and what a crash leaves behind that is written over.
//!
//! Form: a magic of 32 bytes · blocks: how many commands are before it (u64), how many are in it (u32), the length of its
//! records (u32); the records, each with its length (u32); 32 bytes of BLAKE3 over the check before it and all of the block.
//! The magic stands for the check before the first, so the last check tells of every block and its place.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

const MAGIC: &[u8; CHECK_BYTES] = b"covenant/ledger/commands/1\n\0\0\0\0\0";
const CHECK_BYTES: usize = 32;
const HEADER_BYTES: usize = 16;
/// What the files' names begin with.
pub(crate) const JOURNAL: &str = "commands-";
/// A block is closed when it has so many commands: as many as a bundle of a transparency log.
const BLOCK_COMMANDS: u32 = 256;
/// Or when its records have so many bytes.
const BLOCK_BYTES: usize = 256 * 1024;
/// The longest record: what the book was then, and the longest command.
pub(crate) const RECORD_BYTES_MAX: usize = STATE_BYTES + covenant_book::COMMAND_BYTES_MAX;
/// The longest records of a block: it had room left and then got the longest.
const RECORDS_BYTES_MAX: usize = BLOCK_BYTES + 4 + RECORD_BYTES_MAX;
/// After so many bytes a page ends.
const PAGE_BYTES: usize = 4 << 20;
const STATE_BYTES: usize = 32;

/// A command as it was applied, and the hash of the book behind it. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied(Arc<[u8]>);

impl Applied {
    pub(crate) fn new(state_hash: &[u8; STATE_BYTES], command: &[u8]) -> Self {
        Self([state_hash, command].concat().into())
    }

    /// `None` where the bytes are too few or too many.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (STATE_BYTES..=RECORD_BYTES_MAX).contains(&bytes.len()).then(|| Self(bytes.into()))
    }

    /// The hash of the book behind the command, and the command's canonical bytes, with the time that counts.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The hash of the book behind the command; see [`Book::state_hash`](covenant_book::Book::state_hash).
    pub fn state_hash(&self) -> &[u8] {
        &self.0[..STATE_BYTES]
    }

    /// The command's canonical bytes, with the time that counts.
    pub fn command(&self) -> &[u8] {
        &self.0[STATE_BYTES..]
    }
}

/// What names the file and says up to where it counts. None was begun where it has no bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct JournalName {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    pub(crate) commands: u64,
    /// The check of the last block.
    pub(crate) check: [u8; CHECK_BYTES],
}

/// The journal of one state: blocks in a file, and what is not written yet.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    shape: Mutex<Shape>,
}

#[derive(Debug, Default)]
struct Shape {
    written: Written,
    pending: Vec<Applied>,
    pending_bytes: usize,
}

/// The blocks of a file, as they were at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    name: JournalName,
    file: Option<Arc<File>>,
    blocks: Arc<Vec<Block>>,
}

/// Where a block begins, and how many commands are before it.
#[derive(Clone, Copy, Debug)]
struct Block {
    first: u64,
    at: u64,
}

pub(crate) fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{JOURNAL}{number:016x}"))
}

impl Journal {
    /// Opens the one of this name: all of it is read and compared, or where `whole` is not wanted what says where blocks are.
    pub(crate) fn open(folder: &Path, name: JournalName, whole: bool) -> io::Result<Self> {
        let written = Written::open(folder, name, whole)?;
        Ok(Self { folder: folder.to_owned(), shape: Mutex::new(Shape { written, ..Shape::default() }) })
    }

    /// How many commands there are.
    pub(crate) fn commands(&self) -> u64 {
        let shape = self.shape.lock();
        shape.written.name.commands + shape.pending.len() as u64
    }

    /// About how much memory those take that are not written.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.shape.lock().pending_bytes
    }

    pub(crate) fn push(&self, applied: Vec<Applied>) {
        let mut shape = self.shape.lock();
        shape.pending_bytes += applied.iter().map(cost).sum::<usize>();
        shape.pending.extend(applied);
    }

    /// Writes what is pending, and says how the journal is named then. Only one does so at a time. What is written and gets into
    /// no manifest is written again after a crash.
    pub(crate) fn write(&self, number: impl FnOnce() -> u64) -> io::Result<JournalName> {
        let (written, pending) = {
            let shape = self.shape.lock();
            (shape.written.clone(), shape.pending.clone())
        };
        if pending.is_empty() {
            return Ok(written.name);
        }
        let mut writer = match written.file {
            Some(_) => JournalWriter::resume(written),
            None => JournalWriter::new(&self.folder, number())?,
        };
        pending.iter().try_for_each(|applied| writer.push(applied))?;
        let written = writer.finish()?;
        let name = written.name;
        let mut shape = self.shape.lock();
        shape.pending.drain(..pending.len());
        shape.pending_bytes = shape.pending.iter().map(cost).sum();
        shape.written = written;
        Ok(name)
    }

    /// Goes back to what the manifest says.
    pub(crate) fn open_again(&self, name: JournalName) -> io::Result<()> {
        let written = Written::open(&self.folder, name, false)?;
        self.put(written);
        Ok(())
    }

    /// Puts another one in its place.
    pub(crate) fn put(&self, written: Written) {
        *self.shape.lock() = Shape { written, ..Shape::default() };
    }

    /// Those that are written.
    pub(crate) fn written(&self) -> Written {
        self.shape.lock().written.clone()
    }

    /// At most `most` commands behind the first `from`, and about [`PAGE_BYTES`]; none where there are no more.
    pub(crate) fn page(&self, from: u64, most: usize) -> io::Result<Vec<Applied>> {
        let written = {
            let shape = self.shape.lock();
            let pending = from.checked_sub(shape.written.name.commands);
            if let Some(start) = pending.map(|start| usize::try_from(start).unwrap_or(usize::MAX)) {
                let mut bytes = 0;
                let fits = |applied: &&Applied| {
                    let before = bytes;
                    bytes += applied.as_bytes().len();
                    before < PAGE_BYTES
                };
                return Ok(shape.pending.iter().skip(start).take(most).take_while(fits).cloned().collect());
            }
            shape.written.clone()
        };
        let (mut page, mut bytes) = (Vec::new(), 0);
        let mut next = written.blocks.partition_point(|block| block.first <= from).saturating_sub(1);
        while let Some(block) = written.blocks.get(next).filter(|_| page.len() < most && bytes < PAGE_BYTES) {
            let skipped = usize::try_from(from.saturating_sub(block.first)).map_err(io::Error::other)?;
            for applied in written.read(*block)?.into_iter().skip(skipped).take(most - page.len()) {
                bytes += applied.as_bytes().len();
                page.push(applied);
            }
            next += 1;
        }
        Ok(page)
    }
}

fn cost(applied: &Applied) -> usize {
    applied.as_bytes().len() + 2 * std::mem::size_of::<Applied>()
}

impl Written {
    fn open(folder: &Path, name: JournalName, whole: bool) -> io::Result<Self> {
        if name.bytes == 0 {
            return Ok(Self::default());
        }
        let file = OpenOptions::new().read(true).write(true).open(path_of(folder, name.number))?;
        let mut magic = [0; CHECK_BYTES];
        file.read_exact_at(&mut magic, 0)?;
        if magic != *MAGIC {
            return Err(damaged(0));
        }
        let mut opened = Self { name, file: Some(Arc::new(file)), blocks: Arc::default() };
        let (mut at, mut commands, mut check, mut blocks) = (CHECK_BYTES as u64, 0, magic, Vec::new());
        while at < name.bytes {
            let (first, count, length) = opened.header(at)?;
            let end = at + (HEADER_BYTES + length) as u64;
            if first != commands || end + CHECK_BYTES as u64 > name.bytes {
                return Err(damaged(at));
            }
            blocks.push(Block { first, at });
            if whole {
                let (_, _, found) = opened.block(at)?;
                check = found;
            } else {
                opened.file()?.read_exact_at(&mut check, end)?;
            }
            commands += u64::from(count);
            at = end + CHECK_BYTES as u64;
        }
        if (at, commands, check) != (name.bytes, name.commands, name.check) {
            return Err(damaged(at));
        }
        opened.blocks = Arc::new(blocks);
        Ok(opened)
    }

    pub(crate) fn name(&self) -> JournalName {
        self.name
    }

    /// Shows all commands, in order.
    pub(crate) fn each(&self, mut see: impl FnMut(&Applied) -> io::Result<()>) -> io::Result<()> {
        self.blocks.iter().try_for_each(|block| self.read(*block)?.iter().try_for_each(&mut see))
    }

    fn file(&self) -> io::Result<&File> {
        self.file.as_deref().ok_or_else(|| damaged(0))
    }

    fn read(&self, block: Block) -> io::Result<Vec<Applied>> {
        let (count, bytes, _) = self.block(block.at)?;
        let first = bytes.first_chunk().map(|first| u64::from_be_bytes(*first));
        let records = bytes.get(HEADER_BYTES..).filter(|_| first == Some(block.first));
        records.and_then(|records| parse_records(records, count)).ok_or_else(|| damaged(block.at))
    }

    fn header(&self, at: u64) -> io::Result<(u64, u32, usize)> {
        let mut header = [0; HEADER_BYTES];
        self.file()?.read_exact_at(&mut header, at)?;
        parse_header(&header).ok_or_else(|| damaged(at))
    }

    /// How many commands the block at `at` has, its header and records, and its check, which is the right one.
    fn block(&self, at: u64) -> io::Result<(u32, Vec<u8>, [u8; CHECK_BYTES])> {
        let (_, count, length) = self.header(at)?;
        // With the check before it and its own.
        let mut bytes = vec![0; CHECK_BYTES + HEADER_BYTES + length + CHECK_BYTES];
        let start = at.checked_sub(CHECK_BYTES as u64).ok_or_else(|| damaged(at))?;
        self.file()?.read_exact_at(&mut bytes, start)?;
        let (before, check) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or_else(|| damaged(at))?;
        let check = *check;
        if *blake3::hash(before).as_bytes() != check {
            return Err(damaged(at));
        }
        bytes.truncate(before.len());
        bytes.drain(..CHECK_BYTES);
        Ok((count, bytes, check))
    }
}

/// Appends to a file, block by block.
#[derive(Debug)]
pub(crate) struct JournalWriter {
    written: Written,
    file: Arc<File>,
    /// The block under way.
    records: Vec<u8>,
    count: u32,
    /// What is deleted again unless it was finished.
    begun: Option<PathBuf>,
}

impl JournalWriter {
    /// Begins the file of this number.
    pub(crate) fn new(folder: &Path, number: u64) -> io::Result<Self> {
        let path = path_of(folder, number);
        // What a crash left of an earlier try is begun anew.
        let file = OpenOptions::new().write(true).read(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all_at(MAGIC, 0)?;
        let name = JournalName { number, bytes: CHECK_BYTES as u64, commands: 0, check: *MAGIC };
        let file = Arc::new(file);
        let written = Written { name, file: Some(file.clone()), blocks: Arc::default() };
        Ok(Self { written, file, records: Vec::new(), count: 0, begun: Some(path) })
    }

    /// Goes on behind what is written. `written` has a file.
    fn resume(written: Written) -> Self {
        let file = written.file.clone().expect("a journal that was begun has a file");
        Self { written, file, records: Vec::new(), count: 0, begun: None }
    }

    pub(crate) fn push(&mut self, applied: &Applied) -> io::Result<()> {
        let bytes = applied.as_bytes();
        self.records.extend(u32::try_from(bytes.len()).map_err(io::Error::other)?.to_be_bytes());
        self.records.extend(bytes);
        self.count += 1;
        if self.count == BLOCK_COMMANDS || self.records.len() >= BLOCK_BYTES { self.close_block() } else { Ok(()) }
    }

    fn close_block(&mut self) -> io::Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let name = &mut self.written.name;
        let length = u32::try_from(self.records.len()).map_err(io::Error::other)?;
        let mut block = name.commands.to_be_bytes().to_vec();
        block.extend(self.count.to_be_bytes());
        block.extend(length.to_be_bytes());
        block.append(&mut self.records);
        name.check = *blake3::Hasher::new().update(&name.check).update(&block).finalize().as_bytes();
        block.extend(name.check);
        self.file.write_all_at(&block, name.bytes)?;
        Arc::make_mut(&mut self.written.blocks).push(Block { first: name.commands, at: name.bytes });
        name.bytes += block.len() as u64;
        name.commands += u64::from(self.count);
        self.count = 0;
        Ok(())
    }

    /// Everything is on the disk when this returns. The folder is synced with the manifest.
    pub(crate) fn finish(mut self) -> io::Result<Written> {
        self.close_block()?;
        self.file.sync_data()?;
        self.begun = None;
        Ok(std::mem::take(&mut self.written))
    }
}

impl Drop for JournalWriter {
    fn drop(&mut self) {
        if let Some(path) = &self.begun {
            // What stays is deleted at the next start.
            let _best_effort = std::fs::remove_file(path);
        }
    }
}

/// How many commands are before a block and in it, and the length of its records.
fn parse_header(header: &[u8; HEADER_BYTES]) -> Option<(u64, u32, usize)> {
    let (first, rest) = header.split_first_chunk()?;
    let (count, length) = rest.split_first_chunk()?;
    let (count, length) = (u32::from_be_bytes(*count), u32::from_be_bytes(length.try_into().ok()?));
    let length = usize::try_from(length).ok().filter(|length| *length <= RECORDS_BYTES_MAX)?;
    (1..=BLOCK_COMMANDS).contains(&count).then_some((u64::from_be_bytes(*first), count, length))
}

/// The records of a block; `None` if there are not exactly so many.
fn parse_records(mut bytes: &[u8], count: u32) -> Option<Vec<Applied>> {
    let mut records = Vec::new();
    for _ in 0..count {
        let (length, rest) = bytes.split_first_chunk()?;
        let (record, rest) = rest.split_at_checked(u32::from_be_bytes(*length).try_into().ok()?)?;
        records.push(Applied::from_bytes(record)?);
        bytes = rest;
    }
    bytes.is_empty().then_some(records)
}

/// Reads a block without its check.
pub(crate) fn fuzz_block(bytes: &[u8]) {
    let Some((header, records)) = bytes.split_first_chunk() else { return };
    if let Some((_, count, length)) = parse_header(header)
        && let Some(found) = parse_records(records, count)
        && length == records.len()
    {
        assert_eq!(found.iter().map(|applied| 4 + applied.as_bytes().len()).sum::<usize>(), length);
    }
}

/// A block without its check.
pub(crate) fn block_seed() -> Vec<u8> {
    let record = Applied::new(&[7; STATE_BYTES], b"command");
    let records = [&39u32.to_be_bytes()[..], record.as_bytes()].concat();
    let length = u32::try_from(records.len()).unwrap_or_default();
    [&9u64.to_be_bytes()[..], &1u32.to_be_bytes(), &length.to_be_bytes(), &records].concat()
}

fn damaged(at: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the commands that were kept are damaged at {at}"))
}
