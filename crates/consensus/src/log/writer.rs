//! Puts frames into segment files, and takes segments away that hold nothing any more.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::LogError;
use super::record::{ENTRY_HEADER_BYTES, Record, entry_of};
use crate::disk::{Disk, DiskFile};
use crate::frame::{CONTENT_BYTES_MAX, HEADER_BYTES, frame, mix};
use crate::types::{LogId, Vote};

/// Where an entry lies.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) segment: Arc<Segment>,
    /// Which frame, and where that begins.
    pub(super) sequence: u64,
    pub(super) frame_at: u64,
    /// Where its record begins in the frame's content.
    pub(super) offset: usize,
    /// How long the entry is.
    pub(super) length: usize,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) name: String,
    pub(super) file: Arc<dyn DiskFile>,
}

/// Owns the files. It writes nothing more once it failed: whoever has it drops it then.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) disk: Arc<dyn Disk>,
    /// Oldest first, each with the highest index of an entry in it. The last one is written to.
    pub(super) segments: VecDeque<(Arc<Segment>, Option<u64>)>,
    /// Where the last segment ends.
    pub(super) end: u64,
    /// The number of the next frame.
    pub(super) sequence: u64,
    pub(super) roll_at: u64,
    pub(super) head: Head,
}

/// What a segment begins with, so that those before it can go.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
}

impl Writer {
    /// Writes `records` as one frame and waits for the disk. Gives back a place for each entry.
    ///
    /// # Errors
    /// The disk refused. The file is as it was, as far as that is to be had.
    pub(super) fn write(&mut self, records: &[Record], committed: Option<LogId>) -> io::Result<Vec<Place>> {
        if self.segments.is_empty() || self.end >= self.roll_at {
            self.begin_segment()?;
        }
        let mut content = Vec::new();
        if self.end == 0 {
            self.head.records().iter().for_each(|record| record.write(&mut content));
        }
        if let Some(committed) = committed.filter(|_| committed != self.head.committed) {
            Record::Committed(committed).write(&mut content);
        }
        let segment = self.segments.back().map(|(segment, _)| segment.clone()).expect("a segment was begun");
        let mut places = Vec::new();
        for record in records {
            if let Record::Entry { bytes, .. } = record {
                let (offset, length) = (content.len(), bytes.len());
                let (sequence, frame_at) = (self.sequence, self.end);
                places.push(Place { segment: segment.clone(), sequence, frame_at, offset, length });
            }
            record.write(&mut content);
        }
        if content.len() > CONTENT_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "more than a frame of the log takes"));
        }
        let bytes = frame(self.sequence, &content);
        if let Err(error) = segment.file.write_at(self.end, &bytes).and_then(|()| segment.file.sync()) {
            // Where even this fails, the next open finds a frame that nobody was promised, whole or torn.
            let _best_effort = segment.file.set_bytes(self.end).and_then(|()| segment.file.sync());
            return Err(error);
        }
        self.end += bytes.len() as u64;
        self.sequence += 1;
        self.head.committed = committed.or(self.head.committed);
        records.iter().for_each(|record| self.note(record));
        self.drop_empty_segments();
        Ok(places)
    }

    fn note(&mut self, record: &Record) {
        if let Record::Entry { log_id, .. } = record {
            let (_, highest) = self.segments.back_mut().expect("a record is written to a segment");
            *highest = (*highest).max(Some(log_id.index));
        }
        self.head.note(record);
    }

    /// Segments whose entries are all purged go, oldest first. One that cannot go now goes later.
    fn drop_empty_segments(&mut self) {
        let purged = self.head.purged.map(|purged| purged.index);
        while self.segments.len() > 1 && self.segments.front().is_some_and(|(_, highest)| *highest <= purged) {
            let Some((segment, _)) = self.segments.front() else { return };
            if let Err(error) = self.disk.remove(&segment.name) {
                tracing::warn!(%error, file = segment.name, "a log file that is used no more cannot be removed");
                return;
            }
            self.segments.pop_front();
        }
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        let name = segment_name(self.sequence);
        let file = self.disk.open(&name)?;
        self.segments.push_back((Arc::new(Segment { name, file }), None));
        self.end = 0;
        Ok(())
    }
}

impl Head {
    pub(super) fn note(&mut self, record: &Record) {
        match record {
            Record::Vote(vote) => self.vote = Some(*vote),
            Record::Committed(committed) => self.committed = Some(*committed),
            Record::Purge(upto) => self.purged = self.purged.max(Some(*upto)),
            Record::Entry { .. } | Record::Truncate { .. } => {}
        }
    }

    fn records(self) -> Vec<Record> {
        let records =
            [self.vote.map(Record::Vote), self.committed.map(Record::Committed), self.purged.map(Record::Purge)];
        records.into_iter().flatten().collect()
    }
}

impl Place {
    /// Reads the entry and checks it.
    pub(super) fn read(&self) -> Result<Arc<[u8]>, LogError> {
        let mut record = vec![0; ENTRY_HEADER_BYTES + self.length];
        let at = self.frame_at + (HEADER_BYTES + self.offset) as u64;
        self.segment.file.read_at(at, &mut record)?;
        mix(self.sequence, self.offset, &mut record);
        // The five bytes before the checksum say what the index knows already.
        let entry = record.get(5..).and_then(entry_of);
        entry.map(Arc::from).ok_or_else(|| LogError::Damaged { file: self.segment.name.clone(), at })
    }
}

/// Segments are named by their first frame, so that names sort as the log goes.
pub(super) fn segment_name(sequence: u64) -> String {
    format!("{sequence:016x}.log")
}
