//! `node.toml`: everything an operator says about one node.
//!
//! Unknown keys are errors. Paths are relative to the data directory, and the data directory to the file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use covenant_cluster::Seed;
use covenant_content::Class;
use covenant_types::{LinkTier, NodeId, NodeName, Region, Role, parse_duration};
use serde::{Deserialize, Serialize};

/// Everything an operator says about one node.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Who the node is; must agree with its certificate.
    pub node: NodeSection,
    /// The cluster it belongs to.
    pub cluster: ClusterSection,
    /// Where operators reach it.
    #[serde(default)]
    pub control: ControlSection,
    /// Where monitors reach it.
    #[serde(default)]
    pub metrics: MetricsSection,
    /// What it keeps readable.
    #[serde(default)]
    pub content: ContentSection,
    /// What the book on it follows.
    #[serde(default)]
    pub ledger: LedgerSection,
    /// What it says while it runs.
    #[serde(default)]
    pub log: LogSection,
}

/// Who the node is.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSection {
    /// Its name, as in its certificate.
    pub name: NodeName,
    /// Its role; the tree of this name is booted.
    pub role: Role,
    /// Its region.
    pub region: Region,
    /// Its data directory.
    #[serde(default = "here")]
    pub data: PathBuf,
    /// The UDP address that peers reach it at.
    pub listen: SocketAddr,
    /// How long an orderly stop may take before what is left is killed.
    #[serde(default = "drain_deadline", with = "duration_text")]
    pub drain_deadline: Duration,
}

/// The cluster a node belongs to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSection {
    /// The cluster's name, which is also its trust domain.
    pub name: String,
    /// Where nodes to join by are: addresses, or names that are looked up at every attempt. Any one that answers will do.
    /// Empty on the first node.
    #[serde(default)]
    pub seeds: Vec<Seed>,
    /// A file with more of them, one a line; read again whenever it has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds_file: Option<PathBuf>,
    /// The node that keeps the book.
    pub book_home: NodeName,
    /// Nodes that renew certificates.
    #[serde(default)]
    pub issuers: Vec<IssuerSection>,
    /// How patient membership is with the links here.
    #[serde(default)]
    pub profile: LinkProfile,
    /// How the nodes watch each other. The same on all nodes of the cluster.
    #[serde(default)]
    pub topology: Layout,
    /// What kind of line this node hangs on, where the profile does not say it: `satellite` for one that runs on a battery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<LinkTier>,
}

/// How the nodes of a cluster watch each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// All watch all: for up to a few dozen nodes.
    #[default]
    Flat,
    /// A pool for each region, one of all hubs, and nodes by way of space or on batteries as leaves of two hubs.
    Pools,
}

/// A node that renews certificates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSection {
    /// Its id, which its certificate must prove.
    pub id: NodeId,
    /// Where it listens.
    pub address: SocketAddr,
}

/// How patient membership is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkProfile {
    /// All nodes on one machine: a lost node is shown Down within 6 s.
    Loopback,
    /// A local or metropolitan network.
    #[default]
    Lan,
    /// By a carrier, as LTE, or between regions.
    Wan,
    /// By way of space.
    Satellite,
}

/// Where operators reach a node.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ControlSection {
    /// The Unix socket; `control.sock` in the data directory when left out.
    pub socket: Option<PathBuf>,
    /// A TCP address for operators with certificates; none when left out.
    pub listen: Option<SocketAddr>,
}

/// Where monitors reach a node.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsSection {
    /// The address of `/metrics`, `/livez` and `/readyz`: plain HTTP, so loopback only. None when left out.
    pub listen: Option<SocketAddr>,
}

/// What a node keeps readable.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ContentSection {
    /// Classes whose datasets are fetched.
    #[serde(default)]
    pub subscribe: Vec<Class>,
    /// Names of datasets that are fetched whatever their class, and never evicted.
    #[serde(default)]
    pub pinned: Vec<String>,
}

/// What the book of a node follows.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerSection {
    /// Another table of nations than the one built in, in the same form.
    pub nations: Option<PathBuf>,
    /// The address that serves the public log, `/ledger/checkpoint` and `/ledger/tile/…`: plain HTTP, read-only, to anybody. None
    /// when left out.
    pub listen: Option<SocketAddr>,
}

/// What a node says while it runs.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogSection {
    /// What to log, as `tracing` filters say it: `info`, `warn,covenant_cluster=debug`.
    pub filter: Option<String>,
}

impl NodeConfig {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, has an unknown key or a value that does not fit. Nothing was changed.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let wrong = |what: String| ConfigError { file: path.to_owned(), place: None, what };
        let length = std::fs::metadata(path).map_err(|error| wrong(format!("cannot be read: {error}")))?.len();
        if length > CONFIG_BYTES_MAX {
            return Err(wrong(format!(
                "is {length} bytes long; a node's configuration has at most {CONFIG_BYTES_MAX}"
            )));
        }
        let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let mut config = Self::parse(path, &text)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        config.node.data = folder.join(&config.node.data);
        Ok(config)
    }

    /// Checks the text of the file `path`, which is named in errors only.
    ///
    /// # Errors
    /// As [`NodeConfig::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError {
            file: path.to_owned(),
            place: error.span().map(|span| place(text, span.start)),
            what: error.message().to_owned(),
        })?;
        let wrong = |what: &str| ConfigError { file: path.to_owned(), place: None, what: what.to_owned() };
        if let Some(listen) = config.metrics.listen
            && !listen.ip().is_loopback()
        {
            return Err(wrong("metrics.listen is plain HTTP: use a loopback address such as 127.0.0.1:9464"));
        }
        if config.node.listen.ip().is_unspecified() {
            return Err(wrong("node.listen must be an address that peers can reach, not 0.0.0.0 or [::]"));
        }
        if !(1..=63).contains(&config.cluster.name.len())
            || NodeName::new(&config.cluster.name.replace('.', "-")).is_err()
        {
            return Err(wrong("cluster.name must be 1 to 63 of a-z, 0-9, '-' and '.'"));
        }
        Ok(config)
    }

    /// The file's text for this configuration.
    ///
    /// # Panics
    /// Never: every field has a TOML form.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every field has a TOML form")
    }

    /// Where the control socket lies.
    pub fn socket(&self) -> PathBuf {
        match &self.control.socket {
            Some(socket) => self.node.data.join(socket),
            None => self.node.data.join("control.sock"),
        }
    }
}

/// What is wrong with a configuration file, and where.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {what}", .file.display(), .place.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default())]
pub struct ConfigError {
    file: PathBuf,
    place: Option<(usize, usize)>,
    what: String,
}

/// The longest configuration that is read, in bytes.
const CONFIG_BYTES_MAX: u64 = 256 * 1024;

fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    (line, column)
}

fn here() -> PathBuf {
    PathBuf::from(".")
}

fn drain_deadline() -> Duration {
    Duration::from_secs(20)
}

mod duration_text {
    use super::{Duration, parse_duration};
    use covenant_types::format_duration;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(*span))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[node]\nname = \"hub-africa\"\nrole = \"hub\"\nregion = \"africa\"\nlisten = \"127.0.0.1:7700\"\n\n\
                        [cluster]\nname = \"demo\"\nbook_home = \"hub-africa\"\n";

    fn error(text: &str) -> String {
        NodeConfig::parse(Path::new("node.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn a_config_is_written_as_it_is_read() {
        let config = NodeConfig::parse(Path::new("node.toml"), GOOD).unwrap();
        let again = NodeConfig::parse(Path::new("node.toml"), &config.to_toml()).unwrap();
        assert_eq!(config.to_toml(), again.to_toml());
        assert_eq!(again.node.drain_deadline, Duration::from_secs(20));
    }

    #[test]
    fn errors_name_file_line_and_key() {
        assert!(error(&GOOD.replace("region =", "regoin =")).starts_with("node.toml:4:1: unknown field `regoin`"));
        assert!(error(&GOOD.replace("\"hub\"", "\"hubb\"")).starts_with("node.toml:3:8: unknown variant `hubb`"));
        assert!(error(&GOOD.replace("hub-africa\"\nrole", "Hub\"\nrole")).contains("not a node name"));
        assert!(error(&format!("{GOOD}[metrics]\nlisten = \"0.0.0.0:1\"\n")).contains("loopback"));
        assert!(error(&GOOD.replace("127.0.0.1:7700", "0.0.0.0:7700")).contains("reach"));
        let seeds = |text: &str| GOOD.replace("name = \"demo\"", &format!("name = \"demo\"\nseeds = [{text}]"));
        assert!(error(&seeds("\"10.0.0.1:7400\", \"hub.example\"")).contains("\"hub.example\" is no seed"));
        assert!(NodeConfig::parse(Path::new("node.toml"), &seeds("\"10.0.0.1:7400\", \"hub.example:7400\"")).is_ok());
    }
}
