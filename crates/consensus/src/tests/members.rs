//! What a group promises, over three members and more.

use std::collections::BTreeMap;
use std::time::Duration;

use covenant_env::{Env, Random};
use futures_util::future::join_all;
use parking_lot::Mutex;
use rand::Rng;
use rand::seq::IndexedRandom;

use super::cluster::{Cluster, hub, node, nodes};
use crate::consensus::{
    ChangeError, DISK_RESERVE_BYTES, ROOM_BELIEVED_FOR, ReadError, StartError, WRITES_WAITING_MAX, WriteError,
};
use crate::disk::Disk;
use crate::message::Response;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(start_paused = true)]
async fn three_elect_a_leader_write_and_go_on_without_it() {
    let mut cluster = Cluster::of(&[1, 2, 3], 1).await;
    for id in 1..=20 {
        assert_eq!(cluster.write(id).await, i64::try_from(id).unwrap());
    }
    assert_eq!(cluster.write(7).await, 7, "an id that comes again is answered as before");
    let leader = cluster.leader().await;
    assert_eq!(cluster.member(leader).read_linearizable(|tally| tally.sum).await, Ok(20));
    let follower = *cluster.alive().iter().find(|node| **node != leader).unwrap();
    let told = cluster.member(follower).write(99, b"1".to_vec()).await;
    assert_eq!(told, Err(WriteError::NotLeader { leader: Some(leader) }));
    let told = cluster.member(follower).read_linearizable(|tally| tally.sum).await;
    assert_eq!(told, Err(ReadError::NotLeader { leader: Some(leader) }));

    let clock = Env::for_test(0);
    cluster.kill(leader);
    assert_eq!(cluster.write(21).await, 21);
    assert!(clock.now().0 < Duration::from_secs(2), "within twice the election timeout, not {:?}", clock.now());
    cluster.start(leader).await;
    assert_eq!(cluster.agreed().await.sum, 21);
}

#[tokio::test(start_paused = true)]
async fn who_was_away_catches_up_by_the_log_or_by_a_snapshot() {
    let mut cluster = Cluster::of(&[1, 2, 3], 2).await;
    cluster.write(1).await;
    let leader = cluster.leader().await;
    let away = *cluster.alive().iter().find(|node| **node != leader).unwrap();
    for (missed, by_snapshot) in [(5, false), (200, true)] {
        cluster.kill(away);
        let from = cluster.member(leader).read_stale(|tally| tally.sum);
        for id in from + 1..=from + missed {
            cluster.write(u128::try_from(id).unwrap()).await;
        }
        cluster
            .until("old entries are gone", |cluster| !by_snapshot || cluster.statuses()[&leader].purged > Some(50))
            .await;
        cluster.start(away).await;
        assert_eq!(cluster.agreed().await.sum, from + missed);
        let last = cluster.statuses()[&away].clone();
        assert_eq!(last.purged.is_some(), by_snapshot, "{last:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_voter_is_added_and_another_one_leaves() {
    let mut cluster = Cluster::of(&[1, 2, 3], 3).await;
    for id in 1..=80 {
        cluster.write(id).await;
    }
    let leader = cluster.leader().await;
    let stranger = cluster.member(leader).add_voter(node(9), SOON).await;
    assert!(matches!(stranger, Err(ChangeError::Unreached { .. })), "{stranger:?}");
    cluster.start(node(4)).await;
    let four = cluster.member(leader).add_voter(node(4), SOON).await.unwrap();
    assert_eq!(four.voters, nodes(&[1, 2, 3, 4]));
    assert!(four.warning().unwrap().contains("4 voters bear the loss of 1, as 3 would"), "{four:?}");
    let has_all = |cluster: &Cluster| cluster.member(node(4)).read_stale(|tally| tally.sum) == 80;
    cluster.until("the new voter has caught up", has_all).await;
    let leaves = *cluster.alive().iter().find(|node| **node != leader && node.0 != [4; 16]).unwrap();
    let mut voters = nodes(&[1, 2, 3, 4]);
    voters.remove(&leaves);
    let three = cluster.member(leader).remove(leaves, SOON).await.unwrap();
    assert_eq!((three.warning(), three.voters), (None, voters.clone()));
    let gone = cluster.member(leader).remove(leaves, SOON).await;
    assert!(matches!(gone, Err(ChangeError::Refused(_))), "{gone:?}");
    cluster.kill(leaves);
    cluster.write(81).await;
    // Three voters now, of whom the new one counts.
    cluster.kill(leader);
    cluster.write(82).await;
    cluster.start(leader).await;
    assert_eq!(cluster.agreed().await.sum, 82);
    assert!(cluster.statuses().values().all(|status| status.voters == voters));
}

#[tokio::test(start_paused = true)]
async fn a_minority_cannot_write_or_read_and_says_so() {
    let mut cluster = Cluster::of(&[1, 2, 3], 4).await;
    cluster.write(1).await;
    let leader = cluster.leader().await;
    let others: Vec<_> = cluster.alive().into_iter().filter(|node| *node != leader).collect();
    others.iter().for_each(|other| cluster.kill(*other));
    let member = cluster.member(leader);
    // It may not have noticed yet.
    let first = member.write(2, b"1".to_vec()).await;
    assert!(matches!(first, Err(WriteError::Unknown | WriteError::NoQuorum)), "{first:?}");
    tokio::time::sleep(SOON).await;
    assert_eq!(member.write(3, b"1".to_vec()).await, Err(WriteError::NoQuorum));
    assert_eq!(member.read_linearizable(|tally| tally.sum).await, Err(ReadError::NoQuorum));
    assert_eq!(member.read_stale(|tally| tally.sum), 1, "a stale read goes on");
    drop(member);
    for other in others {
        cluster.start(other).await;
    }
    cluster.write(4).await;
    assert!(!cluster.agreed().await.answers.contains_key(&3), "what was refused is not there later");
}

#[tokio::test(start_paused = true)]
async fn no_acknowledged_write_is_lost_over_fifty_kills() {
    let mut luck = Random::new(5).derive("kills");
    let mut cluster = Cluster::of(&[1, 2, 3], 5).await;
    let mut acknowledged = BTreeMap::new();
    let mut id = 0u128;
    for _ in 0..50 {
        let victim = *cluster.alive().choose(&mut luck).unwrap();
        let before = Duration::from_millis(luck.random_range(0..40));
        let told = Mutex::new(Vec::new());
        let writes = (id..id + 30).map(|id| {
            let (cluster, told) = (&cluster, &told);
            async move {
                let answer = cluster.member(cluster.leader().await).write(id, b"1".to_vec()).await;
                told.lock().extend(answer.map(|answer| (id, answer)));
            }
        });
        // The power goes while they are under way.
        let _some_are_not = tokio::time::timeout(before, join_all(writes)).await;
        acknowledged.extend(told.into_inner());
        id += 30;
        cluster.kill(victim);
        for _ in 0..5 {
            acknowledged.insert(id, cluster.write(id).await.to_string().into_bytes());
            id += 1;
        }
        cluster.start(victim).await;
    }
    let agreed = cluster.agreed().await;
    assert!(acknowledged.len() >= 250 && cluster.statuses().values().all(|status| status.snapshot.is_some()));
    for (id, answer) in acknowledged {
        assert_eq!(
            agreed.answers.get(&id).map(|sum| sum.to_string().into_bytes()),
            Some(answer),
            "{id} is lost or doubled"
        );
    }
    assert_eq!(agreed.sum, i64::try_from(agreed.answers.len()).unwrap(), "each was applied once");
}

#[tokio::test(start_paused = true)]
async fn many_writers_share_entries_and_too_many_are_refused() {
    let cluster = Cluster::of(&[1, 2, 3], 6).await;
    let leader = cluster.member(cluster.leader().await);
    let before = leader.status().last.unwrap();
    let writes = (0..WRITES_WAITING_MAX as u128 + 500).map(|id| leader.write(id, b"1".to_vec()));
    let answers = join_all(writes).await;
    let busy = answers.iter().filter(|answer| matches!(answer, Err(WriteError::Busy { .. }))).count();
    let done = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!((busy, done), (500, WRITES_WAITING_MAX));
    let entries = leader.status().last.unwrap() - before;
    assert!(entries <= 10, "{entries} entries for {done} commands");
}

#[tokio::test(start_paused = true)]
async fn an_almost_full_disk_refuses_writes_and_reads_go_on() {
    let mut cluster = Cluster::of(&[1, 2, 3], 7).await;
    cluster.write(1).await;
    let leader = cluster.leader().await;
    cluster.disk(leader).room_for(DISK_RESERVE_BYTES / 2);
    tokio::time::sleep(ROOM_BELIEVED_FOR).await;
    let member = cluster.member(leader);
    assert_eq!(member.write(2, b"1".to_vec()).await, Err(WriteError::DiskFull));
    assert_eq!(member.read_linearizable(|tally| tally.sum).await, Ok(1));
    cluster.disk(leader).make_room();
    assert_eq!(member.write(2, b"1".to_vec()).await, Ok(b"2".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_disk_refused_comes_back_by_itself() {
    let mut cluster = Cluster::of(&[1, 2, 3], 8).await;
    cluster.write(1).await;
    cluster.agreed().await;
    let leader = cluster.leader().await;
    let victim = *cluster.alive().iter().find(|node| **node != leader).unwrap();
    cluster.disk(victim).room_for(0);
    for id in 2..=20 {
        cluster.write(id).await;
    }
    cluster.until("the engine stops", |cluster| !cluster.statuses()[&victim].runs).await;
    assert_eq!(cluster.member(victim).read_stale(|tally| tally.sum), 1, "a stale read goes on");
    cluster.disk(victim).make_room();
    assert_eq!(cluster.agreed().await.sum, 20);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_none_or_in_anothers_name_is_refused_and_changes_nothing() {
    let cluster = Cluster::of(&[1, 2, 3], 9).await;
    cluster.write(1).await;
    let before = cluster.agreed().await;
    let member = cluster.member(node(2));
    for request in crate::fuzz::consensus_message_seeds() {
        let answer = crate::message::Response::decode(&member.serve(hub(node(3)), &request).await);
        let who_or_asked = matches!(answer, Ok(Response::Who(_) | Response::Not(_)));
        assert!(who_or_asked || matches!(answer, Ok(Response::Refused(_))), "{answer:?}");
    }
    assert_eq!(cluster.agreed().await, before);
}

#[tokio::test(start_paused = true)]
async fn who_is_shut_down_has_stopped_and_is_opened_again_as_it_was() {
    let mut cluster = Cluster::of(&[1, 2, 3], 10).await;
    cluster.write(1).await;
    cluster.agreed().await;
    let leaves = cluster.leader().await;
    cluster.shut_down(leaves).await;
    cluster.write(2).await;
    cluster.start(leaves).await;
    assert_eq!(cluster.agreed().await.sum, 2);
}

#[tokio::test(start_paused = true)]
async fn a_state_whose_log_is_gone_is_refused() {
    let mut cluster = Cluster::of(&[1, 2, 3], 11).await;
    for id in 0..80 {
        cluster.write(id).await;
    }
    cluster.until("a snapshot", |cluster| cluster.statuses()[&node(2)].snapshot.is_some()).await;
    cluster.kill(node(2));
    let disk = cluster.disk(node(2));
    for name in disk.list().unwrap().iter().filter(|name| name.ends_with(".log")) {
        disk.remove(name).unwrap();
    }
    assert!(matches!(cluster.try_start(node(2)).await, Err(StartError::LogLost)));
}
