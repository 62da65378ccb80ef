//! A run: a file of rows in order, written once, synced before anybody relies on it, and never changed.
//!
//! Form: a magic of 16 bytes · blocks · a tail, canonical, that says where each block begins, between which keys each
//! table lies, and which keys may be there · the tail's place (u64) and its BLAKE3. Whoever names the run knows that hash.
//! A run that nobody needs any more is deleted when its last reader lets go of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use covenant_book::Table;
use covenant_types::canonical::{CanonicalError, Reader, Writer};

use crate::block::{self, BLOCK_BYTES_MAX, BlockReader, BlockWriter, Place};
use crate::bloom::Bloom;
use crate::row::{Row, RowKey, Span, Value};

const MAGIC: &[u8; 16] = b"covenant/run/1\n\0";
const TAIL: &str = "covenant/ledger-run/1";
const FOOTER_BYTES: usize = 40;
/// The longest tail: of some hundred million rows.
const TAIL_BYTES_MAX: u64 = 2 << 30;
/// What is written at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// What names a run and proves that its file is the one that was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunName {
    pub(crate) number: u64,
    /// How often its rows were merged, on a scale on which each step is some times larger than the one before.
    pub(crate) level: u8,
    pub(crate) bytes: u64,
    pub(crate) hash: [u8; 32],
}

/// A run that is open.
#[derive(Debug)]
pub(crate) struct Run {
    name: RunName,
    path: PathBuf,
    file: File,
    tail: Tail,
    obsolete: AtomicBool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tail {
    number: u64,
    rows: u64,
    /// How many of them are in the filter.
    filtered: u64,
    blocks: Vec<Block>,
    /// The first and the last key of each table that has any.
    tables: Vec<(RowKey, RowKey)>,
    filter: Bloom,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    first: RowKey,
    at: u64,
    bytes: u32,
}

/// Whether keys of a table are looked for that may not be there. Transfers are found by numbers that are.
pub(crate) fn is_filtered(table: Table) -> bool {
    match table {
        Table::Accounts | Table::Receipts | Table::Standings | Table::Covenant | Table::Totals | Table::Offline => true,
        Table::Head | Table::Transfers | Table::Expiries | Table::Positions | Table::Index => false,
    }
}

pub(crate) fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("run-{number:016x}"))
}

impl Run {
    /// Opens the run of this name and checks its tail.
    pub(crate) fn open(folder: &Path, name: RunName) -> io::Result<Self> {
        let path = path_of(folder, name.number);
        let file = File::open(&path)?;
        let bad = |what: &str| {
            io::Error::new(io::ErrorKind::InvalidData, format!("the run {} is damaged: {what}", path.display()))
        };
        if file.metadata()?.len() != name.bytes {
            return Err(bad("it has another length"));
        }
        let mut footer = [0; FOOTER_BYTES];
        let tail_end = name.bytes.checked_sub(FOOTER_BYTES as u64).ok_or_else(|| bad("it is too short"))?;
        file.read_exact_at(&mut footer, tail_end)?;
        let (at, hash) = footer.split_first_chunk().ok_or_else(|| bad("it is too short"))?;
        let at = u64::from_be_bytes(*at);
        let length = tail_end.checked_sub(at).filter(|length| *length <= TAIL_BYTES_MAX && hash == name.hash);
        let length = length.ok_or_else(|| bad("its end is another one"))?;
        let mut tail = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        file.read_exact_at(&mut tail, at)?;
        if *blake3::hash(&tail).as_bytes() != name.hash {
            return Err(bad("its tail is another one"));
        }
        let tail = Tail::decode(&tail).map_err(|error| bad(&error.to_string()))?;
        let mut magic = [0; MAGIC.len()];
        file.read_exact_at(&mut magic, 0)?;
        if magic != *MAGIC || tail.number != name.number {
            return Err(bad("it is another file"));
        }
        Ok(Self { name, path, file, tail, obsolete: AtomicBool::new(false) })
    }

    pub(crate) fn name(&self) -> RunName {
        self.name
    }

    pub(crate) fn filtered(&self) -> u64 {
        self.tail.filtered
    }

    /// Deletes the file when the last one who reads it lets go.
    pub(crate) fn is_obsolete(&self) {
        self.obsolete.store(true, Ordering::Relaxed);
    }

    /// What this run says of a key; `None` where it says nothing. `hash` is the key's.
    pub(crate) fn value(&self, key: &RowKey, hash: u64) -> io::Result<Option<Value>> {
        if !self.may_hold(key, hash) {
            return Ok(None);
        }
        let Some(at) = self.block_of(key) else { return Ok(None) };
        let (place, block) = self.read_block(at)?;
        let mut rows = BlockReader::new(block::checked(place, &block)?);
        while let Some(row) = rows.next() {
            let (found, value) = row.map_err(|_| block::damaged(place))?;
            if found >= *key {
                return Ok((found == *key).then(|| block::owned(value)));
            }
        }
        Ok(None)
    }

    fn may_hold(&self, key: &RowKey, hash: u64) -> bool {
        let table = self.tail.tables.iter().find(|(first, _)| first.table() == key.table());
        table.is_some_and(|(first, last)| first <= key && key <= last)
            && (!is_filtered(key.table()) || self.tail.filter.may_hold(hash))
    }

    /// The number of the one block that the key may be in.
    fn block_of(&self, key: &RowKey) -> Option<usize> {
        self.tail.blocks.partition_point(|block| block.first <= *key).checked_sub(1)
    }

    fn read_block(&self, number: usize) -> io::Result<(Place, Vec<u8>)> {
        let block = self.tail.blocks.get(number).ok_or(io::ErrorKind::InvalidInput)?;
        let place = Place { run: self.name.number, at: block.at };
        let mut bytes = vec![0; block.bytes as usize];
        self.file.read_exact_at(&mut bytes, block.at)?;
        Ok((place, bytes))
    }

    /// The rows from a key on, removed ones too.
    pub(crate) fn rows_from(self: &Arc<Self>, from: Option<&RowKey>) -> RunCursor {
        let number = from.and_then(|from| self.block_of(from)).unwrap_or(0);
        RunCursor { run: self.clone(), number, rows: Vec::new(), left: 0, last: None, from: from.copied() }
    }

    /// The last row of a span, a removed one too.
    pub(crate) fn last_in(&self, span: &Span) -> io::Result<Option<Row>> {
        let Some(at) = self.block_of(&span.to) else { return Ok(None) };
        // The last row up to `to` is in the block that would hold it: each block begins with a row.
        let (place, block) = self.read_block(at)?;
        let mut rows = BlockReader::new(block::checked(place, &block)?);
        let mut last = None;
        while let Some(row) = rows.next() {
            let (key, value) = row.map_err(|_| block::damaged(place))?;
            if key > span.to {
                break;
            }
            last = Some((key, value));
        }
        Ok(last.filter(|(key, _)| span.is_after_start(key)).map(|(key, value)| (key, block::owned(value))))
    }

    /// Reads every block.
    pub(crate) fn check(&self) -> io::Result<()> {
        for number in 0..self.tail.blocks.len() {
            let (place, block) = self.read_block(number)?;
            block::checked(place, &block)?;
        }
        Ok(())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Relaxed) {
            // What stays is deleted at the next start.
            let _best_effort = std::fs::remove_file(&self.path);
        }
    }
}

/// Reads a run from a key on.
#[derive(Debug)]
pub(crate) struct RunCursor {
    run: Arc<Run>,
    /// The number of the next block.
    number: usize,
    /// The rows of the block in hand, and how many of their bytes are still to be read.
    rows: Vec<u8>,
    left: usize,
    last: Option<RowKey>,
    from: Option<RowKey>,
}

impl RunCursor {
    pub(crate) fn next(&mut self) -> io::Result<Option<Row>> {
        loop {
            while self.left > 0 {
                let mut rows = match &self.last {
                    Some(last) => BlockReader::resume(&self.rows, self.left, last),
                    None => BlockReader::new(&self.rows),
                };
                let place = Place { run: self.run.name.number, at: 0 };
                let Some(row) = rows.next() else { break };
                let (key, value) = row.map_err(|_| block::damaged(place))?;
                self.left = rows.left();
                self.last = Some(key);
                if self.from.is_none_or(|from| from <= key) {
                    self.from = None;
                    return Ok(Some((key, block::owned(value))));
                }
            }
            if self.number >= self.run.tail.blocks.len() {
                return Ok(None);
            }
            let (place, mut block) = self.run.read_block(self.number)?;
            let rows = block::checked(place, &block)?.len();
            block.truncate(rows);
            (self.rows, self.left, self.last) = (block, rows, None);
            self.number += 1;
        }
    }
}

/// A run that is being written. Its file is deleted where it is not finished.
#[derive(Debug)]
pub(crate) struct RunWriter {
    path: PathBuf,
    file: File,
    piece: Vec<u8>,
    /// Where the next block begins.
    at: u64,
    block: BlockWriter,
    first: Option<RowKey>,
    last: Option<RowKey>,
    tail: Tail,
    level: u8,
    finished: bool,
}

impl RunWriter {
    /// Begins the run of this number, of at most so many rows whose keys are in the filter.
    pub(crate) fn new(folder: &Path, number: u64, level: u8, filtered_most: u64) -> io::Result<Self> {
        let path = path_of(folder, number);
        // What a crash left of an earlier try is begun anew.
        let file = OpenOptions::new().write(true).read(true).create(true).truncate(true).mode(0o600).open(&path)?;
        let tail = Tail {
            number,
            rows: 0,
            filtered: 0,
            blocks: Vec::new(),
            tables: Vec::new(),
            filter: Bloom::new(filtered_most),
        };
        let piece = MAGIC.to_vec();
        let at = piece.len() as u64;
        let block = BlockWriter::default();
        Ok(Self { path, file, piece, at, block, first: None, last: None, tail, level, finished: false })
    }

    /// Appends a row, whose key is behind all before.
    pub(crate) fn push(&mut self, key: &RowKey, value: Option<&[u8]>) -> io::Result<()> {
        if self.last.is_some_and(|last| last >= *key) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "rows are not in their order"));
        }
        self.block.push(key, value)?;
        self.first.get_or_insert(*key);
        self.last = Some(*key);
        self.tail.rows += 1;
        match self.tail.tables.last_mut() {
            Some((first, last)) if first.table() == key.table() => *last = *key,
            Some(_) | None => self.tail.tables.push((*key, *key)),
        }
        if is_filtered(key.table()) {
            self.tail.filtered += 1;
            self.tail.filter.add(key.hash());
        }
        if self.block.is_full() { self.close_block() } else { Ok(()) }
    }

    fn close_block(&mut self) -> io::Result<()> {
        let Some(first) = self.first.take() else { return Ok(()) };
        let block = self.block.finish(Place { run: self.tail.number, at: self.at });
        let bytes = u32::try_from(block.len()).map_err(io::Error::other)?;
        self.tail.blocks.push(Block { first, at: self.at, bytes });
        self.at += u64::from(bytes);
        self.piece.extend(block);
        if self.piece.len() >= PIECE_BYTES { self.write_piece() } else { Ok(()) }
    }

    fn write_piece(&mut self) -> io::Result<()> {
        self.file.write_all(&self.piece)?;
        self.piece.clear();
        Ok(())
    }

    /// Ends the run and waits until it is on disk. The folder's entry for it is not synced yet.
    pub(crate) fn finish(mut self) -> io::Result<Run> {
        if !self.block.is_empty() {
            self.close_block()?;
        }
        let tail = self.tail.encode();
        let hash = *blake3::hash(&tail).as_bytes();
        self.piece.extend(&tail);
        self.piece.extend(self.at.to_be_bytes());
        self.piece.extend(hash);
        self.write_piece()?;
        self.file.sync_all()?;
        let bytes = self.at + (tail.len() + FOOTER_BYTES) as u64;
        let name = RunName { number: self.tail.number, level: self.level, bytes, hash };
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let run = Run::open(folder, name)?;
        self.finished = true;
        Ok(run)
    }
}

impl Drop for RunWriter {
    fn drop(&mut self) {
        if !self.finished {
            // What stays is deleted at the next start.
            let _best_effort = std::fs::remove_file(&self.path);
        }
    }
}

impl Tail {
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(TAIL);
        writer.u64(self.number).u64(self.rows).u64(self.filtered).count(self.blocks.len());
        for block in &self.blocks {
            writer.bytes(block.first.as_bytes()).u64(block.at).u32(block.bytes);
        }
        writer.count(self.tables.len());
        for (first, last) in &self.tables {
            writer.bytes(first.as_bytes()).bytes(last.as_bytes());
        }
        writer.bytes(&self.filter.to_bytes());
        writer.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CanonicalError> {
        fn key(reader: &mut Reader<'_>) -> Result<RowKey, CanonicalError> {
            RowKey::from_bytes(reader.bytes()?).ok_or(CanonicalError::BadValue("key"))
        }
        let mut reader = Reader::new(bytes, TAIL)?;
        let (number, rows, filtered) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let count = reader.count(17)?;
        let mut blocks = Vec::with_capacity(count);
        for _ in 0..count {
            let block = Block { first: key(&mut reader)?, at: reader.u64()?, bytes: reader.u32()? };
            if block.bytes as usize > BLOCK_BYTES_MAX {
                return Err(CanonicalError::BadValue("block"));
            }
            blocks.push(block);
        }
        let tables = (0..reader.count(10)?).map(|_| Ok((key(&mut reader)?, key(&mut reader)?)));
        let tables = tables.collect::<Result<_, CanonicalError>>()?;
        let filter = Bloom::from_bytes(reader.bytes()?).ok_or(CanonicalError::BadValue("filter"))?;
        reader.finish()?;
        Ok(Self { number, rows, filtered, blocks, tables, filter })
    }
}

/// For the fuzzer: reads bytes as a tail.
pub(crate) fn fuzz_tail(bytes: &[u8]) {
    if let Ok(tail) = Tail::decode(bytes) {
        assert_eq!(tail.encode(), bytes, "a tail has one form");
    }
}

/// For the fuzzer: a tail of two blocks.
pub(crate) fn tail_seed() -> Vec<u8> {
    let keys = [1, 9].map(|at| RowKey::new(Table::Receipts, &[at; 16]));
    let [Some(first), Some(last)] = keys else { return Vec::new() };
    let blocks = vec![Block { first, at: 16, bytes: 4100 }, Block { first: last, at: 4116, bytes: 90 }];
    let mut filter = Bloom::new(2);
    filter.add(first.hash());
    Tail { number: 1, rows: 2, filtered: 2, blocks, tables: vec![(first, last)], filter }.encode()
}
