//! What the ledger of a node consists of. A resource of the node.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use covenant_book::Projects;
use covenant_consensus::{Consensus, ConsensusConfig, Folder, Groups, Sender, Status, View};
use covenant_env::Env;
use covenant_ledger_state::{Ledger, LedgerConfig as BookConfig, OpenError, Reader};
use covenant_types::{NodeId, NodeName, Role};
use tokio::sync::Mutex;

use crate::BackupHead;
use crate::member::Member;
use crate::offline::Outbox;
use crate::places::Places;
use crate::public_log::LogKeys;
use crate::{LedgerError, Nations};

/// What the group is called.
pub(crate) const GROUP: &str = "ledger";
/// Says, in the folder of the ledger, that this node may begin a ledger: it is there from `covenant init` until it did.
const MAY_BEGIN: &str = "may-begin";
/// The folder of the group's log.
pub(crate) const LOG: &str = "log";
/// The pause between two looks whether somebody has let go.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long this node may take to come up with what the group had when a backup was asked for.
const BACKUP_WITHIN: Duration = Duration::from_secs(5);
/// Troubles that are told of at a time.
const TROUBLES_MAX: usize = 32;
/// How long a member may take to stop in order.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// The ledger on this node.
pub struct LedgerConfig {
    /// This node.
    pub(crate) me: Sender,
    pub(crate) name: NodeName,
    /// What the cluster is called, by which its public logs are named.
    pub(crate) cluster: String,
    folder: PathBuf,
    pub(crate) groups: Groups,
    pub(crate) places: Arc<dyn Places>,
    pub(crate) nations: Arc<Nations>,
    pub(crate) projects: Arc<Projects>,
    /// The member of the group that this node is. An incarnation of its actor may end while it has a write under way, and its
    /// files cannot be opened twice: the next one finds it here.
    member: Mutex<Option<Open>>,
    /// What is wrong with public logs, and with which.
    troubles: parking_lot::Mutex<BTreeMap<String, String>>,
    /// The public halves of the keys of this node's log, once it has one.
    keys: parking_lot::Mutex<Option<LogKeys>>,
    /// What the device of this tower signed. A write may be under way when an incarnation ends: the next one waits for it here.
    pub(crate) outbox: Arc<Mutex<Option<Outbox>>>,
}

/// A backup that is about to be written.
pub struct Backup {
    /// What it says of itself. The cluster is for whoever asks to fill in.
    pub head: BackupHead,
    /// Writes the state.
    pub view: View,
}

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Backup").field(&self.head).finish()
    }
}

/// What is open.
#[derive(Clone)]
struct Open {
    member: Arc<Consensus<Member>>,
    /// Closes with its last handle.
    book: Ledger,
}

/// The file that lets a node begin a ledger.
pub(crate) fn may_begin_file(folder: &Path) -> PathBuf {
    folder.join(MAY_BEGIN)
}

impl fmt::Debug for LedgerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerConfig").field("me", &self.me).field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl LedgerConfig {
    /// Of the node `me`, which is called `name` and keeps its files in `folder`. It reaches others by `groups` and knows them
    /// by `places`.
    pub fn new(me: Sender, name: NodeName, folder: PathBuf, groups: Groups, places: Arc<dyn Places>) -> Self {
        Self {
            me,
            name,
            cluster: "covenant".to_owned(),
            folder,
            groups,
            places,
            nations: Arc::new(Nations::embedded().clone()),
            projects: Arc::new(Projects::embedded().clone()),
            member: Mutex::new(None),
            troubles: parking_lot::Mutex::default(),
            keys: parking_lot::Mutex::default(),
            outbox: Arc::default(),
        }
    }

    /// In the cluster of this name.
    #[must_use]
    pub fn in_cluster(self, cluster: String) -> Self {
        Self { cluster, ..self }
    }

    /// What is wrong with the public logs of the ledger, as this node sees it: with which, and what.
    pub fn troubles(&self) -> Vec<(String, String)> {
        self.troubles.lock().clone().into_iter().collect()
    }

    /// With another table of nations than the one built in. Years that were assessed by another table stay as they are.
    #[must_use]
    pub fn with_nations(self, nations: Nations) -> Self {
        Self { nations: Arc::new(nations), ..self }
    }

    /// Lets the node whose ledger will be in `folder` begin one: the first of a cluster. A node whose disk was lost may not, since
    /// the others have the ledger.
    ///
    /// # Errors
    /// The disk refused.
    pub fn let_begin(folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        covenant_store::write_atomic(&may_begin_file(folder), b"", 0o600)
    }

    /// What this node knows of the group, where it is a member that runs.
    pub fn status(&self) -> Option<Status> {
        Some(self.member.try_lock().ok()?.as_ref()?.member.status())
    }

    /// Whether this node's role permits it to keep the book.
    pub(crate) fn may_vote(&self) -> bool {
        self.me.may_vote()
    }

    /// The member of the group on this node, opened where it is not. Blocks on the disk in the blocking pool.
    pub(crate) async fn open(&self, env: &Env) -> Result<Arc<Consensus<Member>>, LedgerError> {
        let mut slot = self.member.lock().await;
        if let Some(open) = slot.as_ref() {
            return Ok(open.member.clone());
        }
        let folder = self.folder.clone();
        // A member that was stopped a moment ago may still let go of its files: its tasks end one after the other.
        let until = env.now().after(STOP_WITHIN);
        let book = loop {
            let folder = folder.join("book");
            let opened = env.blocking(move || Ledger::open(&folder, BookConfig::default()));
            match opened.await.map_err(LedgerError::failed)? {
                Ok(book) => break book,
                Err(OpenError::InUse(_)) if env.now() < until => tokio::time::sleep(LOOK_AGAIN).await,
                Err(error) => return Err(LedgerError::failed(error)),
            }
        };
        let disk = env.blocking(move || Folder::open(&folder.join(LOG)));
        let disk = disk.await.map_err(LedgerError::failed)?.map_err(LedgerError::failed)?;
        let mut config = ConsensusConfig::new(GROUP);
        config.askers = vec![Role::Hub, Role::Voter, Role::Tower];
        config.first_voters = self.candidates();
        let network = self.groups.network(GROUP);
        let writing = book.clone();
        let make_state = move || writing.state().map(Member::new);
        let member = Consensus::start(config, self.me.node, env.clone(), Arc::new(disk), network, make_state).await;
        let member = Arc::new(member.map_err(LedgerError::failed)?);
        self.groups.serve(GROUP, &member);
        *slot = Some(Open { member: member.clone(), book });
        Ok(member)
    }

    /// Stops the member in order.
    pub(crate) async fn close(&self) {
        let Some(Open { member, .. }) = self.member.lock().await.take() else { return };
        self.groups.end(GROUP);
        let in_order = async {
            let mut held = member;
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

    /// What a backup of this node's book says of itself, and the book; it has at least what the group had at the entry
    /// `at_least`. `None` where it does not come to that in time.
    pub(crate) async fn backup(&self, at_least: u64, env: &Env) -> Result<Option<Backup>, LedgerError> {
        let member = self.member.lock().await.as_ref().map(|open| open.member.clone());
        let Some(member) = member else { return Ok(None) };
        let until = env.now().after(BACKUP_WITHIN);
        while member.status().applied.unwrap_or(0) < at_least {
            if env.now() >= until {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let seen = env.blocking(move || member.read_stale(Member::backup)).await.map_err(LedgerError::failed)?;
        let (head, state_hash, view) = seen.map_err(LedgerError::failed)?;
        let head = BackupHead {
            cluster: String::new(),
            node: self.name.clone(),
            taken: env.wall(),
            position: head.position,
            transfers: head.transfers,
            state: blake3::Hash::from_bytes(state_hash).to_hex().to_string(),
        };
        Ok(Some(Backup { head, view }))
    }

    /// A reader of the book and those who vote on it; `None` while it is not open. It keeps the book open: let go of it soon.
    pub(crate) async fn reading(&self) -> Option<(Reader, BTreeSet<NodeId>)> {
        let slot = self.member.lock().await;
        slot.as_ref().map(|open| (open.book.reader(), open.member.status().voters))
    }

    pub(crate) fn own_keys(&self) -> Option<LogKeys> {
        self.keys.lock().clone()
    }

    pub(crate) fn has_keys(&self, keys: LogKeys) {
        *self.keys.lock() = Some(keys);
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Tells of something that is wrong, until it [`is_well`](Self::is_well).
    pub(crate) fn is_troubled(&self, subject: String, what: String) {
        let mut troubles = self.troubles.lock();
        if troubles.len() < TROUBLES_MAX && troubles.get(&subject) != Some(&what) {
            tracing::warn!(subject, what, "trouble with a public log of the ledger");
            troubles.insert(subject, what);
        }
    }

    pub(crate) fn is_well(&self, subject: &str) {
        self.troubles.lock().remove(subject);
    }

    /// Where the outbox of a tower is kept.
    pub(crate) fn outbox_path(&self) -> PathBuf {
        self.folder.join("outbox")
    }

    /// Whether this node may begin the ledger, and has not yet.
    pub(crate) fn may_begin(&self) -> bool {
        may_begin_file(&self.folder).exists()
    }

    /// It has.
    pub(crate) fn has_begun(&self) -> std::io::Result<()> {
        std::fs::remove_file(may_begin_file(&self.folder))
    }

    /// The nodes that may keep the book, as far as is known here.
    pub(crate) fn candidates(&self) -> BTreeSet<NodeId> {
        self.places.places().into_iter().map(|place| place.node).collect()
    }
}
