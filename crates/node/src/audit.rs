//! `audit.jsonl`: who did what to this node, in a chain that shows what was changed afterwards.
//!
//! Every operator act, allowed or refused, is one line of JSON. Each line carries the hash of the line before it, so that a
//! line changed, dropped or put in between is found by [`verify`]. Cutting off the end is not found by the file alone:
//! keep the newest hash elsewhere.
//!
//! # Invariants
//! - A line is on disk before its act is answered.
//! - A torn last line, left by a power cut, is cut off at the next start; anything else that does not verify refuses the start.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use covenant_types::WallTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One act, as its caller tells it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Act {
    /// The person: `uid 1000` or `operator alice (chaos)`.
    pub who: String,
    /// The verb of the control API.
    pub verb: String,
    /// What it was done to.
    pub target: String,
    /// What was there before, where that is short enough to say.
    pub before: String,
    /// What is there after.
    pub after: String,
    /// `ok`, `denied` or the error.
    pub result: String,
}

/// One line of the log.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct AuditLine {
    /// 1 for the first line.
    pub seq: u64,
    /// When, as the node's clock told it.
    pub at: WallTime,
    /// What was done.
    #[serde(flatten)]
    pub act: Act,
    /// The hash of the line before; of nothing for the first.
    pub previous: String,
    /// SHA-256 over this line without this field.
    pub hash: String,
}

/// The log of one node. Cheap to share by reference.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    inner: Mutex<Tail>,
}

#[derive(Debug)]
struct Tail {
    file: File,
    seq: u64,
    hash: String,
}

impl AuditLog {
    /// Opens or begins the log, and verifies all of it.
    ///
    /// # Errors
    /// The file cannot be read or written, or a line does not verify.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let io = |source| AuditError::Io { path: path.to_owned(), source };
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).map_err(io)?;
        let end = verify_lines(path, &mut BufReader::new(&file))?;
        if end.torn {
            file.set_len(end.bytes).map_err(io)?;
            file.sync_all().map_err(io)?;
        }
        file.seek(SeekFrom::End(0)).map_err(io)?;
        Ok(Self { path: path.to_owned(), inner: Mutex::new(Tail { file, seq: end.seq, hash: end.hash }) })
    }

    /// Writes one act and waits until it is on disk.
    ///
    /// # Errors
    /// The disk refused. The act is then answered as failed, whatever it did.
    pub fn record(&self, at: WallTime, act: Act) -> Result<AuditLine, AuditError> {
        let io = |source| AuditError::Io { path: self.path.clone(), source };
        let mut tail = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = AuditLine { seq: tail.seq + 1, at, act, previous: tail.hash.clone(), hash: String::new() };
        line.hash = hash_of(&line);
        let mut text = serde_json::to_string(&line).map_err(|error| io(io::Error::other(error)))?;
        text.push('\n');
        let before = tail.file.metadata().map_err(io)?.len();
        if let Err(error) = tail.file.write_all(text.as_bytes()).and_then(|()| tail.file.sync_data()) {
            // Half a line would break the chain for the next one. If even this fails the next start cuts it off.
            let _best_effort = tail.file.set_len(before);
            return Err(io(error));
        }
        tail.seq = line.seq;
        tail.hash.clone_from(&line.hash);
        Ok(line)
    }
}

/// Reads a whole log and says how many lines hold.
///
/// # Errors
/// The file cannot be read, or a line was changed, dropped or put in between; the error names the first such line.
pub fn verify(path: &Path) -> Result<u64, AuditError> {
    let io = |source| AuditError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let end = verify_lines(path, &mut BufReader::new(file))?;
    if end.torn {
        Err(AuditError::Broken { path: path.to_owned(), line: end.seq + 1, why: "it is cut short" })
    } else {
        Ok(end.seq)
    }
}

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The disk refused.
    #[error("the audit log {} cannot be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The chain is broken. Keep the file as evidence, find out why, then move it away to begin a new one.
    #[error("the audit log {} does not verify at line {line}: {why}; keep it as evidence and move it away to begin a new one", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The first line that does not hold.
        line: u64,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// The longest line, in bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024;

pub(crate) struct End {
    seq: u64,
    hash: String,
    bytes: u64,
    torn: bool,
}

pub(crate) fn verify_lines(path: &Path, reader: &mut impl BufRead) -> Result<End, AuditError> {
    let mut end = End { seq: 0, hash: String::new(), bytes: 0, torn: false };
    loop {
        let broken = |why| AuditError::Broken { path: path.to_owned(), line: end.seq + 1, why };
        let mut text = Vec::new();
        let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut text);
        let length = read.map_err(|source| AuditError::Io { path: path.to_owned(), source })?;
        if length == 0 {
            return Ok(end);
        }
        if text.last() != Some(&b'\n') {
            if text.len() as u64 == LINE_BYTES_MAX {
                return Err(broken("it is longer than any act"));
            }
            end.torn = true;
            return Ok(end);
        }
        let line: AuditLine = serde_json::from_slice(&text).map_err(|_| broken("it is not an audit line"))?;
        if line.seq != end.seq + 1 {
            return Err(broken("its number does not follow"));
        }
        if line.previous != end.hash {
            return Err(broken("it does not follow the line before it"));
        }
        if line.hash != hash_of(&line) {
            return Err(broken("its content was changed"));
        }
        end = End { seq: line.seq, hash: line.hash, bytes: end.bytes + length as u64, torn: false };
    }
}

pub(crate) fn hash_of(line: &AuditLine) -> String {
    let mut record = covenant_types::canonical::Writer::new("covenant/audit/1");
    record.u64(line.seq).u64(line.at.0).text(&line.previous);
    let Act { who, verb, target, before, after, result } = &line.act;
    for field in [who, verb, target, before, after, result] {
        record.text(field);
    }
    Sha256::digest(record.finish()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(verb: &str) -> Act {
        let text = str::to_owned;
        Act {
            who: text("uid 0"),
            verb: text(verb),
            target: text("/sync"),
            before: text("1"),
            after: text("2"),
            result: text("ok"),
        }
    }

    fn log_of_three() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let log = AuditLog::open(&path).unwrap();
        for verb in ["a", "b", "c"] {
            log.record(WallTime(7), act(verb)).unwrap();
        }
        (dir, path)
    }

    #[test]
    fn a_log_goes_on_where_it_ended() {
        let (_dir, path) = log_of_three();
        assert_eq!(AuditLog::open(&path).unwrap().record(WallTime(8), act("d")).unwrap().seq, 4);
        assert_eq!(verify(&path).unwrap(), 4);
    }

    #[test]
    fn a_changed_dropped_or_swapped_line_is_found() {
        let (_dir, path) = log_of_three();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let changed = text.replacen("\"verb\":\"b\"", "\"verb\":\"x\"", 1);
        let dropped = format!("{}\n{}\n", lines[0], lines[2]);
        let swapped = format!("{}\n{}\n{}\n", lines[1], lines[0], lines[2]);
        for bad in [changed, dropped, swapped] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(AuditLog::open(&path), Err(AuditError::Broken { .. })));
        }
    }

    #[test]
    fn a_torn_last_line_is_cut_off() {
        let (_dir, path) = log_of_three();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        assert!(verify(&path).is_err());
        let next = AuditLog::open(&path).unwrap().record(WallTime(9), act("c again")).unwrap();
        assert_eq!(next.seq, 3);
        assert_eq!(verify(&path).unwrap(), 3);
    }
}
