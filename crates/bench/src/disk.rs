//! The disk alone: what a promise that bytes are safe costs at least.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Failure;

/// Where a synced record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Behind the last: the file grows, and the file system notes its new length each time.
    End,
    /// Over what was written before: the file stays as long as it is.
    Start,
}

/// Writes `record` into a plain file again and again, each time followed by an fdatasync, at least for `during`. Returns how
/// often, and how long that took.
pub(crate) fn synced_records(
    folder: &Path,
    place: Place,
    record: &[u8],
    during: Duration,
) -> Result<(u64, Duration), Failure> {
    let path = folder.join("plain");
    let file = OpenOptions::new().create_new(true).write(true).open(&path)?;
    file.write_all_at(record, 0)?;
    file.sync_all()?;
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < during {
        let offset = if place == Place::End { count * record.len() as u64 } else { 0 };
        file.write_all_at(record, offset)?;
        file.sync_data()?;
        count += 1;
    }
    let took = began.elapsed();
    std::fs::remove_file(path)?;
    Ok((count, took))
}

/// How long it takes to write `count` bytes into a new file, in pieces of `piece` bytes with an fdatasync after each.
pub(crate) fn synced_file(folder: &Path, count: u64, piece: usize) -> Result<Duration, Failure> {
    let path = folder.join("plain");
    let bytes = vec![7; piece];
    let began = Instant::now();
    let mut file = OpenOptions::new().create_new(true).append(true).open(&path)?;
    let mut left = count;
    while left > 0 {
        let length = usize::try_from(left)?.min(piece);
        file.write_all(&bytes[..length])?;
        file.sync_data()?;
        left -= length as u64;
    }
    let took = began.elapsed();
    drop(file);
    std::fs::remove_file(path)?;
    Ok(took)
}
