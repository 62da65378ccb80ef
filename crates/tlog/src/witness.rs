//! A witness: remembers what it saw last of each log and cosigns only what extends it. After C2SP `tlog-witness`.
//!
//! # Invariants
//! - Of one log, no two checkpoints that were cosigned contradict each other, and a later one is never smaller.
//! - What is remembered of a log stays when the log is no longer asked for.

use std::collections::BTreeMap;
use std::fmt;

use crate::note::{SignatureLine, SignedNote, Signer, VerifierKey, cosign};
use crate::{Checkpoint, Hash, KeyName, NoteError, PROOF_HASHES_MAX, verify_consistency};

/// What a log asks of a witness: to cosign a checkpoint, with the proof that it extends the one of `old_size`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// How many entries the witness saw last, as far as the log knows.
    pub old_size: u64,
    /// Shows that the tree began so.
    pub proof: Vec<Hash>,
    /// The new checkpoint, signed by the log.
    pub checkpoint: SignedNote,
}

impl AddCheckpoint {
    /// Reads a request: `old SIZE`, the hashes of the proof each on its line, a blank line, and the checkpoint.
    ///
    /// # Errors
    /// It is not a request.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        let blank =
            bytes.windows(2).take(HEADER_BYTES_MAX).position(|pair| pair == b"\n\n").ok_or(RequestError::Form)?;
        let header = std::str::from_utf8(&bytes[..blank]).map_err(|_| RequestError::Form)?;
        let mut lines = header.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).ok_or(RequestError::Form)?;
        let old_size: u64 = old.parse().map_err(|_| RequestError::Form)?;
        if old_size.to_string() != old {
            return Err(RequestError::Form);
        }
        let proof =
            lines.map(|line| Hash::from_base64(line).ok_or(RequestError::Form)).collect::<Result<Vec<_>, _>>()?;
        if proof.len() >= PROOF_HASHES_MAX {
            return Err(RequestError::Form);
        }
        Ok(Self { old_size, proof, checkpoint: SignedNote::parse(&bytes[blank + 2..])? })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Why bytes are no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The lines before the checkpoint are not a size and hashes.
    #[error("not a request: a line `old SIZE`, hashes, a blank line and a checkpoint")]
    Form,
    /// What follows is no note.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// How a log was when it was cosigned last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WitnessRecord {
    /// How many entries it had.
    pub size: u64,
    /// Their root.
    pub root: Hash,
}

/// A request that a witness agrees to. It already remembers; the cosignature is the caller's to hand out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The signature line for the checkpoint.
    pub line: SignatureLine,
    /// What was cosigned.
    pub record: WitnessRecord,
}

/// The logs that a witness knows, and what it saw of each.
#[derive(Clone, Debug)]
pub struct Witness {
    name: KeyName,
    logs: Vec<VerifierKey>,
    records: BTreeMap<KeyName, WitnessRecord>,
}

impl Witness {
    /// The witness `name` of the logs with these keys, which remembers what [`to_text`](Self::to_text) wrote; nothing at its
    /// first start.
    ///
    /// # Errors
    /// `remembered` is not such a text. Do not start without it: who forgets may cosign two histories.
    pub fn new(name: KeyName, logs: Vec<VerifierKey>, remembered: &str) -> Result<Self, RequestError> {
        let mut records = BTreeMap::new();
        for line in remembered.lines() {
            let read = || {
                let mut words = line.split(' ');
                let (size, root, origin) = (words.next()?, words.next()?, words.next()?);
                let record = WitnessRecord { size: size.parse().ok()?, root: Hash::from_base64(root)? };
                words.next().is_none().then_some((origin.parse().ok()?, record))
            };
            let (origin, record): (KeyName, _) = read().ok_or(RequestError::Form)?;
            if records.insert(origin, record).is_some() {
                return Err(RequestError::Form);
            }
        }
        Ok(Self { name, logs, records })
    }

    /// What was cosigned last, a line for each log.
    pub fn to_text(&self) -> String {
        let lines = self.records.iter().map(|(origin, record)| format!("{} {} {origin}\n", record.size, record.root));
        lines.collect()
    }

    /// What was cosigned last of the log called `origin`.
    pub fn record(&self, origin: &KeyName) -> Option<WitnessRecord> {
        self.records.get(origin).copied()
    }

    /// Cosigns the checkpoint if it extends what was cosigned before; `time` is in seconds of Unix time.
    ///
    /// The caller puts [`to_text`](Self::to_text) on disk before it hands out the line. Where the disk refuses, it keeps the
    /// line to itself: the witness remembers more than it said, which contradicts nothing.
    ///
    /// # Errors
    /// It does not, and nothing is remembered.
    pub fn add_checkpoint(
        &mut self,
        request: &AddCheckpoint,
        time: u64,
        signer: &dyn Signer,
    ) -> Result<Agreed, Refusal> {
        let text = request.checkpoint.text();
        let checkpoint = Checkpoint::parse(text).map_err(|_| Refusal::Malformed)?;
        let log = self.logs.iter().find(|log| log.name().as_str() == checkpoint.origin).ok_or(Refusal::UnknownLog)?;
        let mut by_log = request.checkpoint.signatures().iter().filter(|line| log.is_signer_of(line)).peekable();
        if by_log.peek().is_none() || !by_log.all(|line| log.verify(text, line).is_some()) {
            return Err(Refusal::NotSigned);
        }
        if request.old_size > checkpoint.size {
            return Err(Refusal::Malformed);
        }
        let seen = self.records.get(log.name()).copied().unwrap_or(WitnessRecord { size: 0, root: Hash::EMPTY_TREE });
        if request.old_size != seen.size {
            return Err(Refusal::Conflict { size: seen.size });
        }
        let record = WitnessRecord { size: checkpoint.size, root: checkpoint.root };
        verify_consistency((seen.size, seen.root), (record.size, record.root), &request.proof)
            .map_err(|_| Refusal::Inconsistent)?;
        let line = cosign(&self.name, signer, time, text).ok_or(Refusal::Malformed)?;
        self.records.insert(log.name().clone(), record);
        Ok(Agreed { line, record })
    }
}

/// Why a witness does not cosign. It remembers nothing of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not a checkpoint, or smaller than what it is said to extend.
    #[error("not a checkpoint, or smaller than the one it is to extend")]
    Malformed,
    /// A log that this witness does not know.
    #[error("a log that this witness does not know")]
    UnknownLog,
    /// The log did not sign it.
    #[error("the log did not sign it")]
    NotSigned,
    /// The witness saw the log at another size. Ask again with a proof from there.
    #[error("this witness saw {size} entries last")]
    Conflict {
        /// The size to prove from.
        size: u64,
    },
    /// It does not extend what the witness saw. Never right again: keep the checkpoint as evidence.
    #[error("it does not extend what this witness cosigned")]
    Inconsistent,
}

impl Refusal {
    /// The status that the answer has over HTTP.
    pub fn http_status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::NotSigned => 403,
            Self::UnknownLog => 404,
            Self::Conflict { .. } => 409,
            Self::Inconsistent => 422,
        }
    }
}

/// The size line and the hashes of a request are not longer than this.
const HEADER_BYTES_MAX: usize = 32 + PROOF_HASHES_MAX * 45;
