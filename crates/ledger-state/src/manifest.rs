//! Which runs are the state, and up to where in the log it is: one small file, replaced whole.

use std::io;
use std::path::Path;

use covenant_types::canonical::{CanonicalError, Reader, Writer};

use crate::journal::JournalName;
use crate::run::RunName;

/// The file's name.
pub(crate) const MANIFEST: &str = "manifest";
/// Runs of one state. Merging keeps them far below.
pub(crate) const RUNS_MAX: usize = 4096;
const DOMAIN: &str = "covenant/ledger-manifest/2";
const MODE: u32 = 0o600;
const BYTES_MAX: u64 = 1 << 20;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// The number that the next run gets.
    pub(crate) next: u64,
    /// From the newest to the oldest.
    pub(crate) runs: Vec<RunName>,
    /// Where the commands are that led to these runs.
    pub(crate) journal: JournalName,
    /// Up to where the log is in these runs; what the group gave with the commands.
    pub(crate) mark: Option<Vec<u8>>,
}

impl Manifest {
    /// Reads the one in `folder`; `None` where there is none.
    pub(crate) fn read(folder: &Path) -> io::Result<Option<Self>> {
        let path = folder.join(MANIFEST);
        let length = match std::fs::metadata(&path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let bad = |what: &str| {
            io::Error::new(io::ErrorKind::InvalidData, format!("the file {} is damaged: {what}", path.display()))
        };
        if length > BYTES_MAX {
            return Err(bad("it is too long"));
        }
        Self::decode(&std::fs::read(&path)?).map(Some).map_err(|error| bad(&error.to_string()))
    }

    /// Puts this one in place of the one in `folder`. It is on disk when this returns.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        covenant_store::write_atomic(&folder.join(MANIFEST), &self.encode(), MODE)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(DOMAIN);
        writer.u64(self.next).count(self.runs.len());
        for run in &self.runs {
            writer.u64(run.number).u8(run.level).u64(run.bytes).bytes(&run.hash);
        }
        let JournalName { number, bytes, commands, check } = &self.journal;
        writer.u64(*number).u64(*bytes).u64(*commands).bytes(check);
        writer.u8(u8::from(self.mark.is_some())).bytes(self.mark.as_deref().unwrap_or_default());
        let mut bytes = writer.finish();
        let check = blake3::hash(&bytes);
        bytes.extend(check.as_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CanonicalError> {
        let (bytes, check) = bytes.split_last_chunk::<32>().ok_or(CanonicalError::CutShort)?;
        if blake3::hash(bytes).as_bytes() != check {
            return Err(CanonicalError::BadValue("check"));
        }
        let mut reader = Reader::new(bytes, DOMAIN)?;
        let next = reader.u64()?;
        let count = reader.count(53)?;
        if count > RUNS_MAX {
            return Err(CanonicalError::BadValue("runs"));
        }
        let run = |reader: &mut Reader<'_>| {
            let (number, level, bytes) = (reader.u64()?, reader.u8()?, reader.u64()?);
            let hash = reader.bytes()?.try_into().map_err(|_| CanonicalError::BadValue("hash"))?;
            if number >= next {
                Err(CanonicalError::BadValue("number"))
            } else {
                Ok(RunName { number, level, bytes, hash })
            }
        };
        let runs = (0..count).map(|_| run(&mut reader)).collect::<Result<_, _>>()?;
        let journal = JournalName {
            number: reader.u64()?,
            bytes: reader.u64()?,
            commands: reader.u64()?,
            check: reader.bytes()?.try_into().map_err(|_| CanonicalError::BadValue("journal"))?,
        };
        if journal.bytes > 0 && journal.number >= next {
            return Err(CanonicalError::BadValue("journal"));
        }
        let (marked, mark) = (reader.u8()?, reader.bytes()?.to_vec());
        let mark = match marked {
            0 if mark.is_empty() => None,
            1 => Some(mark),
            _ => return Err(CanonicalError::BadValue("mark")),
        };
        reader.finish()?;
        Ok(Self { next, runs, journal, mark })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_as_it_was_written_and_no_bit_may_flip() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), None);
        let run = |number| RunName { number, level: 2, bytes: 99, hash: [7; 32] };
        let journal = JournalName { number: 2, bytes: 700, commands: 3, check: [9; 32] };
        let manifest = Manifest { next: 9, runs: vec![run(8), run(3)], journal, mark: Some(vec![1, 2]) };
        manifest.write(dir.path()).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), Some(manifest.clone()));
        let mut bytes = manifest.encode();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&bytes).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!((0..bytes.len()).all(|length| Manifest::decode(&bytes[..length]).is_err()));
        let unmade = Manifest { next: 3, ..manifest };
        assert_eq!(Manifest::decode(&unmade.encode()), Err(CanonicalError::BadValue("number")));
    }
}
