//! A group that begins with a state that it has already: what a restored backup needs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;

use covenant_env::Env;
use covenant_types::{NodeId, WallTime};
use openraft::LeaderId;
use tokio::sync::oneshot;

use crate::disk::Disk;
use crate::folder::{self, FolderError};
use crate::log::{Log, LogError, Record};
use crate::snapshot::{self, Meta};
use crate::types::{LogId, Member, Membership, StoredMembership, Vote, VoterId};

/// The term in which a founded group has its state: as if its only voter had led and written it.
const TERM: u64 = 1;
/// The entry that the state stands for. The log goes on behind it, so that whoever is added later gets the state.
const INDEX: u64 = 1;

/// Makes `disk`, an empty folder, that of the only member `me` of a new group `group`, with the state that `state` writes, up to
/// a command of the time `at`. The group is begun by [`Consensus::start`](crate::Consensus::start), which restores the state,
/// and further voters are added as to any.
///
/// # Errors
/// See [`FoundError`]. What was written of it may be deleted.
///
/// # Cancel safety
/// None: a folder that was begun is no folder of a member.
pub async fn found(
    disk: Arc<dyn Disk>,
    env: &Env,
    group: &str,
    me: NodeId,
    at: WallTime,
    state: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> Result<(), FoundError> {
    let (folder, world, name) = (disk.clone(), env.clone(), group.to_owned());
    let made = env.blocking(move || {
        if !folder.list()?.is_empty() {
            return Err(FoundError::NotEmpty);
        }
        let instance = folder::open(&*folder, &world, &name, me)?;
        let last = LogId::new(LeaderId::new(TERM, me.into()), INDEX);
        let voter = VoterId::from(me);
        let members = BTreeMap::from([(voter, Member { instance })]);
        let membership = Membership::new(vec![BTreeSet::from([voter])], members);
        let meta = Meta {
            last_log_id: Some(last),
            last_membership: StoredMembership::new(Some(last), membership),
            snapshot_id: "founded".to_owned(),
        };
        snapshot::make(&*folder, &meta, at, state)?.put_in_force(&*folder)?;
        Ok(last)
    });
    let last = made.await??;
    let log = Log::open(disk, env).await?;
    let (done, on_disk) = oneshot::channel();
    let done = Box::new(move |outcome| {
        // Whoever waited for it is gone.
        let _gone = done.send(outcome);
    });
    let records = vec![Record::Vote(Vote::new(TERM, me.into())), Record::Purge(last)];
    log.submit(records, Some(done)).await?;
    Ok(on_disk.await.map_err(io::Error::other).flatten()?)
}

/// Why a group was not begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoundError {
    /// There is something in the folder. Nothing was changed.
    #[error("the folder of the group is not empty; nothing was changed")]
    NotEmpty,
    /// The folder could not be marked.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The log could not be begun.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The disk refused, or the state could not be written.
    #[error("the group could not be begun: {0}")]
    Io(#[from] io::Error),
}
