//! Whom to ask first: addresses, names that are looked up, and a file of both that may change.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Where a member may be found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Seed {
    /// At this address.
    Address(SocketAddr),
    /// At whatever addresses this name has. It is looked up anew at every attempt.
    Name {
        /// The name, as `hub.example`.
        host: String,
        /// The port.
        port: u16,
    },
}

/// All seeds of a node.
#[derive(Clone, Debug, Default)]
pub struct Seeds {
    /// Those that the configuration names.
    pub(crate) listed: Vec<Seed>,
    /// A file with more of them.
    pub(crate) file: Option<SeedsFile>,
}

impl Seeds {
    /// The seeds of `listed`, and those of a file: one a line, with `#` before what is not one. The file is read again
    /// whenever it has changed.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is no seed.
    pub fn new(listed: Vec<Seed>, file: Option<PathBuf>) -> Result<Self, SeedsFileError> {
        let file = file.map(SeedsFile::open).transpose()?;
        Ok(Self { listed, file })
    }

    /// Whether no seed is named at all.
    pub(crate) fn are_none(&self) -> bool {
        self.listed.is_empty() && self.file.as_ref().is_none_or(|file| file.seeds.is_empty())
    }
}

impl From<Vec<SocketAddr>> for Seeds {
    fn from(addresses: Vec<SocketAddr>) -> Self {
        Self { listed: addresses.into_iter().map(Seed::Address).collect(), file: None }
    }
}

/// A file of seeds as it was when last read.
#[derive(Clone, Debug)]
pub(crate) struct SeedsFile {
    path: PathBuf,
    stamp: Option<Stamp>,
    pub(crate) seeds: Vec<Seed>,
}

/// What tells one version of a file from another.
type Stamp = (Option<SystemTime>, u64);

impl SeedsFile {
    fn open(path: PathBuf) -> Result<Self, SeedsFileError> {
        let (stamp, seeds) = read(&path)?;
        Ok(Self { path, stamp: Some(stamp), seeds })
    }

    /// Reads the file again if it has changed, and says whether it had. Blocks on the disk.
    ///
    /// # Errors
    /// It cannot be read, or a line is no seed: the seeds stay as they were. The same bad file is told of once.
    pub(crate) fn read_again(&mut self) -> Result<bool, SeedsFileError> {
        let now = stamp(&self.path).ok();
        if now == self.stamp {
            return Ok(false);
        }
        self.stamp = now;
        let (stamp, seeds) = read(&self.path)?;
        (self.stamp, self.seeds) = (Some(stamp), seeds);
        Ok(true)
    }
}

fn stamp(path: &Path) -> std::io::Result<Stamp> {
    std::fs::metadata(path).map(|metadata| (metadata.modified().ok(), metadata.len()))
}

fn read(path: &Path) -> Result<(Stamp, Vec<Seed>), SeedsFileError> {
    let wrong = |what: String| SeedsFileError { path: path.to_owned(), line: None, what };
    // Before the text: a change in between is then found the next time.
    let stamp = stamp(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if stamp.1 > FILE_BYTES_MAX {
        return Err(wrong(format!("is {} bytes long; a file of seeds has at most {FILE_BYTES_MAX}", stamp.1)));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    seeds_of(path, &text).map(|seeds| (stamp, seeds))
}

/// The seeds in the text of a file; `path` is for what is said of a bad one.
pub(crate) fn seeds_of(path: &Path, text: &str) -> Result<Vec<Seed>, SeedsFileError> {
    let mut seeds = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let number = Some(index + 1);
        let at = |what: String| SeedsFileError { path: path.to_owned(), line: number, what };
        if seeds.len() >= SEEDS_MAX {
            return Err(at(format!("there are more than {SEEDS_MAX} seeds")));
        }
        seeds.push(line.parse().map_err(|error: SeedError| at(error.to_string()))?);
    }
    Ok(seeds)
}

impl FromStr for Seed {
    type Err = SeedError;
    fn from_str(text: &str) -> Result<Self, SeedError> {
        let bad = || SeedError(text.chars().take(64).collect());
        if let Ok(address) = text.parse::<SocketAddr>() {
            let dialable = address.port() != 0 && !address.ip().is_unspecified();
            return if dialable { Ok(Self::Address(address)) } else { Err(bad()) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port: u16 = port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?;
        if is_host(host) { Ok(Self::Name { host: host.to_owned(), port }) } else { Err(bad()) }
    }
}

/// Whether this can be a name that is looked up. One that ends in a number is a mistyped address.
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(plain) && !label.starts_with('-') && !label.ends_with('-')
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let ends_in_a_word = host.rsplit('.').next().is_some_and(|last| !last.bytes().all(|byte| byte.is_ascii_digit()));
    (1..=253).contains(&host.len()) && host.split('.').all(label) && ends_in_a_word
}

impl TryFrom<String> for Seed {
    type Error = SeedError;
    fn try_from(text: String) -> Result<Self, SeedError> {
        text.parse()
    }
}

impl From<Seed> for String {
    fn from(seed: Seed) -> Self {
        seed.to_string()
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// The most seeds in a file.
pub const SEEDS_MAX: usize = 64;
/// The longest file of seeds that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A text that is no seed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no seed: write an address such as 10.0.0.1:7400, or a name such as hub.example:7400")]
pub struct SeedError(String);

/// What is wrong with a file of seeds, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {what}", .path.display(), .line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct SeedsFileError {
    path: PathBuf,
    line: Option<usize>,
    what: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(text: &str) -> Seed {
        text.parse().unwrap()
    }

    #[test]
    fn a_seed_is_an_address_or_a_name_with_a_port_and_nothing_else() {
        assert_eq!(seed("10.0.0.1:7400"), Seed::Address("10.0.0.1:7400".parse().unwrap()));
        assert_eq!(seed("[::1]:7400"), Seed::Address("[::1]:7400".parse().unwrap()));
        assert_eq!(seed("hub.example:7400"), Seed::Name { host: "hub.example".to_owned(), port: 7400 });
        for good in ["localhost:1", "hub_1.example.:7400", "3com.example:7400"] {
            assert_eq!(seed(good).to_string(), good);
        }
        let long = format!("{}:1", "a.".repeat(127) + "abc");
        for bad in [
            "",
            ":7400",
            "hub.example",
            "hub.example:",
            "hub.example:0",
            "hub.example:70000",
            "10.0.0:7400",
            "300.0.0.1:7400",
            "0.0.0.0:7400",
            "10.0.0.1:0",
            "-hub:1",
            "hub..example:1",
            "hub example:1",
            "::1:7400",
            &long,
        ] {
            assert!(bad.parse::<Seed>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_file_of_seeds_is_read_again_when_it_changed_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seeds");
        std::fs::write(&path, "# ours\n10.0.0.1:7400\n\nhub.example:7400  # the old one\n").unwrap();
        let mut file = SeedsFile::open(path.clone()).unwrap();
        assert_eq!(file.seeds, [seed("10.0.0.1:7400"), seed("hub.example:7400")]);
        assert_eq!(file.read_again(), Ok(false));
        std::fs::write(&path, "10.0.0.2:7400\nhub.example\n").unwrap();
        let error = file.read_again().unwrap_err().to_string();
        assert!(error.contains("seeds:2: \"hub.example\" is no seed"), "{error}");
        assert_eq!(file.seeds.len(), 2, "what was known stays");
        assert_eq!(file.read_again(), Ok(false), "a bad file is told of once");
        std::fs::write(&path, "10.0.0.2:7400\n").unwrap();
        assert_eq!(file.read_again(), Ok(true));
        assert_eq!(file.seeds, [seed("10.0.0.2:7400")]);
        std::fs::remove_file(&path).unwrap();
        assert!(file.read_again().is_err());
        assert_eq!((file.seeds.len(), file.read_again()), (1, Ok(false)));
    }

    #[test]
    fn a_file_of_seeds_that_is_missing_too_long_or_too_full_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seeds");
        let refused = |path: &Path| Seeds::new(Vec::new(), Some(path.to_owned())).unwrap_err().to_string();
        assert!(refused(&path).contains("cannot be read"));
        std::fs::write(&path, "10.0.0.1:7400\n".repeat(SEEDS_MAX + 1)).unwrap();
        assert!(refused(&path).contains(":65: there are more than 64 seeds"));
        std::fs::write(&path, "#".repeat(100_000)).unwrap();
        assert!(refused(&path).contains("at most 65536"));
    }
}
