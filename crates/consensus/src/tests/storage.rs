//! The engine's own suite over our stores.

use std::sync::Arc;

use covenant_env::Env;
use covenant_types::WallTime;
use openraft::StorageIOError;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{AnyError, RaftSnapshotBuilder};
use parking_lot::RwLock;

use super::{SimDisk, Tally};
use crate::disk::Folder;
use crate::log_store::LogStore;
use crate::state_store::StateStore;
use crate::types::{Entry, LogId, StorageError, Types, VoterId};

/// Stores in a folder of the file system, so that the suite sees what a node has.
struct InAFolder;

impl StoreBuilder<Types, LogStore, StateStore<Tally>, tempfile::TempDir> for InAFolder {
    async fn build(&self) -> Result<(tempfile::TempDir, LogStore, StateStore<Tally>), StorageError> {
        let failed = |error: &dyn std::fmt::Display| StorageIOError::read(AnyError::error(error));
        let dir = tempfile::tempdir().map_err(|error| failed(&error))?;
        let disk = Arc::new(Folder::open(dir.path()).map_err(|error| failed(&error))?);
        let env = Env::for_test(1);
        let log = LogStore::open(disk.clone(), &env, VoterId::from(999)).await.map_err(|error| failed(&error))?;
        let state = StateStore::open(disk, &env, Arc::default()).await.map_err(|error| failed(&error))?;
        Ok((dir, log, state))
    }
}

#[test]
fn the_stores_pass_the_suite_of_the_engine() {
    Suite::test_all(InAFolder).unwrap();
}

pub(super) fn blank(index: u64) -> Entry {
    let log_id = LogId::new(openraft::LeaderId::new(1, VoterId::from(1)), index);
    Entry { log_id, payload: openraft::EntryPayload::Blank }
}

pub(super) fn add(index: u64, amount: i64) -> Entry {
    let command = crate::Command { id: u128::from(index), bytes: amount.to_string().into_bytes(), at: WallTime(index) };
    Entry {
        payload: openraft::EntryPayload::Normal(crate::Batch { at: command.at, commands: vec![command] }),
        ..blank(index)
    }
}

async fn state_on(disk: &SimDisk) -> Result<(Arc<RwLock<Tally>>, StateStore<Tally>), crate::SnapshotError> {
    let state = Arc::<RwLock<Tally>>::default();
    let store = StateStore::open(Arc::new(disk.clone()), &Env::for_test(1), state.clone()).await?;
    Ok((state, store))
}

#[tokio::test]
async fn a_power_cut_while_a_snapshot_is_made_leaves_the_one_before_or_the_new_one() {
    let mut cut = 0;
    loop {
        let disk = SimDisk::default();
        let (_, mut store) = state_on(&disk).await.unwrap();
        store.apply([add(0, 5), add(1, 6)]).await.unwrap();
        store.get_snapshot_builder().await.build_snapshot().await.unwrap();
        store.apply([add(2, 7)]).await.unwrap();
        let before = disk.operations();
        disk.cut_after(cut);
        let done = store.get_snapshot_builder().await.build_snapshot().await.is_ok();
        for seed in 0..20 {
            let (state, mut store) = state_on(&disk.after_cut(seed)).await.unwrap();
            let (applied, _) = store.applied_state().await.unwrap();
            let applied = applied.unwrap().index;
            assert!(applied == 2 || (applied == 1 && !done), "cut after {cut}: {applied}");
            assert_eq!(state.read().sum, if applied == 2 { 18 } else { 11 });
        }
        if done {
            assert!(cut > 3, "{} operations were tried", disk.operations() - before);
            return;
        }
        cut += 1;
    }
}

#[tokio::test]
async fn a_flipped_bit_in_a_snapshot_is_found_when_it_is_opened_or_installed() {
    let disk = SimDisk::default();
    let (_, mut store) = state_on(&disk).await.unwrap();
    store.apply([add(0, 5)]).await.unwrap();
    let snapshot = store.get_snapshot_builder().await.build_snapshot().await.unwrap();
    drop(store);
    for bit in 0..disk.bits("snapshot") {
        disk.flip("snapshot", bit);
        assert!(state_on(&disk).await.unwrap_err().to_string().contains("damaged"), "bit {bit}");
        let (state, mut other) = state_on(&SimDisk::default()).await.unwrap();
        assert!(other.install_snapshot(&snapshot.meta, snapshot.snapshot.clone()).await.is_err(), "bit {bit}");
        assert_eq!(*state.read(), Tally::default(), "nothing of it was taken");
        disk.flip("snapshot", bit);
    }
    assert_eq!(state_on(&disk).await.unwrap().0.read().sum, 5);
}

#[tokio::test]
async fn a_vote_and_what_is_committed_are_read_back() {
    let disk = Arc::new(SimDisk::default());
    let env = Env::for_test(1);
    let vote = openraft::Vote::new(7, VoterId::from(3));
    let mut store = LogStore::open(disk.clone(), &env, VoterId::from(1)).await.unwrap();
    assert!(store.is_new());
    store.blocking_append((0..=4).map(blank)).await.unwrap();
    store.save_committed(Some(blank(4).log_id)).await.unwrap();
    store.save_vote(&vote).await.unwrap();
    drop(store);
    let mut store = LogStore::open(disk, &env, VoterId::from(1)).await.unwrap();
    assert_eq!(store.read_vote().await.unwrap(), Some(vote));
    assert_eq!(store.read_committed().await.unwrap(), Some(blank(4).log_id), "it went with the vote");
}
