//! One member of the groups that are measured, in a process of its own: a node with its runtimes, endpoint and folder.
//!
//! It is told everything on its standard input, a line each, answers each with a line, and ends with its input.

use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use covenant_consensus::{Consensus, ConsensusConfig, Folder, Groups, Replicated, WriteError};
use covenant_identity::{NodeKey, certificates_from_pem};
use covenant_ledger_state::{Ledger, LedgerConfig, LedgerState};
use covenant_transport::{NodeCredentials, Profile, TransportConfig};
use covenant_types::{BootEpoch, NodeId, NodeName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{BOOK, MEMBERS, NOTES, PATIENCE, record};
use crate::Failure;
use crate::consensus::{Notes, groups};
use crate::nodes::{Host, start_node, until_reachable};

/// The pause between two tries to write while nobody leads.
const TRY_EVERY: Duration = Duration::from_millis(5);

/// What a member is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// First: who it is, and where others are. It says its address.
    Node {
        number: u64,
        cluster: String,
        key: String,
        chain: String,
        root: String,
        seeds: Vec<SocketAddr>,
        folder: PathBuf,
    },
    /// Second: who votes. It says so when it serves.
    Serve { me: NodeId, voters: BTreeSet<NodeId> },
    /// Begin the groups.
    Form { voters: BTreeSet<NodeId> },
    /// Say which groups it leads.
    Leads,
    /// Write to the notes until that works, or another one leads than the dead one; say which.
    Write { dead: NodeId },
}

struct Voter {
    host: Host,
    cluster: Arc<covenant_cluster::Cluster>,
    groups: Groups,
    folder: PathBuf,
    members: Option<Members>,
}

/// Its part in each group.
type Members = (Arc<Consensus<Notes>>, Arc<Consensus<LedgerState>>);

/// Runs a member until its input ends.
pub(crate) fn run() -> Result<(), Failure> {
    let (mut voter, mut out) = (None, std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let said = match serde_json::from_str(&line?)? {
            Told::Node { number, cluster, key, chain, root, seeds, folder } => {
                let host = Host::new(number)?;
                let key = Arc::new(NodeKey::from_pem(&key)?);
                let roots = certificates_from_pem(&root)?;
                let identity = NodeCredentials::new(key, certificates_from_pem(&chain)?, roots)?;
                let config = TransportConfig {
                    listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                    advertise: None,
                    identity: Arc::new(identity),
                    cluster,
                    name: NodeName::new(&format!("hub-{number}"))?,
                    epoch: BootEpoch(1),
                    profile: Profile::Loopback,
                };
                let cluster = start_node(&config, &host, seeds)?;
                let address = cluster.transport().ok_or("the node has left")?.local_addr();
                let groups = groups(&host, &cluster);
                voter = Some(Voter { host, cluster, groups, folder, members: None });
                json!(address)
            }
            told @ (Told::Serve { .. } | Told::Form { .. } | Told::Leads | Told::Write { .. }) => {
                voter.as_mut().ok_or("a member has to know who it is first")?.obey(told)?
            }
        };
        writeln!(out, "{said}")?;
        out.flush()?;
    }
    Ok(())
}

impl Voter {
    fn obey(&mut self, told: Told) -> Result<Value, Failure> {
        match told {
            Told::Node { .. } => Err("it is somebody already".into()),
            Told::Serve { me, voters } => {
                until_reachable(&self.host, &self.cluster, MEMBERS + 1)?;
                let notes = self.member(NOTES, me, &voters, || Ok(Notes::default()))?;
                let ledger = Ledger::open(&self.folder.join("book-state"), LedgerConfig::default())?;
                let book = self.member(BOOK, me, &voters, move || ledger.state().map_err(std::io::Error::other))?;
                self.members = Some((notes, book));
                Ok(json!(true))
            }
            Told::Form { voters } => {
                let (notes, book) = self.members()?;
                self.host.on_work(async move {
                    notes.form(&voters).await?;
                    book.form(&voters).await?;
                    Ok(())
                })?;
                Ok(json!(true))
            }
            Told::Leads => {
                let (notes, book) = self.members()?;
                Ok(json!([notes.status().leads, book.status().leads]))
            }
            Told::Write { dead } => {
                let (notes, _) = self.members()?;
                let wrote = self.host.on_work(async move {
                    let wrote = async {
                        let mut number = u128::MAX;
                        loop {
                            match notes.write(number, record(1, 1)).await {
                                Ok(_) => return true,
                                Err(WriteError::NotLeader { leader: Some(other) }) if other != dead => return false,
                                Err(_) => number -= 1,
                            }
                            tokio::time::sleep(TRY_EVERY).await;
                        }
                    };
                    Ok(tokio::time::timeout(PATIENCE, wrote).await.map_err(|_| "no write was taken")?)
                })?;
                Ok(json!(wrote))
            }
        }
    }

    fn members(&self) -> Result<Members, Failure> {
        Ok(self.members.clone().ok_or("it is no member yet")?)
    }

    fn member<R: Replicated>(
        &self,
        group: &str,
        me: NodeId,
        voters: &BTreeSet<NodeId>,
        open: impl Fn() -> std::io::Result<R> + Send + Sync + 'static,
    ) -> Result<Arc<Consensus<R>>, Failure> {
        let disk = Arc::new(Folder::open(&self.folder.join(group))?);
        let config = ConsensusConfig { first_voters: voters.clone(), ..ConsensusConfig::new(group) };
        let (env, network) = (self.host.env.clone(), self.groups.network(group));
        let member = self
            .host
            .on_work(async move { Ok(Arc::new(Consensus::start(config, me, env, disk, network, open).await?)) })?;
        self.groups.serve(group, &member);
        Ok(member)
    }
}
