//! An append-only log in segment files: what is written once and read often.
//!
//! A frame is `length u32 | first 8 bytes of BLAKE3(payload) | payload`, big-endian. A segment is never changed after the
//! next one began. On open every frame is read once; the last segment is cut off at its first bad frame, because that is
//! where a crash was writing. A bad frame in an earlier segment is damage, not a crash: it is reported and skipped to the end
//! of its segment, and nothing is cut. So is a segment that is missing.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sync_dir;

/// The longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A segment that has reached this size is followed by another.
const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
const HEADER_BYTES: usize = 12;

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Which segment.
    pub segment: u32,
    /// Where its frame begins there.
    pub offset: u64,
}

/// An open log. One owner writes; reads need no more than a shared reference.
#[derive(Debug)]
pub struct SegmentLog {
    folder: PathBuf,
    /// By their numbers; `None` where one is missing. The last one is there and is written to.
    segments: Vec<Option<File>>,
    /// The length of the last segment.
    end: u64,
    /// Bytes at which the next segment begins.
    roll_at: u64,
    /// A sync failed: the kernel may have dropped what it could not write, and a second sync would not say so. Or half a
    /// frame could not be taken back: what followed it would be cut off with it.
    failed: AtomicBool,
}

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Good records.
    pub records: u64,
    /// Bytes cut off the end: what a crash was writing.
    pub cut_bytes: u64,
    /// Segments that are missing, or have damage before their end.
    pub damaged: Vec<u32>,
}

impl SegmentLog {
    /// Opens the log in `folder`, or begins one, and shows every good record to `see`, oldest first.
    ///
    /// # Errors
    /// The disk refused.
    pub fn open(folder: &Path, see: impl FnMut(Position, &[u8])) -> Result<(Self, Opened), SegmentLogError> {
        Self::open_with(folder, SEGMENT_BYTES, see)
    }

    fn open_with(
        folder: &Path,
        roll_at: u64,
        mut see: impl FnMut(Position, &[u8]),
    ) -> Result<(Self, Opened), SegmentLogError> {
        let io = |source| SegmentLogError::Io { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(io)?;
        let mut log =
            Self { folder: folder.to_owned(), segments: Vec::new(), end: 0, roll_at, failed: AtomicBool::new(false) };
        let mut opened = Opened::default();
        let last = last_segment(folder).map_err(io)?;
        for number in 0..last.map_or(0, |last| last + 1) {
            let file = match OpenOptions::new().read(true).append(true).open(log.path(number)) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    opened.damaged.push(number);
                    log.segments.push(None);
                    continue;
                }
                Err(error) => return Err(io(error)),
            };
            let length = file.metadata().map_err(io)?.len();
            let good = scan(&file, length, number, &mut |position, payload| {
                opened.records += 1;
                see(position, payload);
            })
            .map_err(io)?;
            if Some(number) == last {
                if good < length {
                    file.set_len(good).map_err(io)?;
                    opened.cut_bytes = length - good;
                }
                // What a killed process wrote and never synced was seen just now, and so has to stay.
                file.sync_all().map_err(io)?;
            } else if good < length {
                opened.damaged.push(number);
            }
            log.end = good;
            log.segments.push(Some(file));
        }
        if log.segments.is_empty() {
            log.begin_segment().map_err(io)?;
        }
        Ok((log, opened))
    }

    /// Appends one record. It is safe only after [`sync`](Self::sync).
    ///
    /// # Errors
    /// The record is too long, or the disk refused; the log is as it was, or takes no more until it is opened again.
    pub fn append(&mut self, payload: &[u8]) -> Result<Position, SegmentLogError> {
        if payload.len() > RECORD_BYTES_MAX {
            return Err(SegmentLogError::TooLong(payload.len()));
        }
        self.refuse_after_failure()?;
        let io = |folder: &Path, source| SegmentLogError::Io { folder: folder.to_owned(), source };
        if self.end >= self.roll_at {
            self.sync()?;
            self.begin_segment().map_err(|source| io(&self.folder, source))?;
        }
        let length = u32::try_from(payload.len()).map_err(|_| SegmentLogError::TooLong(payload.len()))?;
        let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len());
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&checksum(payload));
        frame.extend_from_slice(payload);
        let segment = u32::try_from(self.segments.len() - 1).expect("segments are counted in a u32");
        let position = Position { segment, offset: self.end };
        let mut last = self.last();
        if let Err(source) = last.write_all(&frame) {
            // Half a frame must not stand before the next one. Where even this fails, the next open cuts it off.
            if last.set_len(self.end).is_err() {
                self.failed.store(true, Ordering::Relaxed);
            }
            return Err(io(&self.folder, source));
        }
        self.end += frame.len() as u64;
        Ok(position)
    }

    /// Waits until everything appended is on disk.
    ///
    /// # Errors
    /// The disk refused: what was appended since the last sync may be lost. The log takes no more until it is opened again.
    pub fn sync(&self) -> Result<(), SegmentLogError> {
        self.refuse_after_failure()?;
        self.last().sync_data().map_err(|source| {
            self.failed.store(true, Ordering::Relaxed);
            SegmentLogError::Io { folder: self.folder.clone(), source }
        })
    }

    fn refuse_after_failure(&self) -> Result<(), SegmentLogError> {
        if !self.failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let source = io::Error::other("a write or sync failed before; open the log again to find out what is on disk");
        Err(SegmentLogError::Io { folder: self.folder.clone(), source })
    }

    /// Reads one record and checks it.
    ///
    /// # Errors
    /// There is no record, or it is not what was written.
    pub fn read(&self, position: Position) -> Result<Vec<u8>, SegmentLogError> {
        let damaged = || SegmentLogError::Damaged(position);
        let file = self.segments.get(position.segment as usize).and_then(Option::as_ref).ok_or_else(damaged)?;
        let mut header = [0u8; HEADER_BYTES];
        file.read_exact_at(&mut header, position.offset).map_err(|_| damaged())?;
        let (length, sum) = split_header(&header);
        if length > RECORD_BYTES_MAX {
            return Err(damaged());
        }
        let mut payload = vec![0u8; length];
        file.read_exact_at(&mut payload, position.offset + HEADER_BYTES as u64).map_err(|_| damaged())?;
        if checksum(&payload) == sum { Ok(payload) } else { Err(damaged()) }
    }

    /// How many bytes all segments have together.
    ///
    /// # Errors
    /// The disk refused.
    pub fn bytes(&self) -> Result<u64, SegmentLogError> {
        let lengths = self.segments.iter().flatten().map(|file| file.metadata().map(|metadata| metadata.len()));
        let sum: io::Result<u64> = lengths.sum();
        sum.map_err(|source| SegmentLogError::Io { folder: self.folder.clone(), source })
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        let number = u32::try_from(self.segments.len()).map_err(io::Error::other)?;
        // It may be there from a try that failed: empty, for nothing was written to it.
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(self.path(number))?;
        if file.metadata()?.len() > 0 {
            return Err(io::Error::other("the next segment is there and not empty: two processes write this log"));
        }
        sync_dir(&self.folder)?;
        self.segments.push(Some(file));
        self.end = 0;
        Ok(())
    }

    /// The segment that is written to.
    fn last(&self) -> &File {
        self.segments.last().and_then(Option::as_ref).expect("a log has a last segment, and it is there")
    }

    fn path(&self, segment: u32) -> PathBuf {
        self.folder.join(format!("{segment:08}.seg"))
    }
}

/// The highest number of a segment in `folder`. Other files are no business of the log.
fn last_segment(folder: &Path) -> io::Result<Option<u32>> {
    let mut last = None;
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".seg")).filter(|number| number.len() == 8);
        last = last.max(number.and_then(|number| number.parse().ok()));
    }
    Ok(last)
}

/// Reads frames from the beginning of a file of `bytes` and returns where the good ones end.
fn scan(file: &File, bytes: u64, segment: u32, see: &mut impl FnMut(Position, &[u8])) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut offset = 0;
    let mut payload = Vec::new();
    loop {
        let mut header = [0u8; HEADER_BYTES];
        if !read_whole(&mut reader, &mut header)? {
            return Ok(offset);
        }
        let (length, sum) = split_header(&header);
        // No memory on the word of a length that the file does not keep.
        if length > RECORD_BYTES_MAX || offset + (HEADER_BYTES + length) as u64 > bytes {
            return Ok(offset);
        }
        payload.resize(length, 0);
        if !read_whole(&mut reader, &mut payload)? || checksum(&payload) != sum {
            return Ok(offset);
        }
        see(Position { segment, offset }, &payload);
        offset += (HEADER_BYTES + length) as u64;
    }
}

/// Fills `buffer`, or returns false where the file ends before.
fn read_whole(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn split_header(header: &[u8; HEADER_BYTES]) -> (usize, [u8; 8]) {
    let (length, sum) = header.split_at(4);
    let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
    (length as usize, sum.try_into().expect("eight bytes"))
}

fn checksum(payload: &[u8]) -> [u8; 8] {
    let hash = blake3::hash(payload);
    hash.as_bytes()[..8].try_into().expect("eight of 32 bytes")
}

/// Why a log did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SegmentLogError {
    /// The record is longer than a frame may be. Nothing was written.
    #[error("a record of {0} bytes is longer than the {RECORD_BYTES_MAX} that a log takes")]
    TooLong(usize),
    /// What stands there is not what was written, or nothing does. Get it from another copy.
    #[error("the record at segment {} offset {} is damaged or missing", .0.segment, .0.offset)]
    Damaged(Position),
    /// The disk refused.
    #[error("the log in {} cannot be used: {source}", folder.display())]
    Io {
        /// The log.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests;
