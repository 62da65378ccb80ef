//! What nodes of a simulation are on disk: keys that follow from the seed, certificates, configurations, trees.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use base64::Engine;
use covenant_env::Random;
use covenant_identity::{NodeGrant, NodeKey, RootAuthority, certificates_to_pem, make_csr};
use covenant_node::{NodeConfig, Trees};
use covenant_store::write_atomic;
use covenant_types::{NodeName, Region, Role, WallTime};
use rand::Rng;

use super::network::address;
use super::worker;

/// The cluster's name.
const CLUSTER: &str = "sim";
/// PKCS#8 around the 32 bytes of an Ed25519 key.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The folders of all nodes, which go away with this.
pub(super) struct Disk {
    folder: tempfile::TempDir,
    pub(super) names: Arc<Vec<NodeName>>,
}

impl Disk {
    /// Makes so many nodes. They are kept in memory where the machine has a place for that.
    pub(super) fn make(nodes: usize, profile: &str, random: Random, now: WallTime) -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("covenant-sim-").tempdir_in(parent)?;
        let names = (0..nodes).map(|node| NodeName::new(&format!("n{node}"))).collect::<Result<Vec<_>, _>>()?;
        let disk = Self { folder, names: Arc::new(names) };
        disk.write_trees()?;
        let root = RootAuthority::create(CLUSTER, now)?;
        let issuing = root.issue_issuing(now)?;
        for node in 0..nodes {
            let key = key(&random, node)?;
            let grant = NodeGrant { name: disk.names[node].clone(), role: role(node, nodes), region: region(node) };
            let certificate = issuing.sign_node(&make_csr(&key), &grant, now)?;
            let data = disk.data(node);
            let identity = data.join("identity");
            std::fs::create_dir_all(&identity)?;
            write_atomic(&identity.join("node.key"), key.to_pem().as_bytes(), 0o600)?;
            let chain = certificates_to_pem(&issuing.chain_for(certificate));
            write_atomic(&identity.join("chain.pem"), chain.as_bytes(), 0o644)?;
            write_atomic(&data.join("node.toml"), config(&grant, node, nodes, profile).as_bytes(), 0o644)?;
        }
        Ok(disk)
    }

    /// The data directory of a node.
    pub(super) fn data(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("n{node}"))
    }

    /// The configuration of a node.
    pub(super) fn config(&self, node: usize) -> Result<NodeConfig> {
        let path = self.data(node).join("node.toml");
        NodeConfig::load(&path).with_context(|| path.display().to_string())
    }

    /// The trees of all roles: those that ship, and one more supervisor below each root.
    pub(super) fn trees(&self) -> Trees {
        Trees::folder(&self.folder.path().join("trees"))
    }

    fn write_trees(&self) -> Result<()> {
        let folder = self.folder.path().join("trees");
        std::fs::create_dir_all(&folder)?;
        for (name, text) in Trees::files_built_in() {
            let lab = if name.parse::<Role>().is_ok() { "\n[[child]]\nid = \"lab\"\ntree = \"lab\"\n" } else { "" };
            std::fs::write(folder.join(format!("{name}.toml")), format!("{text}{lab}"))?;
        }
        std::fs::write(folder.join("lab.toml"), worker::tree())?;
        Ok(())
    }
}

fn key(random: &Random, node: usize) -> Result<NodeKey> {
    let secret: [u8; 32] = random.derive(&format!("key {node}")).random();
    let der = base64::engine::general_purpose::STANDARD.encode([PKCS8_PREFIX.as_slice(), &secret].concat());
    Ok(NodeKey::from_pem(&format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n"))?)
}

/// Two hubs, towers, and where there is room a voter.
pub(super) fn role(node: usize, nodes: usize) -> Role {
    match node {
        0 | 1 => Role::Hub,
        last if last + 1 == nodes && nodes > 3 => Role::Voter,
        _ => Role::Tower,
    }
}

/// Where a node stands.
pub(super) fn region(node: usize) -> Region {
    [Region::Africa, Region::Asia, Region::Europe][node % 3]
}

fn config(grant: &NodeGrant, node: usize, nodes: usize, profile: &str) -> String {
    let NodeGrant { name, role, region } = grant;
    let seeds: Vec<String> =
        (0..nodes.min(2)).filter(|seed| *seed != node).map(|seed| format!("\"{}\"", address(seed))).collect();
    let mut text = String::new();
    let _infallible = write!(
        text,
        "[node]\nname = \"{name}\"\nrole = \"{role}\"\nregion = \"{region}\"\nlisten = \"{}\"\n\n\
         [cluster]\nname = \"{CLUSTER}\"\nseeds = [{}]\nbook_home = \"n0\"\nprofile = \"{profile}\"\n",
        address(node),
        seeds.join(", ")
    );
    text
}
