//! `peers.json`: where the other members were last seen, so that a node finds its cluster again when its seeds are gone.
//!
//! The first node of a cluster has no seeds at all; after a restart this file is how it finds the others, at once.
//! Addresses are hints: whoever answers there must prove who it is.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use covenant_cluster::{MemberState, MemberView};
use covenant_env::Env;
use covenant_store::write_atomic;

/// Addresses that are remembered.
const PEERS_MAX: usize = 64;
/// The longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Remembers where members are.
pub(crate) struct KnownPeers {
    path: PathBuf,
    written: BTreeSet<SocketAddr>,
}

impl KnownPeers {
    /// Reads what the last boot knew. A missing or damaged file means that nothing is known: the seeds remain.
    pub(crate) fn open(data: &Path) -> Self {
        let path = data.join("peers.json");
        let short = std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() <= FILE_BYTES_MAX);
        let text = if short { std::fs::read(&path).ok() } else { None };
        let read: Option<BTreeSet<SocketAddr>> = text.and_then(|text| {
            let parsed = serde_json::from_slice(&text);
            parsed.inspect_err(|error| tracing::warn!(%error, "peers.json is damaged; it is not used")).ok()
        });
        Self { path, written: read.unwrap_or_default().into_iter().take(PEERS_MAX).collect() }
    }

    /// The addresses to dial beside the seeds.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.written.iter().copied()
    }

    /// Writes down where the reachable members are, if that changed. Knowing nobody changes nothing.
    pub(crate) async fn remember(&mut self, members: &[MemberView], me: SocketAddr, env: &Env) {
        let reachable = members.iter().filter(|member| member.state == MemberState::Reachable && member.address != me);
        let now: BTreeSet<SocketAddr> = reachable.map(|member| member.address).take(PEERS_MAX).collect();
        if now.is_empty() || now == self.written {
            return;
        }
        let Ok(text) = serde_json::to_vec(&now) else { return };
        let path = self.path.clone();
        match env.blocking(move || write_atomic(&path, &text, 0o600)).await.and_then(|written| written) {
            Ok(()) => self.written = now,
            Err(error) => tracing::warn!(%error, "peers.json cannot be written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use covenant_types::{BootEpoch, NodeId, NodeName, Region, Role};

    fn member(port: u16, state: MemberState) -> MemberView {
        MemberView {
            id: NodeId([0; 16]),
            name: NodeName::new("n").unwrap(),
            role: Role::Hub,
            region: Region::Asia,
            epoch: BootEpoch(1),
            state,
            phase: covenant_cluster::Phase::Active,
            tier: covenant_types::LinkTier::Lan,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            version: String::new(),
            certificate_issuer: NodeId([0; 16]),
            certificate_begins: covenant_types::WallTime(0),
            certificate_ends: covenant_types::WallTime(0),
            trust: covenant_identity::TrustMark::default(),
            rtt_ms: None,
            loss_permille: None,
            schema_differs: Vec::new(),
        }
    }

    #[tokio::test]
    async fn reachable_members_are_remembered_and_a_lonely_moment_forgets_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let env = Env::for_test(1);
        let me = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut known = KnownPeers::open(dir.path());
        let members =
            [member(1, MemberState::Reachable), member(2, MemberState::Reachable), member(3, MemberState::Down)];
        known.remember(&members, me, &env).await;
        known.remember(&members[..1], me, &env).await;
        let ports: Vec<u16> = KnownPeers::open(dir.path()).addresses().map(|address| address.port()).collect();
        assert_eq!(ports, [2]);
    }

    #[test]
    fn a_damaged_file_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("peers.json"), "[\"nowhere\"]").unwrap();
        assert_eq!(KnownPeers::open(dir.path()).addresses().count(), 0);
    }
}
