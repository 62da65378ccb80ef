//! What placement on a node consists of. A resource of the node.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use covenant_consensus::{Consensus, ConsensusConfig, Folder, Groups, Sender, Status};
use covenant_env::Env;
use covenant_runtime::StartError;
use covenant_types::{BootEpoch, NodeId, Role};
use tokio::sync::Mutex;

use crate::command::Voters;
use crate::member::Member;

/// What the group is called.
pub(crate) const GROUP: &str = "placement";
/// Says that this node may begin the group: it is there from `covenant init` until it did.
const MAY_BEGIN: &str = "may-begin";
/// The pause between two looks whether somebody has let go.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long the files of a member that was stopped a moment ago are waited for.
const FREE_WITHIN: Duration = Duration::from_secs(2);
/// How long a member may take to stop in order: within what its tree gives it.
const STOP_WITHIN: Duration = Duration::from_millis(800);

/// What placement must know of the rest of the cluster.
pub trait Surroundings: Send + Sync + 'static {
    /// The nodes whose roles permit them a vote, and whether each is reachable now.
    fn candidates(&self) -> BTreeMap<NodeId, bool>;

    /// Who votes in the ledger, where this node leads it and that is settled. The same nodes vote on placement.
    fn ledger_voters(&self) -> Option<Voters>;
}

/// Placement on this node.
pub struct PlacementConfig {
    /// This node.
    pub(crate) me: Sender,
    /// In this boot.
    pub(crate) boot: BootEpoch,
    folder: PathBuf,
    pub(crate) groups: Groups,
    pub(crate) surroundings: Arc<dyn Surroundings>,
    /// The member of the group that this node is. It outlives the incarnations of its actor: its files cannot be opened twice.
    member: Mutex<Option<Arc<Consensus<Member>>>>,
}

impl fmt::Debug for PlacementConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlacementConfig").field("me", &self.me).field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl PlacementConfig {
    /// Of the node `me` in this boot, which keeps its files in `folder` and reaches others by `groups`.
    pub fn new(
        me: Sender,
        boot: BootEpoch,
        folder: PathBuf,
        groups: Groups,
        surroundings: Arc<dyn Surroundings>,
    ) -> Self {
        Self { me, boot, folder, groups, surroundings, member: Mutex::new(None) }
    }

    /// Lets the node whose files will be in `folder` begin the group: the first of a cluster.
    ///
    /// # Errors
    /// The disk refused.
    pub fn let_begin(folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        covenant_store::write_atomic(&folder.join(MAY_BEGIN), b"", 0o600)
    }

    /// The member of the group on this node, opened where it is not. Blocks on the disk in the blocking pool.
    pub(crate) async fn open(&self, env: &Env) -> Result<Arc<Consensus<Member>>, StartError> {
        let mut slot = self.member.lock().await;
        if let Some(member) = slot.as_ref() {
            return Ok(member.clone());
        }
        // A member that was stopped a moment ago may still let go of its files: its tasks end one after the other.
        let until = env.now().after(FREE_WITHIN);
        let disk = loop {
            let folder = self.folder.join("log");
            let opened = env.blocking(move || Folder::open(&folder)).await.map_err(StartError::failed)?;
            match opened {
                Ok(disk) => break disk,
                Err(_) if env.now() < until => tokio::time::sleep(LOOK_AGAIN).await,
                Err(error) => return Err(StartError::failed(error)),
            }
        };
        let mut config = ConsensusConfig::new(GROUP);
        config.askers = vec![Role::Hub, Role::Voter, Role::Tower];
        config.first_voters = self.candidates();
        let (network, env) = (self.groups.network(GROUP), env.clone());
        let made = || Ok(Member::default());
        let member = Consensus::start(config, self.me.node, env, Arc::new(disk), network, made).await;
        let member = Arc::new(member.map_err(StartError::failed)?);
        self.groups.serve(GROUP, &member);
        *slot = Some(member.clone());
        Ok(member)
    }

    /// Stops the member in order.
    pub(crate) async fn close(&self) {
        let Some(mut held) = self.member.lock().await.take() else { return };
        self.groups.end(GROUP);
        let in_order = async {
            // Whoever else holds it answers a request, and is about to end.
            let member = loop {
                match Arc::try_unwrap(held) {
                    Ok(member) => break member,
                    Err(still) => held = still,
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            };
            member.shutdown().await;
        };
        // Past this it stops as in a crash, which loses nothing.
        let _late = tokio::time::timeout(STOP_WITHIN, in_order).await;
    }

    /// What this node knows of the group, where it is a member that runs.
    pub fn status(&self) -> Option<Status> {
        Some(self.member.try_lock().ok()?.as_ref()?.status())
    }

    /// Whether this node may begin the group, and has not yet.
    pub(crate) fn may_begin(&self) -> bool {
        self.folder.join(MAY_BEGIN).exists()
    }

    /// It has.
    pub(crate) fn has_begun(&self) -> std::io::Result<()> {
        std::fs::remove_file(self.folder.join(MAY_BEGIN))
    }

    /// The nodes that may vote, as far as is known here.
    pub(crate) fn candidates(&self) -> BTreeSet<NodeId> {
        self.surroundings.candidates().into_keys().collect()
    }
}
