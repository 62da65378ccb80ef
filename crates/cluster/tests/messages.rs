//! What a caller of an actor on another node may rely on.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use covenant_cluster::{CREDIT_START_BYTES, FRAME_BYTES_MAX, MemberState};
use covenant_runtime::{Ref, traced};
use covenant_types::{CallError, ExitReason, NodeName, TraceId};
use support::{AMPLE, Identity, Message, OtherMessage, SameNameMessage, eventually, pair, path};

const SHORT: Duration = Duration::from_millis(200);

async fn echo(actor: &Ref<Message>, bytes: &[u8]) -> Result<Vec<u8>, CallError> {
    actor.call(|reply| Message::Echo(bytes.to_vec(), reply), AMPLE).await
}

fn note(sender: u32, number: u32, padding: usize) -> Message {
    Message::Note(support::Note { sender, number, padding: vec![0; padding] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_answered_and_a_cast_arrives() {
    let (one, two) = pair().await;
    let actor = one.actor(&two.name(), "actor");
    assert_eq!(echo(&actor, b"hello").await, Ok(b"hello".to_vec()));
    actor.cast(note(1, 7, 0)).await.unwrap();
    eventually("the cast arrived", || two.notes.numbers(1) == [7]).await;
    let back = two.actor(&one.name(), "other");
    assert_eq!(echo(&back, &[9; 300_000]).await, Ok(vec![9; 300_000]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_on_at_another_node_also_for_casts_that_find_the_mailbox_full() {
    let (one, two) = pair().await;
    let actor = one.actor(&two.name(), "actor");
    let trace = TraceId::new(0xabc);
    let asked = async || actor.call(Message::Trace, AMPLE).await;
    assert_eq!(traced(trace, asked()).await, Ok(b"00000000000000000000000000000abc".to_vec()));
    assert_eq!(asked().await, Ok(Vec::new()), "and no further");

    // More than the mailbox of 1024 has room for, and no more than may wait before it.
    const CASTS: u32 = 1300;
    two.notes.shut_gate();
    for number in 0..CASTS {
        traced(trace.filter(|_| number % 2 == 0), actor.cast(note(1, number, 100))).await.unwrap();
    }
    two.notes.open_gate();
    eventually("all casts arrived", || two.notes.count() == CASTS as usize).await;
    let traces = two.notes.traces.lock().unwrap();
    assert!(traces.chunks(2).all(|pair| *pair == [trace, None]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_that_gets_no_answer_ends_in_the_word_that_says_why() {
    let (one, two) = pair().await;
    let actor = one.actor(&two.name(), "actor");

    assert_eq!(actor.call(Message::Hold, SHORT).await, Err(CallError::Timeout));
    assert!(matches!(actor.call(Message::Forget, AMPLE).await, Err(CallError::Gone(_))));
    let crashed = actor.call(Message::Crash, AMPLE).await;
    assert_eq!(crashed, Err(CallError::Gone(ExitReason::Error("asked to".to_owned()))));
    assert_eq!(echo(&actor, b"again").await, Ok(b"again".to_vec()), "the next incarnation answers");
    assert_eq!(actor.call(Message::Refuse, AMPLE).await, Err(CallError::Rejected("not today".to_owned())));

    let nobody = one.actor(&two.name(), "nobody");
    assert_eq!(echo(&nobody, b"").await, Err(CallError::NoProc));
    let nowhere = one.actor(&NodeName::new("nowhere").unwrap(), "actor");
    assert_eq!(echo(&nowhere, b"").await, Err(CallError::NoConnection));
    assert_eq!(nowhere.cast(note(1, 1, 0)).await, Err(CallError::NoConnection));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_other_side_cannot_read_is_rejected_by_the_name_of_its_type() {
    let (one, two) = pair().await;
    let wrong: Ref<OtherMessage> = one.cluster.remote(&two.name(), &path("actor"));
    let Err(CallError::Rejected(why)) = wrong.call(OtherMessage, AMPLE).await else { panic!("not rejected") };
    assert!(why.contains("test.other") && why.contains("test.actor"), "{why}");

    let garbled: Ref<SameNameMessage> = one.cluster.remote(&two.name(), &path("actor"));
    let Err(CallError::Rejected(why)) = garbled.call(SameNameMessage, AMPLE).await else { panic!("not rejected") };
    assert!(why.contains("test.actor"), "{why}");

    let actor = one.actor(&two.name(), "actor");
    let huge = vec![0; FRAME_BYTES_MAX];
    assert!(matches!(echo(&actor, &huge).await, Err(CallError::Rejected(_))));
    assert_eq!(echo(&actor, b"still").await, Ok(b"still".to_vec()), "the connection took no harm");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_to_a_full_mailbox_says_so_and_is_not_queued() {
    let (one, two) = pair().await;
    two.notes.shut_gate();
    let tiny = one.actor(&two.name(), "tiny");
    for number in 0..20 {
        tiny.cast(note(1, number, 0)).await.unwrap();
    }
    // Casts and calls to one actor keep their order, so by now the mailbox is full.
    let answer = tiny.call(|reply| Message::Echo(vec![], reply), AMPLE).await;
    assert_eq!(answer, Err(CallError::MailboxFull));
    two.notes.open_gate();
    eventually("the casts arrived all the same", || two.notes.numbers(1) == (0..20).collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_under_way_end_when_the_node_dies_and_later_ones_do_so_at_once() {
    let (one, two) = pair().await;
    let name = two.name();
    let actor = one.actor(&name, "actor");
    let held = {
        let actor = actor.clone();
        tokio::spawn(async move { actor.call(Message::Hold, Duration::from_secs(3600)).await })
    };
    // An answer to a later call shows that the held one has arrived.
    echo(&actor, b"").await.unwrap();
    two.kill();
    assert_eq!(held.await.unwrap(), Err(CallError::NoConnection));
    assert_eq!(echo(&actor, b"").await, Err(CallError::NoConnection));
    one.until_state(&name, MemberState::Down).await;
    assert_eq!(echo(&actor, b"").await, Err(CallError::NoConnection));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_one_sender_to_one_actor_keep_their_order_under_load() {
    const SENDERS: u32 = 4;
    const EACH: u32 = 5_000;
    let (one, two) = pair().await;
    let name = two.name();
    let mut senders = Vec::new();
    for sender in 0..SENDERS {
        let actor = one.actor(&name, if sender % 2 == 0 { "actor" } else { "other" });
        senders.push(tokio::spawn(async move {
            for number in 0..EACH {
                actor.cast(note(sender, number, 10)).await.unwrap();
            }
            // Sent after all of them, so answered after all of them.
            echo(&actor, b"").await
        }));
    }
    for sender in senders {
        // A mailbox that is full just then says so; the casts before arrive all the same.
        let last = sender.await.unwrap();
        assert!(matches!(last, Ok(_) | Err(CallError::MailboxFull)), "{last:?}");
    }
    eventually("all arrived", || two.notes.count() == (SENDERS * EACH) as usize).await;
    for sender in 0..SENDERS {
        assert_eq!(two.notes.numbers(sender), (0..EACH).collect::<Vec<_>>(), "sender {sender}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_receiver_makes_its_senders_wait_and_nobody_else() {
    const CASTS: u32 = 1_000;
    let (one, two) = pair().await;
    two.notes.shut_gate();
    let slow = one.actor(&two.name(), "tiny");
    let sent = Arc::new(AtomicU32::new(0));
    let sender = {
        let sent = Arc::clone(&sent);
        tokio::spawn(async move {
            for number in 0..CASTS {
                slow.cast(note(1, number, 10_000)).await.unwrap();
                sent.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    // So many until the credit is used up, and one more that waits for it.
    let credit = CREDIT_START_BYTES / 10_100;
    eventually("the credit is used up", || sent.load(Ordering::SeqCst) >= credit).await;
    // Both directions and all lanes of the connection go on.
    for id in ["actor", "other"] {
        assert_eq!(echo(&one.actor(&two.name(), id), b"quick").await, Ok(b"quick".to_vec()));
    }
    let sent_until_now = sent.load(Ordering::SeqCst);
    assert!(sent_until_now <= credit + 5, "{sent_until_now} of 10 kB are on their way to an actor that takes none");
    assert!(one.counts.of("covenant_remoting_waits_total") > 0);
    two.notes.open_gate();
    sender.await.unwrap();
    eventually("all arrived", || two.notes.count() == CASTS as usize).await;
    assert_eq!(two.notes.numbers(1), (0..CASTS).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_call_each_other_at_once_without_getting_stuck() {
    let (one, two) = pair().await;
    let there = one.actor(&two.name(), "actor");
    let back = two.actor(&one.name(), "actor");
    let calls = |actor: Ref<Message>| {
        tokio::spawn(async move {
            for number in 0..500u32 {
                let bytes = number.to_be_bytes();
                assert_eq!(echo(&actor, &bytes).await, Ok(bytes.to_vec()));
            }
        })
    };
    let (there, back) = (calls(there), calls(back));
    there.await.unwrap();
    back.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_was_written_before_the_callee_stopped_arrives_1000_times_of_1000() {
    const CALLS: u32 = 1000;
    // It comes back each time, so its supervisor must not give up.
    let tree = "strategy = \"one_for_one\"\nintensity = 100000\nperiod = \"10s\"\n\
                [[child]]\nid = \"actor\"\nbehaviour = \"test.actor\"\n";
    let one = Identity::new("one").boot(&[]).await;
    let two = Identity::new("two").boot_tree(&[one.address()], tree).await;
    one.until_reachable(&["one", "two"]).await;
    let actor = one.actor(&two.name(), "actor");
    for number in 0..CALLS {
        let bytes = number.to_be_bytes().to_vec();
        let answer = actor.call(|reply| Message::Last(bytes.clone(), reply), AMPLE).await;
        assert_eq!(answer, Ok(bytes), "call {number}");
    }
    let ended = || two.system.tree().find(&path("actor")).is_some_and(|view| view.incarnation.0 == CALLS + 1);
    eventually("it stopped after each", ended).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_broken_connection_nothing_sent_before_comes_after_what_is_sent_then() {
    let (one, two) = pair().await;
    let name = two.name();
    let actor = one.actor(&name, "actor");
    let mut number = 0;
    for _ in 0..3 {
        let before = one.cluster.peer(&name).unwrap();
        // In the middle of a stream of casts, with many under way.
        for cast in 0..3000 {
            if cast == 1500 {
                one.cluster.transport().unwrap().disconnect(two.cluster.me().id, "the test breaks it");
            }
            number += 1;
            let _lost_or_not = actor.cast(note(1, number, 100)).await;
        }
        let is_new = || one.cluster.peer(&name).is_some_and(|peer| !peer.is_same_connection(&before));
        eventually("there is another connection", is_new).await;
        one.until_reachable(&["one", "two"]).await;
        number += 1;
        actor.cast(note(1, number, 100)).await.unwrap();
    }
    eventually("the last one arrived", || two.notes.numbers(1).last() == Some(&number)).await;
    let numbers = two.notes.numbers(1);
    assert!(numbers.is_sorted_by(|earlier, later| earlier < later), "in order and at most once: {numbers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_call_each_other_with_mailboxes_of_one_end_at_their_deadlines_and_go_on() {
    let tree = "strategy = \"one_for_one\"\n[[child]]\nid = \"narrow\"\nbehaviour = \"test.actor\"\n\
                mailbox = { capacity = 1, overflow = \"wait\" }\n";
    let one = Identity::new("one").boot_tree(&[], tree).await;
    let two = Identity::new("two").boot_tree(&[one.address()], tree).await;
    for node in [&one, &two] {
        node.until_reachable(&["one", "two"]).await;
    }
    let (there, back) = (one.actor(&two.name(), "narrow"), two.actor(&one.name(), "narrow"));
    // Each handler waits for the other actor, which waits for it.
    let asking = |actor: &Ref<Message>| {
        let others = vec![there.clone(), back.clone(), there.clone(), back.clone()];
        let actor = actor.clone();
        tokio::spawn(async move { actor.call(|reply| Message::PassOn(others, reply), AMPLE).await })
    };
    let asked: Vec<_> = (0..8).map(|round| asking(if round % 2 == 0 { &there } else { &back })).collect();
    for answer in asked {
        let answer = answer.await.unwrap();
        assert!(matches!(answer, Err(CallError::Timeout | CallError::MailboxFull)), "{answer:?}");
    }
    for actor in [&there, &back] {
        assert_eq!(echo(actor, b"free").await, Ok(b"free".to_vec()));
    }
}
