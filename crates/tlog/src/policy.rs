//! Whom to believe: the log's key, its witnesses, and how many of them it takes.

use crate::{Checkpoint, CheckpointError, Hash, KeyKind, KeyName, NoteError, SignedNote, VerifierKey};

/// The keys that make a checkpoint worth believing. The log's origin is the name of its key.
#[derive(Clone, Debug)]
pub struct Policy {
    log: VerifierKey,
    witnesses: Vec<VerifierKey>,
    quorum: usize,
}

impl Policy {
    /// Believes the log's key together with `quorum` of the witnesses.
    ///
    /// # Errors
    /// A key is of the wrong kind or counts twice, or there are fewer witnesses than the quorum.
    pub fn new(log: VerifierKey, witnesses: Vec<VerifierKey>, quorum: usize) -> Result<Self, PolicyError> {
        if let Some(wrong) = witnesses.iter().find(|key| key.kind() != KeyKind::Cosignature) {
            return Err(PolicyError::Kind(wrong.name().clone()));
        }
        if log.kind() != KeyKind::Note {
            return Err(PolicyError::Kind(log.name().clone()));
        }
        for (number, key) in witnesses.iter().enumerate() {
            // One who signs under two names is one witness.
            if key.public() == log.public() || witnesses[..number].iter().any(|other| other.public() == key.public()) {
                return Err(PolicyError::Twice(key.name().clone()));
            }
        }
        if quorum > witnesses.len() {
            return Err(PolicyError::Quorum { quorum, witnesses: witnesses.len() });
        }
        Ok(Self { log, witnesses, quorum })
    }

    /// The log's key.
    pub fn log(&self) -> &VerifierKey {
        &self.log
    }

    /// The witnesses.
    pub fn witnesses(&self) -> &[VerifierKey] {
        &self.witnesses
    }

    /// Reads a checkpoint that is to be believed. Signatures by keys that nobody knows are passed over, as the specification
    /// asks; [`Head::unknown`] counts them.
    ///
    /// # Errors
    /// It is not a checkpoint of this log, a signature by a known key does not hold, the log's is missing, or fewer
    /// witnesses than the quorum cosigned.
    pub fn open(&self, bytes: &[u8]) -> Result<Head, OpenError> {
        let (head, by_log) = self.read(bytes)?;
        if !by_log {
            return Err(OpenError::NotByLog);
        }
        if head.cosigned.len() < self.quorum {
            return Err(OpenError::Quorum { cosigned: head.cosigned.len(), quorum: self.quorum });
        }
        Ok(head)
    }

    /// Reads what somebody kept as proof of how the log was: one signature is enough, the log's or a witness's.
    ///
    /// # Errors
    /// It is not a checkpoint of this log, or no known key signed it.
    pub fn open_kept(&self, bytes: &[u8]) -> Result<Head, OpenError> {
        let (head, by_log) = self.read(bytes)?;
        if by_log || !head.cosigned.is_empty() { Ok(head) } else { Err(OpenError::NotByLog) }
    }

    /// The checkpoint, and whether the log signed it.
    fn read(&self, bytes: &[u8]) -> Result<(Head, bool), OpenError> {
        let note = SignedNote::parse(bytes)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin != self.log.name().as_str() {
            return Err(OpenError::Origin { found: checkpoint.origin, expected: self.log.name().clone() });
        }
        let (mut cosigned, mut by_log, mut unknown): (Vec<Cosignature>, _, _) = (Vec::new(), 0, 0);
        for line in note.signatures() {
            let Some(key) = self.witnesses.iter().chain([&self.log]).find(|key| key.is_signer_of(line)) else {
                unknown += 1;
                continue;
            };
            let time = key.verify(note.text(), line).ok_or_else(|| OpenError::Forged(key.name().clone()))?;
            match key.kind() {
                KeyKind::Note => by_log += 1,
                KeyKind::Cosignature if cosigned.iter().any(|other| other.witness == *key.name()) => {
                    return Err(OpenError::Twice(key.name().clone()));
                }
                KeyKind::Cosignature => cosigned.push(Cosignature { witness: key.name().clone(), time }),
            }
        }
        if by_log > 1 {
            return Err(OpenError::Twice(self.log.name().clone()));
        }
        Ok((Head { checkpoint, cosigned, unknown, note }, by_log == 1))
    }
}

/// A checkpoint whose signatures were verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    checkpoint: Checkpoint,
    cosigned: Vec<Cosignature>,
    unknown: usize,
    note: SignedNote,
}

impl Head {
    /// What was signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// How many entries.
    pub fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// The root of all of them.
    pub fn root(&self) -> Hash {
        self.checkpoint.root
    }

    /// Which witnesses cosigned it, and when.
    pub fn cosigned(&self) -> &[Cosignature] {
        &self.cosigned
    }

    /// How many signatures are by keys that nobody knows.
    pub fn unknown(&self) -> usize {
        self.unknown
    }

    /// The note as it was read.
    pub fn note(&self) -> &SignedNote {
        &self.note
    }
}

/// That a witness saw a checkpoint extend all before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// Whose it is.
    pub witness: KeyName,
    /// When it was made, in seconds of Unix time, by the clock of the witness.
    pub time: u64,
}

/// Why keys make no policy. Mend the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The log's key signs notes, those of witnesses cosign.
    #[error("the key {0} is not of the kind that signs here")]
    Kind(KeyName),
    /// One key would count twice.
    #[error("the key of {0} is there already, perhaps under another name")]
    Twice(KeyName),
    /// No checkpoint could ever be believed.
    #[error("a quorum of {quorum} among {witnesses} witnesses")]
    Quorum {
        /// How many it takes.
        quorum: usize,
        /// How many there are.
        witnesses: usize,
    },
}

/// Why a checkpoint is not believed. It was not used for anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is no note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Its text is no checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It is of another log.
    #[error("a checkpoint of {found:?}, not of {expected}")]
    Origin {
        /// What it says.
        found: String,
        /// The log that was asked for.
        expected: KeyName,
    },
    /// A line has the name and id of a known key, and its signature does not hold: it was changed, or is of another text.
    #[error("the signature in the name of {0} does not hold")]
    Forged(KeyName),
    /// One key signed twice.
    #[error("two signatures by {0}")]
    Twice(KeyName),
    /// The log itself did not sign it.
    #[error("the log did not sign it")]
    NotByLog,
    /// Too few witnesses cosigned it.
    #[error("{cosigned} witnesses cosigned it, and it takes {quorum}")]
    Quorum {
        /// How many did.
        cosigned: usize,
        /// How many it takes.
        quorum: usize,
    },
}
