//! A leader whose disk is behind its followers': nobody hears of what it could not keep.

use std::sync::Arc;
use std::time::Duration;

use covenant_env::Env;
use covenant_types::NodeId;
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use parking_lot::{Mutex, RwLock};

use super::cluster::{Cluster, nodes};
use super::storage::{add, blank};
use super::{SimDisk, Tally};
use crate::consensus::WriteError;
use crate::log_store::LogStore;
use crate::message::{Envelope, Lane, Request, Response};
use crate::network::{Call, Network, Way, Ways};
use crate::state_store::StateStore;
use crate::types::{Entry, Instance, LogId, Member, Vote, VoterId};

async fn open(disk: &SimDisk) -> LogStore {
    LogStore::open(Arc::new(disk.clone()), &Env::for_test(1), VoterId::from(1)).await.unwrap()
}

#[tokio::test]
async fn a_leader_is_told_before_its_disk_and_applies_and_tells_nothing_before_it() {
    let disk = SimDisk::default();
    let mut log = open(&disk).await;
    log.save_vote(&Vote::new_committed(1, VoterId::from(1))).await.unwrap();
    let durable = log.durable();
    let state = Arc::<RwLock<Tally>>::default();
    let states = StateStore::open(Arc::new(SimDisk::default()), &Env::for_test(1), state.clone()).await.unwrap();
    let mut states = states.behind(durable.clone());
    assert_eq!(durable.clip(Some(blank(0).log_id)), None, "nothing is on disk");
    log.blocking_append([add(0, 5)]).await.unwrap();
    states.apply([add(0, 5)]).await.unwrap();
    assert_eq!(durable.clip(Some(blank(0).log_id)), Some(blank(0).log_id), "what is applied is on disk");

    disk.cut_after(0);
    log.blocking_append([add(1, 6)]).await.unwrap();
    assert_eq!(durable.clip(Some(blank(1).log_id)), Some(blank(0).log_id));
    assert!(states.apply([add(1, 6)]).await.unwrap_err().to_string().contains("not on disk"));
    assert_eq!(state.read().sum, 5);
    assert!(log.save_vote(&Vote::new(2, VoterId::from(2))).await.is_err(), "nothing is promised after that");
}

/// Takes what is sent, and says that it was taken.
#[derive(Debug, Default)]
struct Sent(Mutex<Vec<Vec<u8>>>);

impl Network for Sent {
    fn call(&self, _to: NodeId, _lane: Lane, request: Vec<u8>) -> Call<'_> {
        self.0.lock().push(request);
        Box::pin(async { Ok(Response::Append(AppendEntriesResponse::Success).encode()) })
    }
}

impl Sent {
    /// What followers were told is committed, and that again once it was looked at.
    fn commits(&self) -> Vec<Option<LogId>> {
        let commit = |bytes: Vec<u8>| {
            let Request::Append(request) = Envelope::decode(&bytes).unwrap().request else { panic!("it appends") };
            request.leader_commit
        };
        self.0.lock().drain(..).map(commit).collect()
    }
}

/// A way to a follower, of a leader whose disk has one entry of two.
async fn way_of_a_leader() -> (Arc<Sent>, Way) {
    let disk = SimDisk::default();
    let mut log = open(&disk).await;
    log.save_vote(&Vote::new_committed(1, VoterId::from(1))).await.unwrap();
    log.blocking_append([add(0, 5)]).await.unwrap();
    log.durable().reached(0).await.unwrap();
    disk.cut_after(0);
    log.blocking_append([add(1, 6)]).await.unwrap();
    let (sent, durable) = (Arc::<Sent>::default(), log.durable());
    let (network, env, pause) = (sent.clone(), Env::for_test(1), Duration::from_secs(1));
    let mut ways = Ways { network, env, instance: Instance(1), pause, durable };
    let way = ways.new_client(VoterId::from(2), &Member { instance: Instance(2) }).await;
    (sent, way)
}

async fn send(way: &mut Way, prev_log_id: Option<LogId>, entries: Vec<Entry>) {
    let (vote, leader_commit) = (Vote::new_committed(1, VoterId::from(1)), Some(blank(1).log_id));
    let request = AppendEntriesRequest { vote, prev_log_id, entries, leader_commit };
    let answer = way.append_entries(request, RPCOption::new(Duration::from_secs(1))).await;
    assert_eq!(answer.unwrap(), AppendEntriesResponse::Success);
}

#[tokio::test]
async fn followers_are_not_told_that_what_the_leader_has_not_on_disk_is_committed() {
    let (sent, mut way) = way_of_a_leader().await;
    send(&mut way, None, vec![add(0, 5), add(1, 6)]).await;
    send(&mut way, Some(blank(1).log_id), Vec::new()).await;
    assert_eq!(sent.commits(), [Some(blank(0).log_id); 2], "with entries, and in a heartbeat");
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_goes_with_entries_that_wait_and_by_itself_where_none_do() {
    let (sent, mut way) = way_of_a_leader().await;
    send(&mut way, None, Vec::new()).await;
    assert_eq!(sent.commits().len(), 1, "nobody has answered yet");
    send(&mut way, None, vec![add(0, 5)]).await;
    send(&mut way, Some(blank(0).log_id), Vec::new()).await;
    assert_eq!(sent.commits().len(), 1, "the second entry will tell it");
    send(&mut way, Some(blank(1).log_id), Vec::new()).await;
    assert_eq!(sent.commits().len(), 1, "none will");
    tokio::time::sleep(Duration::from_millis(20)).await;
    send(&mut way, Some(blank(0).log_id), Vec::new()).await;
    assert_eq!(sent.commits().len(), 1, "it is asked whether it still follows");
}

#[tokio::test]
async fn who_follows_is_told_after_its_disk_also_of_what_it_wrote_as_a_leader() {
    let disk = SimDisk::default();
    let mut log = open(&disk).await;
    log.save_vote(&Vote::new_committed(1, VoterId::from(1))).await.unwrap();
    log.blocking_append([add(0, 5)]).await.unwrap();
    // Whatever came before a vote is on disk with it.
    log.save_vote(&Vote::new_committed(2, VoterId::from(2))).await.unwrap();
    log.durable().reached(0).await.unwrap();
    log.truncate(blank(0).log_id).await.unwrap();
    disk.cut_after(0);
    assert!(log.blocking_append([add(0, 5)]).await.is_err());
}

#[tokio::test]
async fn a_leader_that_starts_again_has_to_be_elected_again() {
    let disk = SimDisk::default();
    let mut log = open(&disk).await;
    let won = Vote::new_committed(3, VoterId::from(1));
    log.save_vote(&won).await.unwrap();
    assert!(!log.led());
    drop(log);
    let mut log = open(&disk).await;
    assert!(log.led());
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(3, VoterId::from(1))));
    drop(log);
    let other = LogStore::open(Arc::new(disk), &Env::for_test(1), VoterId::from(2)).await;
    assert_eq!(other.unwrap().read_vote().await.unwrap(), Some(won), "who follows it believes that it leads");
}

#[tokio::test]
async fn what_is_committed_is_not_written_before_the_entries() {
    let disk = SimDisk::default();
    let mut log = open(&disk).await;
    log.save_vote(&Vote::new_committed(1, VoterId::from(1))).await.unwrap();
    log.save_committed(Some(blank(1).log_id)).await.unwrap();
    log.blocking_append([add(0, 5)]).await.unwrap();
    log.durable().reached(0).await.unwrap();
    let disk = disk.after_cut(1);
    let mut log = open(&disk).await;
    assert_eq!(log.read_committed().await.unwrap(), None);

    log.save_committed(Some(blank(1).log_id)).await.unwrap();
    log.blocking_append([add(1, 5)]).await.unwrap();
    assert_eq!(open(&disk.after_cut(1)).await.read_committed().await.unwrap(), Some(blank(1).log_id));
}

/// The one thing that a leader must not do with entries that only others have on disk is to use their ids twice.
#[tokio::test(start_paused = true)]
async fn a_leader_that_crashes_before_its_sync_forgets_what_a_follower_has_and_nobody_was_told() {
    for seed in 31..41 {
        let mut cluster = Cluster::of(&[1, 2, 3], seed).await;
        cluster.write(1).await;
        cluster.agreed().await;
        let leader = cluster.leader().await;
        let others: Vec<_> = cluster.alive().into_iter().filter(|node| *node != leader).collect();
        let (has, lacks) = (others[0], others[1]);
        cluster.cut_off(&[lacks]);
        let before = cluster.statuses()[&has].last;
        cluster.disk(leader).cut_after(0);
        let told = cluster.member(leader).write(2, b"1".to_vec()).await;
        assert_eq!(told, Err(WriteError::Unknown), "seed {seed}");
        cluster.until("the follower has it", |cluster| cluster.statuses()[&has].last > before).await;
        assert_eq!(cluster.member(leader).read_stale(|tally| tally.sum), 1);
        assert_eq!(cluster.member(has).read_stale(|tally| tally.sum), 1, "it was never told that it is committed");

        cluster.kill(leader);
        cluster.cut_off(&[has]);
        cluster.start(leader).await;
        // Other commands, where the one that was lost stood.
        for id in 3..=5 {
            cluster.write(id).await;
        }
        cluster.cut_off(&[]);
        let agreed = cluster.agreed().await;
        assert_eq!(agreed.answers.keys().copied().collect::<Vec<_>>(), [1, 3, 4, 5], "seed {seed}");
        assert!(cluster.statuses().values().all(|status| status.voters == nodes(&[1, 2, 3])));
    }
}

#[tokio::test(start_paused = true)]
async fn who_led_alone_leads_again_at_once() {
    let mut cluster = Cluster::of(&[1], 41).await;
    cluster.write(1).await;
    let alone = cluster.leader().await;
    cluster.kill(alone);
    let clock = Env::for_test(0);
    cluster.start(alone).await;
    assert_eq!(cluster.write(2).await, 2);
    assert!(clock.now().0 < Duration::from_millis(500), "not {:?}", clock.now());
}
