//! Members that fall silent on purpose, and members that drain.

mod support;

use covenant_cluster::{MemberEvent, MemberState, Phase, SleepError};
use covenant_env::{Clock, RealClock};
use covenant_types::{BootEpoch, CallError, WallTime};
use support::{AMPLE, Identity, Message, Node, Note, eventually, pair};

fn in_secs(secs: u64) -> WallTime {
    WallTime(RealClock::new().wall().0 + secs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_sleeps_is_asleep_everywhere_and_comes_back_in_the_same_boot() {
    let one = Identity::new("one").boot(&[]).await;
    let two = Identity::new("two").boot(&[one.address()]).await;
    let three = Identity::new("three").boot(&[one.address()]).await;
    for node in [&one, &two, &three] {
        node.until_reachable(&["one", "two", "three"]).await;
    }
    let name = three.name();
    let until = in_secs(600);
    // Its record is on its way, and comes to the others on two ways at once.
    three.cluster.set_draining(true);
    let mut events = one.cluster.events();
    let asleep = three.cluster.sleep(until).await.unwrap();
    assert_eq!((asleep.until, asleep.told.len()), (until, 2));
    for node in [&one, &two] {
        node.until_state(&name, MemberState::Asleep).await;
    }
    let actor = one.actor(&name, "actor");
    let call = actor.call(|reply| Message::Echo(vec![1], reply), AMPLE).await;
    assert_eq!(call, Err(CallError::NoConnection), "nobody waits for a sleeper");
    assert_eq!(three.cluster.sleep(until).await, Err(SleepError::Asleep));

    assert!(three.cluster.wake().await);
    for node in [&one, &two, &three] {
        node.until_reachable(&["one", "two", "three"]).await;
    }
    while let Ok(event) = events.try_recv() {
        let gone = |state| matches!(state, MemberState::Left | MemberState::Down);
        assert!(!matches!(&event, MemberEvent::Changed(view) if gone(view.state)), "{event:?}");
    }
    let seen = one.cluster.members().into_iter().find(|member| member.name == name).unwrap();
    assert_eq!((seen.epoch, seen.phase), (BootEpoch(1), Phase::Active));
    assert_eq!(actor.call(|reply| Message::Echo(vec![2], reply), AMPLE).await, Ok(vec![2]));
    assert!(!three.cluster.wake().await, "it is awake");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sleeper_wakes_by_itself_when_it_is_time() {
    let (one, two) = pair().await;
    let name = two.name();
    two.cluster.sleep(in_secs(2)).await.unwrap();
    one.until_state(&name, MemberState::Asleep).await;
    one.until_reachable(&["one", "two"]).await;
    assert_eq!(two.cluster.phase(), Phase::Active);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_nobody_hears_does_not_sleep() {
    let one = Identity::new("one").boot(&[]).await;
    assert_eq!(one.cluster.sleep(in_secs(60)).await, Err(SleepError::Alone));
    assert_eq!(one.cluster.sleep(WallTime(5)).await, Err(SleepError::Past));
    assert_eq!(one.cluster.phase(), Phase::Active);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_a_member_drains_is_seen_by_all_and_taken_back() {
    let (one, two) = pair().await;
    let name = two.name();
    let phase = |phase| {
        let name = name.clone();
        move |members: &[covenant_cluster::MemberView]| {
            members.iter().any(|member| member.name == name && member.phase == phase)
        }
    };
    two.cluster.set_draining(true);
    one.until("draining", phase(Phase::Draining)).await;
    assert_eq!(two.cluster.phase(), Phase::Draining);
    let answer = one.actor(&name, "actor").call(|reply| Message::Echo(vec![3], reply), AMPLE).await;
    assert_eq!(answer, Ok(vec![3]), "what it has it still does");
    two.cluster.set_draining(false);
    one.until("active", phase(Phase::Active)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn casts_to_a_sleeper_are_kept_and_arrive_once_and_in_order_when_it_wakes() {
    const CASTS: u32 = 50;
    let one = Identity::new("one").boot(&[]).await;
    let two = Identity::new("two").boot(&[one.address()]).await;
    let three = Identity::new("three").boot(&[one.address()]).await;
    for node in [&one, &two, &three] {
        node.until_reachable(&["one", "two", "three"]).await;
    }
    let name = three.name();
    let note = |sender, number, bytes| Message::Note(Note { sender, number, padding: vec![0; bytes] });
    three.cluster.sleep(in_secs(600)).await.unwrap();
    for node in [&one, &two] {
        node.until_state(&name, MemberState::Asleep).await;
    }
    for (sender, node) in [(1, &one), (2, &two)] {
        let actor = node.actor(&name, "actor");
        for number in 0..CASTS {
            actor.cast(note(sender, number, 100)).await.unwrap();
        }
        let long = actor.cast(note(sender, 99, covenant_cluster::LETTER_BYTES_MAX)).await;
        assert!(matches!(long, Err(CallError::Rejected(_))), "{long:?}");
    }
    eventually("both hubs keep all", || {
        [&one, &two].iter().all(|node| node.counts.of("covenant_cluster_mail_kept_total") == u64::from(CASTS) * 2)
    })
    .await;
    let waiting = |node: &Node| node.counts.of("covenant_cluster_mail_waiting") > 0;
    eventually("it waits", || waiting(&one) && waiting(&two)).await;
    assert!(three.cluster.wake().await);
    eventually("all arrived", || three.notes.count() == CASTS as usize * 2).await;
    for sender in [1, 2] {
        assert_eq!(three.notes.numbers(sender), (0..CASTS).collect::<Vec<_>>(), "sender {sender}");
    }
    eventually("nothing is kept any more", || !waiting(&one) && !waiting(&two)).await;
    assert_eq!(three.notes.count(), CASTS as usize * 2, "each once");
    assert_eq!(three.counts.of("covenant_cluster_mail_delivered_total"), u64::from(CASTS) * 2);
}
