//! Checkpoints: the head of a tree as the text of a note. After C2SP `tlog-checkpoint`.

use std::fmt;

use crate::Hash;

/// The largest tree. Others count entries in 63 bits.
pub const SIZE_MAX: u64 = i64::MAX.cast_unsigned();

/// How many entries a log has, and their root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log; never empty, one line.
    pub origin: String,
    /// How many entries; at most [`SIZE_MAX`].
    pub size: u64,
    /// The root of all of them.
    pub root: Hash,
    /// Lines of others below the root, none of them empty. Ours writes none.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// Reads a note's text.
    ///
    /// # Errors
    /// It is not a checkpoint.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Form)?.split('\n');
        let mut line = || lines.next().filter(|line| !line.is_empty()).ok_or(CheckpointError::Form);
        let (origin, size, root) = (line()?.to_owned(), line()?, line()?);
        let number = size.parse().ok().filter(|number: &u64| *number <= SIZE_MAX && number.to_string() == size);
        let size = number.ok_or(CheckpointError::Size)?;
        let root = Hash::from_base64(root).ok_or(CheckpointError::Root)?;
        if size == 0 && root != Hash::EMPTY_TREE {
            return Err(CheckpointError::Root);
        }
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(CheckpointError::Form);
        }
        Ok(Self { origin, size, root, extensions })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root)?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Why a text is no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// There are not three lines or more, or one is empty.
    #[error("not a checkpoint: an origin, a size and a root, each on its line")]
    Form,
    /// The size is not a decimal number without leading zeros, or it is too large.
    #[error("the size of a checkpoint is not a number below 2^63")]
    Size,
    /// The root is not 32 bytes in base64, or not the one that a tree without entries has.
    #[error("the root of a checkpoint is not a hash, or not that of its size")]
    Root,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn a_checkpoint_is_read_and_written_as_the_specification_shows() {
        let checkpoint = Checkpoint::parse(TEXT).unwrap();
        assert_eq!((checkpoint.origin.as_str(), checkpoint.size), ("example.com/behind-the-sofa", 20_852_163));
        assert_eq!(checkpoint.to_string(), TEXT);
        let extended = format!("{TEXT}more\nand more\n");
        assert_eq!(Checkpoint::parse(&extended).unwrap().to_string(), extended);
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        for (from, to, error) in [
            ("example.com/behind-the-sofa", "", CheckpointError::Form),
            ("I=\n", "I=", CheckpointError::Form),
            ("I=\n", "I=\n\n", CheckpointError::Form),
            ("20852163", "020852163", CheckpointError::Size),
            ("20852163", "+20852163", CheckpointError::Size),
            ("20852163", "9223372036854775808", CheckpointError::Size),
            ("20852163", "99999999999999999999", CheckpointError::Size),
            ("20852163", "0", CheckpointError::Root),
            ("I=\n", "I\n", CheckpointError::Root),
            ("I=\n", "J=\n", CheckpointError::Root),
        ] {
            assert_eq!(Checkpoint::parse(&TEXT.replace(from, to)), Err(error), "{from} {to}");
        }
        assert_eq!(Checkpoint::parse("log\n0\n"), Err(CheckpointError::Form));
    }
}
