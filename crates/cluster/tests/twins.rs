//! Nodes that begin with a boot epoch that was used before: restored from a backup, or two processes with one key.

mod support;

use covenant_cluster::fuzz::own_record_frame;
use covenant_cluster::{EPOCH_ADOPTED_MAX, MemberEvent, MemberState};
use covenant_runtime::DownReason;
use covenant_transport::{CloseCode, DialError, Plane};
use covenant_types::BootEpoch;
use support::{AMPLE, Identity, Message, Node, PATIENCE, deaf, eventually};
use tokio::sync::broadcast::Receiver;

/// Two nodes that know a third in its third boot, which has ended, and its key with a disk that remembers the first.
async fn ended_in_its_third_boot() -> (Node, Node, Identity) {
    let one = Identity::new("one").boot(&[]).await;
    let two = Identity::new("two").boot(&[one.address()]).await;
    let mut third = Identity::new("third");
    for _ in 0..2 {
        third.boot(&[one.address()]).await.kill();
    }
    let last = third.boot(&[one.address()]).await;
    for node in [&one, &two] {
        node.until_reachable(&["one", "two", "third"]).await;
    }
    last.kill();
    for node in [&one, &two] {
        node.until("the third has gone", |members| {
            members.iter().any(|member| member.name == third.name && member.state != MemberState::Reachable)
        })
        .await;
    }
    (one, two, third.copy(0))
}

async fn told(events: &mut Receiver<MemberEvent>, wanted: impl Fn(&MemberEvent) -> bool) -> MemberEvent {
    let waiting = async {
        loop {
            match events.recv().await {
                Ok(event) if wanted(&event) => return event,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it is told in time")
}

fn names(node: &Node, of: &Node, why: &str) -> bool {
    let me = of.name();
    node.cluster.misbehaving().iter().any(|named| named.name == me && named.why == why)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_restored_from_a_backup_goes_on_above_the_epoch_that_the_others_know() {
    let (one, two, mut restored) = ended_in_its_third_boot().await;
    let back = restored.boot(&[one.address()]).await;
    for node in [&one, &two, &back] {
        node.until("it is back in its fourth boot", |members| {
            members
                .iter()
                .any(|it| it.name == restored.name && it.epoch == BootEpoch(4) && it.state == MemberState::Reachable)
        })
        .await;
    }
    assert_eq!(restored.epoch(), 4, "on disk, so that the next boot is above it");
    assert!(names(&back, &back, "restored"), "{:?}", back.cluster.misbehaving());
    back.until_reachable(&["one", "two", "third"]).await;
    for (from, to) in [(&one, &back), (&back, &two)] {
        let answer = from.actor(&to.name(), "actor").call(|reply| Message::Echo(vec![3], reply), AMPLE).await;
        assert_eq!(answer, Ok(vec![3]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_watches_an_actor_hears_that_it_is_gone_when_its_node_goes_on_in_a_later_epoch() {
    let mut third = Identity::new("third");
    let node = third.boot(&[]).await;
    let one = Identity::new("one").boot(&[node.address()]).await;
    one.until_reachable(&["one", "third"]).await;
    let watched = one.cluster.monitor(&node.name(), &support::path("actor")).expect("it is connected");
    // Somebody who knows of a later boot, by the node's own key.
    let teller = Identity::new("teller");
    let (_transport, peer) = deaf::connect(&teller, &node).await;
    let mut feed = peer.open_uni(Plane::Feed).await.expect("the stream opens");
    let later = own_record_frame(&third.key, &third.name, BootEpoch(7), 5);
    feed.write_frame(&later).await.expect("it is heard");
    let down = tokio::time::timeout(PATIENCE, watched).await.expect("it fires in time");
    assert_eq!(down.reason, DownReason::NoConnection);
    one.until("its boot is above the one that was shown", |members| {
        members.iter().any(|it| it.name == third.name && it.epoch == BootEpoch(8) && it.state == MemberState::Reachable)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_that_no_counter_reaches_or_that_cannot_be_kept_is_told_and_not_adopted() {
    for (epoch, keeps) in [(BootEpoch(u64::MAX), true), (EPOCH_ADOPTED_MAX, true), (BootEpoch(7), false)] {
        let mut third = Identity::new("third");
        third.keeps = keeps;
        let node = third.boot(&[]).await;
        let mut events = node.cluster.events();
        let (_transport, peer) = deaf::connect(&Identity::new("teller"), &node).await;
        let mut feed = peer.open_uni(Plane::Feed).await.expect("the stream opens");
        feed.write_frame(&own_record_frame(&third.key, &third.name, epoch, 1)).await.expect("it is heard");
        let behind = MemberEvent::OwnEpochBehind { ours: BootEpoch(1), known: epoch };
        told(&mut events, |event| *event == behind).await;
        assert!(names(&node, &node, "behind"));
        assert_eq!((node.cluster.me().epoch, third.epoch()), (BootEpoch(1), 1));
        assert!(peer.is_open());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_by_another_key_raises_nothing() {
    let mut third = Identity::new("third");
    let node = third.boot(&[]).await;
    let teller = Identity::new("teller");
    let (_transport, peer) = deaf::connect(&teller, &node).await;
    let mut feed = peer.open_uni(Plane::Feed).await.expect("the stream opens");
    // Its key in the text, and the signature of another.
    let forger = Identity::new("forger");
    let forged = own_record_frame(&third.key, &third.name, BootEpoch(7), 5);
    let signature = own_record_frame(&forger.key, &third.name, BootEpoch(7), 5);
    let body = forged.len() - 64;
    let forged = [&forged[..body], &signature[signature.len() - 64..]].concat();
    feed.write_frame(&forged).await.expect("it is heard");
    eventually("it was looked at", || node.counts.of("covenant_cluster_records_refused_total") == 1).await;
    assert_eq!((node.cluster.me().epoch, third.epoch()), (BootEpoch(1), 1));
    let closed = tokio::time::timeout(PATIENCE, peer.closed()).await;
    assert!(closed.is_ok(), "whoever passes on what nobody signed is cut off");
    eventually("it is named", || node.cluster.misbehaving().iter().any(|it| it.name == teller.name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_live_processes_with_one_key_and_epoch_the_later_is_refused_until_the_first_has_gone() {
    let one = Identity::new("one").boot(&[]).await;
    let mut identity = Identity::new("third");
    let mut copied = identity.copy(0);
    let first = identity.boot(&[one.address()]).await;
    one.until_reachable(&["one", "third"]).await;
    let second = copied.boot(&[one.address()]).await;
    for node in [&one, &second] {
        eventually("both sides name it", || names(node, &first, "doubled")).await;
    }
    let transport = second.cluster.transport().expect("it takes part");
    let refused = transport.connect(one.address(), None).await.expect_err("it is refused");
    assert!(matches!(refused, DialError::Refused { code: CloseCode::Doubled, .. }), "{refused}");
    let answer = one.actor(&first.name(), "actor").call(|reply| Message::Echo(vec![3], reply), AMPLE).await;
    assert_eq!(answer, Ok(vec![3]), "the first is none the worse for it");
    assert!(!names(&first, &first, "doubled"));
    assert_eq!((first.cluster.me().epoch, second.cluster.me().epoch), (BootEpoch(1), BootEpoch(1)));
    // The operator decides: the first is stopped. The second comes in, in an epoch of its own.
    let (is, was) = (second.address(), first.address());
    first.kill();
    one.until("the second is there", |members| {
        members
            .iter()
            .any(|it| it.name == copied.name && it.state == MemberState::Reachable && it.address == is && is != was)
    })
    .await;
    eventually("its epoch is its own", || copied.epoch() == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_whose_copy_runs_in_a_later_boot_says_that_it_is_refused_for_it() {
    let one = Identity::new("one").boot(&[]).await;
    let mut identity = Identity::new("third");
    let first = identity.boot(&[one.address()]).await;
    one.until_reachable(&["one", "third"]).await;
    let _second = identity.copy(1).boot(&[one.address()]).await;
    one.until("the later boot has its place", |members| {
        members.iter().any(|it| it.name == identity.name && it.epoch == BootEpoch(2))
    })
    .await;
    eventually("it says so", || names(&first, &first, "doubled")).await;
}
