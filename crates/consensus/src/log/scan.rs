//! Opens a log: reads every frame once, mends a torn end, refuses everything else that is not as it was written.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::record::Record;
use super::writer::{Head, Place, Segment, Writer, segment_name};
use super::{Index, LogError, Slot};
use crate::disk::Disk;
use crate::frame::{Found, look};

/// Opens the log on `disk`, or begins one.
pub(super) fn open(disk: Arc<dyn Disk>, roll_at: u64) -> Result<(Index, Writer), LogError> {
    let mut index = Index::default();
    let (segments, head) = (VecDeque::new(), Head::default());
    let mut writer = Writer { disk: disk.clone(), segments, end: 0, sequence: 0, roll_at, head };
    let names: Vec<String> = disk.list()?.into_iter().filter(|name| name.ends_with(".log")).collect();
    for (number, name) in names.iter().enumerate() {
        if number == 0 {
            let first = name.strip_suffix(".log").and_then(|first| u64::from_str_radix(first, 16).ok());
            writer.sequence = first.ok_or_else(|| LogError::Damaged { file: name.clone(), at: 0 })?;
        }
        if *name != segment_name(writer.sequence) {
            return Err(LogError::Hole { before: format!("the file {name}") });
        }
        read_segment(&mut index, &mut writer, name, number + 1 == names.len())?;
    }
    check_whole(&index)?;
    Ok((index, writer))
}

fn read_segment(index: &mut Index, writer: &mut Writer, name: &str, last: bool) -> Result<(), LogError> {
    let file = writer.disk.open(name)?;
    let segment = Arc::new(Segment { name: name.to_owned(), file: file.clone() });
    writer.segments.push_back((segment.clone(), None));
    let length = usize::try_from(file.bytes()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_at(0, &mut bytes)?;
    let mut at = 0;
    while at < length {
        let damaged = || LogError::Damaged { file: name.to_owned(), at: at as u64 };
        match look(&bytes[at..], writer.sequence) {
            Found::Frame { content, bytes } => {
                let mut rest = &content[..];
                while !rest.is_empty() {
                    let offset = content.len() - rest.len();
                    let record = Record::read(&mut rest).map_err(|_| damaged())?;
                    replay(index, writer, record, &segment, at as u64, offset);
                }
                at += bytes;
                writer.sequence += 1;
            }
            Found::Torn if last => {
                tracing::warn!(
                    file = name,
                    at,
                    bytes = length - at,
                    "the end of the log was being written and is cut off"
                );
                file.set_bytes(at as u64)?;
                break;
            }
            Found::Torn | Found::Damaged => return Err(damaged()),
        }
    }
    if last {
        // What a killed process wrote and never synced was seen just now, and so has to stay.
        file.sync()?;
    }
    writer.end = at as u64;
    Ok(())
}

fn replay(
    index: &mut Index,
    writer: &mut Writer,
    record: Record,
    segment: &Arc<Segment>,
    frame_at: u64,
    offset: usize,
) {
    writer.head.note(&record);
    match record {
        Record::Vote(vote) => index.vote = Some(vote),
        Record::Committed(committed) => index.committed = Some(committed),
        Record::Entry { log_id, bytes } => {
            if let Some((_, highest)) = writer.segments.back_mut() {
                *highest = (*highest).max(Some(log_id.index));
            }
            let (segment, sequence, length) = (segment.clone(), writer.sequence, bytes.len());
            let place = Place { segment, sequence, frame_at, offset, length };
            index.entries.insert(log_id.index, Slot { log_id, place: Some(place), bytes: None });
        }
        Record::Truncate { since } => index.truncate(since),
        Record::Purge(upto) => index.purge(upto),
    }
}

/// Entries follow each other, and the first one what was purged.
fn check_whole(index: &Index) -> Result<(), LogError> {
    let mut next = index.purged.map_or(0, |purged| purged.index + 1);
    for found in index.entries.keys() {
        if *found != next {
            return Err(LogError::Hole { before: format!("entry {found}") });
        }
        next = found + 1;
    }
    Ok(())
}
