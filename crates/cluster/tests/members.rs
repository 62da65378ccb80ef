//! Nodes find, lose and find each other.

mod support;

use covenant_cluster::MemberState;
use covenant_types::BootEpoch;
use support::{AMPLE, Identity, Message, pair};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_find_each_other_through_one_seed() {
    let one = Identity::new("one").boot(&[]).await;
    let two = Identity::new("two").boot(&[one.address()]).await;
    let three = Identity::new("three").boot(&[one.address()]).await;
    for node in [&one, &two, &three] {
        node.until_reachable(&["one", "two", "three"]).await;
    }
    let seen = two.cluster.members().into_iter().find(|member| member.name == three.name()).unwrap();
    assert_eq!((seen.epoch, seen.address), (BootEpoch(1), three.address()));
    assert!(seen.rtt_ms.is_some());
    assert_eq!(one.cluster.peer(&two.name()).map(|peer| peer.info().id), Some(two.cluster.me().id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_is_down_elsewhere_and_its_next_boot_takes_its_place() {
    let one = Identity::new("one").boot(&[]).await;
    let two = Identity::new("two").boot(&[one.address()]).await;
    let mut identity = Identity::new("three");
    let three = identity.boot(&[one.address()]).await;
    for node in [&one, &two, &three] {
        node.until_reachable(&["one", "two", "three"]).await;
    }
    let name = three.name();
    let actor = one.actor(&name, "actor");
    assert_eq!(actor.call(|reply| Message::Echo(vec![1], reply), AMPLE).await, Ok(vec![1]));

    three.kill();
    one.until_state(&name, MemberState::Down).await;
    two.until_state(&name, MemberState::Down).await;

    let three = identity.boot(&[two.address()]).await;
    for node in [&one, &two, &three] {
        node.until_reachable(&["one", "two", "three"]).await;
    }
    let seen = one.cluster.members().into_iter().find(|member| member.name == name).unwrap();
    assert_eq!(seen.epoch, BootEpoch(2));
    assert_eq!(actor.call(|reply| Message::Echo(vec![2], reply), AMPLE).await, Ok(vec![2]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_boot_that_comes_before_anybody_noticed_the_last_ones_end_replaces_the_ghost() {
    let one = Identity::new("one").boot(&[]).await;
    let mut identity = Identity::new("two");
    let first = identity.boot(&[one.address()]).await;
    one.until_reachable(&["one", "two"]).await;
    let name = first.name();
    // The first boot stays where it is: nobody was told that it ended.
    let second = identity.boot(&[one.address()]).await;
    one.until("the second boot is reachable", |members| {
        members
            .iter()
            .any(|member| member.name == name && member.epoch == BootEpoch(2) && member.state == MemberState::Reachable)
    })
    .await;
    second.until_reachable(&["one", "two"]).await;
    let answer = one.actor(&name, "actor").call(|reply| Message::Echo(vec![7], reply), AMPLE).await;
    assert_eq!(answer, Ok(vec![7]));
    drop(first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_says_goodbye_has_left() {
    let (one, two) = pair().await;
    let name = two.name();
    two.cluster.leave().await;
    one.until_state(&name, MemberState::Left).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_seed_is_not_there_yet_joins_once_it_is() {
    let mut seed = Identity::new("one");
    let placeholder = seed.boot(&[]).await;
    let address = placeholder.address();
    let two = Identity::new("two").boot(&[address]).await;
    two.until_reachable(&["one", "two"]).await;
    placeholder.kill();
    two.until_state(&seed.name, MemberState::Down).await;
    let again = seed.boot(&[two.address()]).await;
    again.until_reachable(&["one", "two"]).await;
    two.until_reachable(&["one", "two"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_in_one_process_count_apart() {
    let (one, two) = pair().await;
    let actor = one.actor(&two.name(), "actor");
    for _ in 0..10 {
        actor.call(|reply| Message::Echo(vec![], reply), AMPLE).await.unwrap();
    }
    assert_eq!(one.counts.of("covenant_remoting_calls_sent_total"), 10);
    assert_eq!(two.counts.of("covenant_remoting_calls_sent_total"), 0);
    assert_eq!(one.counts.of("covenant_remoting_calls_received_total"), 0);
    assert_eq!(two.counts.of("covenant_remoting_calls_received_total"), 10);
}
