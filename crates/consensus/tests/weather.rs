//! Groups over lines that lose, cut off and crawl.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use covenant_consensus::{Offence, ReadError};
use covenant_transport::{Direction, Fault, FaultLease, FaultSpec, LeaseTerms, PeerScope};
use covenant_types::Role;
use support::{ELECTION, World, amount, until};

const SOON: Duration = Duration::from_secs(30);

fn set(world: &World, node: usize, fault: Fault, peer: PeerScope) -> FaultLease {
    let terms = LeaseTerms { ttl: SOON * 4, hard_deadline: SOON * 4, by: "test".to_owned() };
    let spec = FaultSpec { fault, direction: Direction::Both, peer };
    world.nodes[node].transport.faults().set(spec, terms).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_answers_no_linearizable_read_that_is_stale() {
    let world = World::with_voters(3).await;
    let old = world.leader().await;
    let other = (old + 1) % 3;
    world.client(old).submit(1, amount(1), SOON).await.unwrap();
    let lease = set(&world, old, Fault::Partition, PeerScope::All);
    // From the moment of the cut, somebody reads from it without end.
    let (reads_on, stop) = (world.member(old), Arc::new(AtomicBool::new(false)));
    let stopped = stop.clone();
    let reader = world.nodes[old].env.work.spawn(async move {
        let (mut refused, mut seen) = (0, Vec::new());
        while !stopped.load(Ordering::Relaxed) {
            match reads_on.read_linearizable(|sum| sum.sum).await {
                Ok(sum) => seen.push(sum),
                Err(ReadError::NoQuorum | ReadError::NotLeader { .. }) => refused += 1,
                Err(error) => panic!("{error}"),
            }
            tokio::task::yield_now().await;
        }
        (refused, seen)
    });
    world.client(other).submit(2, amount(1), SOON).await.unwrap();
    // The others have gone on: what is read from it now would be stale.
    let now = world.member(old).read_linearizable(|sum| sum.sum).await;
    assert!(matches!(now, Err(ReadError::NoQuorum | ReadError::NotLeader { .. })), "{now:?}");
    assert_eq!(world.member(old).read_stale(|sum| sum.sum), 1, "a stale read is named so");
    stop.store(true, Ordering::Relaxed);
    let (refused, seen) = reader.await.unwrap();
    assert!(refused > 0 && seen.iter().all(|sum| *sum == 1), "{refused} {seen:?}");
    world.nodes[old].transport.faults().lift(lease.id).unwrap();
    until("it has caught up", || world.member(old).read_stale(|sum| sum.sum) == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_and_many_tries_have_one_effect() {
    let mut world = World::with_voters(3).await;
    let outsider = world.join("hub-outside", Role::Hub).await;
    // What it is answered is lost for a while, again and again: it asks again, and the group has done it already.
    let client = world.client(outsider);
    for id in 1..=30u128 {
        let lease = (id % 3 == 0).then(|| set(&world, outsider, Fault::Partition, PeerScope::All));
        let lifted = async {
            if let Some(lease) = lease {
                let effects = || world.nodes[outsider].transport.faults().leases()[0].effects;
                until("it is cut off", || effects().blocked > 0).await;
                world.nodes[outsider].transport.faults().lift(lease.id).unwrap();
            }
        };
        let (answer, ()) = tokio::join!(client.submit(id, amount(1), SOON), lifted);
        assert_eq!(answer.unwrap(), amount(id.try_into().unwrap()));
        // Sent again for no reason.
        if id % 5 == 0 {
            assert_eq!(client.submit(id, amount(1), SOON).await.unwrap(), amount(id.try_into().unwrap()));
        }
    }
    let all = || world.members().values().all(|member| member.read_stale(|sum| (sum.sum, sum.applied())) == (30, 30));
    until("each was applied once everywhere", all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_on_a_slow_line_delays_no_heartbeat_and_no_write() {
    let mut world = World::empty();
    // Long, so that a machine that is busy with other tests is not taken for a heartbeat that waits.
    world.config.election_timeout = ELECTION * 4;
    world.config.snapshot_every = 50;
    world.config.entries_kept = 100;
    for number in 0..3 {
        world.join(&format!("voter-{number}"), Role::Voter).await;
    }
    world.config.first_voters = world.ids(&[0, 1, 2]);
    for number in 0..3 {
        world.start_member(number).await;
    }
    world.member(0).form(&world.ids(&[0, 1, 2])).await.unwrap();
    let leader = world.leader().await;
    let client = world.client(leader);
    let ballast = [amount(1), vec![7; 64 * 1024]].concat();
    for id in 1..=40 {
        client.submit(id, ballast.clone(), SOON).await.unwrap();
    }
    for id in 41..=240 {
        client.submit(id, amount(1), SOON).await.unwrap();
    }
    until("old entries are gone", || world.member(leader).status().purged.is_some()).await;
    let learner = world.join("voter-3", Role::Voter).await;
    world.start_member(learner).await;
    // Two and a half megabytes at one a second.
    let slow = Fault::Bandwidth { bits_per_second: 8_000_000, queue_bytes: 64 * 1024 };
    set(&world, learner, slow, PeerScope::All);
    let term = world.member(leader).status().term;
    let (member, id) = (world.member(leader), world.nodes[learner].id);
    let adding = world.nodes[leader].env.work.spawn(async move { member.add_voter(id, SOON * 2).await });
    let mut written = 240u32;
    while !adding.is_finished() {
        written += 1;
        // Slowly: what is written meanwhile has to fit behind the snapshot.
        tokio::time::sleep(Duration::from_millis(50)).await;
        client.submit(written.into(), amount(1), SOON).await.unwrap();
    }
    let changed = adding.await.unwrap();
    println!("{} writes while the snapshot went: {changed:?}", written - 240);
    assert_eq!(changed.unwrap().voters.len(), 4);
    assert!(written > 242, "writes went on: {written}");
    assert_eq!(
        world.member(leader).status().term,
        term,
        "nobody missed a heartbeat for so long as to stand for election"
    );
    until("it has all", || world.member(learner).read_stale(|sum| sum.sum) == u64::from(written)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_that_was_removed_is_refused_as_a_stranger_and_named() {
    let world = World::with_voters(3).await;
    let leader = world.leader().await;
    let removed = (leader + 1) % 3;
    world.client(leader).submit(1, amount(1), SOON).await.unwrap();
    // It does not hear of it, and stands for election when it hears nobody.
    let lease = set(&world, removed, Fault::Partition, PeerScope::All);
    world.member(leader).remove(world.nodes[removed].id, SOON).await.unwrap();
    world.nodes[removed].transport.faults().lift(lease.id).unwrap();
    let named = || {
        let intruders = world.member(leader).intruders();
        intruders.iter().any(|one| one.node == world.nodes[removed].id && one.offence == Offence::Stranger)
    };
    until("it is named", named).await;
    world.client(leader).submit(2, amount(1), SOON).await.unwrap();
    assert!(world.member(leader).status().leads, "it has no say");
}
