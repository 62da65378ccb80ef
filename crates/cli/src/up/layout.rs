//! The folder of a small cluster: which nodes, on which ports. `up.toml` remembers it, so that the same cluster comes back.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use covenant_types::{NodeName, Region, Role};
use serde::{Deserialize, Serialize};

/// Which nodes a small cluster has.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layout {
    /// The cluster's name.
    pub(crate) cluster: String,
    /// Its nodes in start order. The first is the one `init` makes: it issues certificates and begins the ledger.
    pub(crate) node: Vec<NodePlan>,
}

/// One node of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodePlan {
    pub(crate) name: NodeName,
    pub(crate) role: Role,
    pub(crate) region: Region,
    /// Peers, UDP.
    pub(crate) listen: SocketAddr,
    /// Operators with certificates, TCP.
    pub(crate) control: SocketAddr,
    /// Monitors, TCP.
    pub(crate) metrics: SocketAddr,
    /// Readers of the public log of the ledger, TCP; of hubs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ledger: Option<SocketAddr>,
    /// Classes of content fetched without being asked.
    pub(crate) subscribe: Vec<String>,
}

/// The most nodes one machine is asked to run.
const NODES_MAX: usize = 32;
/// The longest `up.toml` that is read, in bytes.
const LAYOUT_BYTES_MAX: u64 = 64 * 1024;

impl Layout {
    /// Reads the folder's layout, or plans a new one on free ports and writes it down.
    pub(crate) fn load_or_plan(folder: &Path) -> anyhow::Result<Self> {
        match Self::load(folder)? {
            Some(layout) => Ok(layout),
            None => {
                let layout = Self::plan()?;
                let text = toml::to_string(&layout).context("the layout has no TOML form")?;
                covenant_store::write_atomic(&folder.join(FILE), text.as_bytes(), 0o644)
                    .with_context(|| format!("{} cannot be written", folder.join(FILE).display()))?;
                Ok(layout)
            }
        }
    }

    /// Reads the folder's layout; `None` where there is none yet.
    pub(crate) fn load(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join(FILE);
        let length = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        if length > LAYOUT_BYTES_MAX {
            bail!("{} is {length} bytes long; a layout has at most {LAYOUT_BYTES_MAX}", path.display());
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let layout: Self = toml::from_str(&text).with_context(|| format!("{} is not a layout", path.display()))?;
        let mut names: Vec<_> = layout.node.iter().map(|node| &node.name).collect();
        names.sort();
        names.dedup();
        if layout.node.is_empty() || layout.node.len() > NODES_MAX || names.len() != layout.node.len() {
            bail!("{} must name 1 to {NODES_MAX} nodes, each once", path.display());
        }
        Ok(Some(layout))
    }

    fn plan() -> anyhow::Result<Self> {
        let health = || vec!["health".to_owned()];
        let wanted = [
            ("hub-africa", Role::Hub, Region::Africa, vec![]),
            ("hub-europe", Role::Hub, Region::Europe, vec![]),
            ("hub-asia", Role::Hub, Region::Asia, vec![]),
            ("tower-kisumu", Role::Tower, Region::Africa, health()),
            ("tower-kandy", Role::Tower, Region::Asia, health()),
        ];
        let mut ports = FreePorts::default();
        let node = wanted
            .into_iter()
            .map(|(name, role, region, subscribe)| {
                Ok(NodePlan {
                    name: NodeName::new(name)?,
                    role,
                    region,
                    listen: ports.udp()?,
                    control: ports.tcp()?,
                    metrics: ports.tcp()?,
                    ledger: (role == Role::Hub).then(|| ports.tcp()).transpose()?,
                    subscribe,
                })
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { cluster: "covenant-demo".to_owned(), node })
    }

    /// The node that `init` made.
    pub(crate) fn first(&self) -> &NodePlan {
        self.node.first().expect("a layout has at least one node")
    }
}

impl NodePlan {
    /// The node's own folder.
    pub(crate) fn dir(&self, folder: &Path) -> PathBuf {
        node_dir(folder, &self.name)
    }
}

/// Where the node `name` of the cluster in `folder` lives.
pub(crate) fn node_dir(folder: &Path, name: &NodeName) -> PathBuf {
    folder.join(name.as_str())
}

/// Where `up` itself takes orders about processes.
pub(crate) fn up_socket(folder: &Path) -> PathBuf {
    folder.join("up.sock")
}

const FILE: &str = "up.toml";

/// Hands out ports that nobody listens on. They stay bound until all are found, so that none is given twice.
#[derive(Default)]
struct FreePorts {
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
}

impl FreePorts {
    fn udp(&mut self) -> anyhow::Result<SocketAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("no free UDP port on 127.0.0.1")?;
        let address = socket.local_addr()?;
        self.udp.push(socket);
        Ok(address)
    }

    fn tcp(&mut self) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free TCP port on 127.0.0.1")?;
        let address = listener.local_addr()?;
        self.tcp.push(listener);
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_folder_gives_the_same_cluster() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Layout::load(dir.path()).unwrap().is_none());
        let first = Layout::load_or_plan(dir.path()).unwrap();
        let again = Layout::load_or_plan(dir.path()).unwrap();
        assert_eq!(toml::to_string(&first).unwrap(), toml::to_string(&again).unwrap());
        assert_eq!(first.node.len(), 5);
        let mut udp: Vec<_> = first.node.iter().map(|node| node.listen).collect();
        udp.sort();
        udp.dedup();
        assert_eq!(udp.len(), 5, "every node has a port of its own");
    }

    #[test]
    fn a_layout_with_a_name_twice_or_an_unknown_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut layout = Layout::load_or_plan(dir.path()).unwrap();
        layout.node[1].name = layout.node[0].name.clone();
        std::fs::write(dir.path().join(FILE), toml::to_string(&layout).unwrap()).unwrap();
        assert!(Layout::load(dir.path()).is_err());
        std::fs::write(dir.path().join(FILE), "cluster = \"x\"\nnodes = []\n").unwrap();
        assert!(Layout::load(dir.path()).is_err());
    }
}
