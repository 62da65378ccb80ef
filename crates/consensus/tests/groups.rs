//! Groups over real QUIC: what a node that uses them relies on.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::{Duration, Instant};

use covenant_consensus::{Freshness, SubmitError};
use covenant_types::Role;
use support::{ELECTION, World, amount, until};

const SOON: Duration = Duration::from_secs(20);

fn number(answer: &[u8]) -> u64 {
    u64::from_be_bytes(answer.try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_elect_write_and_go_on_when_the_leader_dies() {
    let mut world = World::with_voters(3).await;
    let outsider = world.join("hub-outside", Role::Hub).await;
    let client = world.client(outsider);
    for id in 1..=20 {
        assert_eq!(number(&client.submit(id, amount(1), SOON).await.unwrap()), u64::try_from(id).unwrap());
    }
    assert_eq!(number(&client.submit(7, amount(1), SOON).await.unwrap()), 7, "an id that comes again");
    let leader = world.leader().await;
    world.kill_member(leader).await;
    let killed = Instant::now();
    assert_eq!(number(&client.submit(21, amount(1), SOON).await.unwrap()), 21);
    println!(
        "writes again {:?} after the leader's death; twice the election timeout is {:?}",
        killed.elapsed(),
        ELECTION * 2
    );
    world.start_member(leader).await;
    let all = |world: &World| world.members().values().all(|member| member.read_stale(|sum| sum.sum) == 21);
    until("the same sum everywhere", || all(&world)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_gets_one_effect_and_reads_what_it_asked_for() {
    let mut world = World::with_voters(3).await;
    let leader = world.leader().await;
    let follower = (leader + 1) % 3;
    // By way of a follower, which says who leads.
    assert_eq!(number(&world.client(follower).submit(1, amount(5), SOON).await.unwrap()), 5);
    let outsider = world.join("hub-outside", Role::Hub).await;
    let client = world.client(outsider);
    let read = client.query(b"sum".to_vec(), Freshness::Linearizable, SOON).await.unwrap();
    assert_eq!((number(&read.bytes), read.staleness.age), (5, Duration::ZERO));
    let last = world.member(leader).status().applied.unwrap();
    assert!(read.staleness.position >= last, "{read:?} {last}");
    let stale = world.client(follower).query(b"sum".to_vec(), Freshness::Stale, SOON).await.unwrap();
    assert!(stale.staleness.position <= last && stale.staleness.age < SOON, "{stale:?}");
    let none = client.query(b"weather".to_vec(), Freshness::Stale, SOON).await;
    assert_eq!(none, Err(SubmitError::Never("ask for the sum".to_owned())));
    let tower = world.join("tower-outside", Role::Tower).await;
    let refused = world.client(tower).submit(2, amount(1), SOON).await;
    assert!(matches!(&refused, Err(SubmitError::Never(why)) if why.contains("role")), "{refused:?}");
}
