//! Messages over restarts, full mailboxes, and how calls end.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{self, Ask, End, Gate, LONG, Rig, gone, probes, within};
use covenant_runtime::{Ref, Reply};
use covenant_types::{ActorPath, CallError, ExitReason};

const MANY: &str = "intensity = 1000";

fn with_mailbox(capacity: usize, overflow: &str) -> String {
    let mailbox = format!("mailbox = {{ capacity = {capacity}, overflow = \"{overflow}\" }}");
    probes(MANY, &[("a", &mailbox)])
}

/// A rig whose `/a` is held in a handler, so that messages wait.
async fn held(tree: &str) -> (Rig, Ref<Ask>, Arc<Gate>) {
    let rig = Rig::start(tree, &[]).await;
    let (probe, gate) = (rig.probe("/a"), Gate::new());
    probe.cast(Ask::Hold(Arc::clone(&gate))).await.unwrap();
    gate.entered().await;
    (rig, probe, gate)
}

async fn noted(probe: &Ref<Ask>) -> Vec<u64> {
    probe.call(Ask::Noted, LONG).await.unwrap()
}

#[tokio::test]
async fn messages_that_wait_survive_every_kind_of_crash_in_order() {
    let tree = with_mailbox(64, "wait");
    for how in [Some(End::Panic), Some(End::Error), Some(End::Stop), None] {
        let (rig, probe, gate) = held(&tree).await;
        for number in 0..10 {
            probe.cast(Ask::Note(number)).await.unwrap();
        }
        if let Some(how) = how {
            probe.cast(Ask::End(how, None)).await.unwrap();
        }
        for number in 10..20 {
            probe.cast(Ask::Note(number)).await.unwrap();
        }
        match how {
            Some(_) => gate.open(),
            None => rig.kill("/a").await,
        }
        assert_eq!(noted(&probe).await, Vec::from_iter(0..20), "{how:?}");
        assert_eq!(rig.who("/a").await, 2);
    }
}

#[tokio::test]
async fn messages_survive_the_restart_of_the_supervisor_above() {
    let main = format!("{MANY}\n{}", support::subtree("sub", ""));
    let rig = Rig::start(&main, &[("sub", &probes("", &[("a", "")]))]).await;
    let (probe, gate) = (rig.probe("/sub/a"), Gate::new());
    probe.cast(Ask::Hold(Arc::clone(&gate))).await.unwrap();
    gate.entered().await;
    for number in 0..10 {
        probe.cast(Ask::Note(number)).await.unwrap();
    }
    rig.kill("/sub").await;
    assert_eq!(noted(&probe).await, Vec::from_iter(0..10));
    assert_eq!((rig.who("/sub/a").await, rig.view("/sub").incarnation.0), (2, 2));
}

#[tokio::test]
async fn fail_tells_the_sender_and_keeps_what_waits() {
    let (_rig, probe, gate) = held(&with_mailbox(2, "fail")).await;
    // The held message counts: it is in the running batch.
    probe.cast(Ask::Note(1)).await.unwrap();
    assert_eq!(probe.cast(Ask::Note(2)).await, Err(CallError::MailboxFull));
    assert_eq!(probe.try_cast(Ask::Note(2)), Err(CallError::MailboxFull));
    assert_eq!(probe.call(Ask::Who, LONG).await, Err(CallError::MailboxFull));
    gate.open();
    assert_eq!(eventually_noted(&probe).await, [1]);
}

#[tokio::test]
async fn drop_newest_drops_what_comes_and_answers_a_call_in_it() {
    let (rig, probe, gate) = held(&with_mailbox(2, "drop-newest")).await;
    probe.cast(Ask::Note(1)).await.unwrap();
    probe.cast(Ask::Note(2)).await.unwrap();
    assert_eq!(probe.call(Ask::Who, LONG).await, Err(CallError::MailboxFull));
    assert_eq!(rig.view("/a").mailbox.unwrap().dropped, 2);
    gate.open();
    assert_eq!(eventually_noted(&probe).await, [1]);
}

#[tokio::test]
async fn drop_oldest_drops_what_waited_longest_and_answers_a_call_in_it() {
    let (rig, probe, gate) = held(&with_mailbox(2, "drop-oldest")).await;
    let (asking, oldest) = (probe.clone(), rig.system.env().work.clone());
    let call = oldest.spawn(async move { asking.call(Ask::Who, LONG).await });
    support::eventually(|| rig.view("/a").mailbox.unwrap().depth == 1).await;
    for number in 1..=3 {
        probe.cast(Ask::Note(number)).await.unwrap();
    }
    assert_eq!(within(call).await.unwrap(), Err(CallError::MailboxFull));
    let mailbox = rig.view("/a").mailbox.unwrap();
    assert_eq!((mailbox.depth, mailbox.dropped), (2, 2));
    gate.open();
    support::eventually(|| rig.view("/a").handled == 3).await; // or the question would drop a number
    assert_eq!(noted(&probe).await, [2, 3]);
}

/// Asks until there is room for the question; the answer comes after all that waited.
async fn eventually_noted(probe: &Ref<Ask>) -> Vec<u64> {
    within(async {
        loop {
            if let Ok(noted) = probe.call(Ask::Noted, LONG).await {
                return noted;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn wait_waits_for_room_but_not_for_ever() {
    let (rig, probe, gate) = held(&with_mailbox(2, "wait")).await;
    probe.cast(Ask::Note(1)).await.unwrap();
    assert_eq!(probe.try_cast(Ask::Note(9)), Err(CallError::MailboxFull));
    assert_eq!(probe.cast(Ask::Note(9)).await, Err(CallError::MailboxFull), "after CAST_WAIT_MAX");
    assert_eq!(probe.call(Ask::Who, Duration::from_secs(1)).await, Err(CallError::Timeout));
    let sender = probe.clone();
    let waiting = rig.system.env().work.spawn(async move { sender.cast(Ask::Note(2)).await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    gate.open();
    assert_eq!(within(waiting).await.unwrap(), Ok(()));
    assert_eq!(noted(&probe).await, [1, 2]);
}

#[tokio::test]
async fn the_message_in_hand_is_answered_with_the_reason_of_the_end() {
    let told = || "told to".to_owned();
    let ways = [
        (End::Panic, ExitReason::Panicked(told())),
        (End::Error, ExitReason::Error(told())),
        (End::Normal, ExitReason::Normal),
        (End::Shutdown, ExitReason::Shutdown),
    ];
    let rig = Rig::start(&with_mailbox(8, "wait"), &[]).await;
    let probe = rig.probe("/a");
    for (how, reason) in ways {
        assert_eq!(probe.call(|reply| Ask::End(how, Some(reply)), LONG).await, Err(gone(reason)));
    }
}

#[tokio::test]
async fn a_kill_answers_the_message_in_hand_and_no_other() {
    let rig = Rig::start(&with_mailbox(8, "wait"), &[]).await;
    let (probe, gate) = (rig.probe("/a"), Gate::new());
    // The reply lives in the handler's future: the kill drops both.
    let (asking, held) = (probe.clone(), Arc::clone(&gate));
    let in_hand =
        rig.system.env().work.spawn(async move { asking.call(|reply| Ask::HoldReply(held, reply), LONG).await });
    gate.entered().await;
    let asking = probe.clone();
    let waiting = rig.system.env().work.spawn(async move { asking.call(Ask::Who, LONG).await });
    support::eventually(|| rig.view("/a").mailbox.unwrap().depth == 2).await;
    rig.kill("/a").await;
    assert_eq!(within(in_hand).await.unwrap(), Err(gone(ExitReason::Killed)));
    assert_eq!(within(waiting).await.unwrap().map(|incarnation| incarnation.0), Ok(2));
}

#[tokio::test]
async fn a_reply_kept_in_the_state_is_answered_when_the_actor_ends() {
    let rig = Rig::start(&with_mailbox(8, "wait"), &[]).await;
    let (probe, asking) = (rig.probe("/a"), rig.probe("/a"));
    let kept = rig.system.env().work.spawn(async move { asking.call(Ask::Keep, LONG).await });
    support::eventually(|| rig.view("/a").handled == 1).await;
    probe.cast(Ask::End(End::Error, None)).await.unwrap();
    assert_eq!(within(kept).await.unwrap(), Err(gone(ExitReason::Error("told to".to_owned()))));
}

#[tokio::test]
async fn a_dropped_reply_is_an_answer_and_the_actor_lives_on() {
    let rig = Rig::start(&with_mailbox(8, "wait"), &[]).await;
    let answer = rig.probe("/a").call(Ask::Forget, LONG).await;
    assert!(matches!(answer, Err(CallError::Gone(ExitReason::Error(why))) if why.contains("dropped")));
    assert_eq!(rig.who("/a").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline() {
    let (_rig, probe, _gate) = held(&with_mailbox(8, "wait")).await;
    assert_eq!(probe.call(Ask::Who, Duration::from_millis(30)).await, Err(CallError::Timeout));
}

#[tokio::test]
async fn a_reply_may_be_refused() {
    let (reply, answer) = tokio::sync::oneshot::channel();
    Reply::<u8>::new(move |result| reply.send(result).unwrap()).refuse(CallError::NoConnection);
    assert_eq!(answer.await.unwrap(), Err(CallError::NoConnection));
}

#[tokio::test]
async fn a_lookup_of_another_message_type_is_refused() {
    let rig = Rig::start(&with_mailbox(8, "wait"), &[]).await;
    let wrong = rig.system.lookup::<u8>(&"/a".parse().unwrap());
    assert!(matches!(wrong, Err(CallError::Rejected(why)) if why.contains("u8")));
    assert!(matches!(rig.system.lookup::<Ask>(&"/b".parse().unwrap()), Err(CallError::NoProc)));
    assert!(matches!(rig.system.lookup::<Ask>(&"/".parse().unwrap()), Err(CallError::NoProc)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_ends_while_the_actor_crashes_all_the_time() {
    let rig = Rig::start(&with_mailbox(4, "wait").replace("1000", "1000000"), &[]).await;
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let probe = rig.probe("/a");
            rig.system.env().work.spawn(async move {
                for turn in 0..200_u32 {
                    if turn % 20 == caller {
                        let answer = probe.call(|reply| Ask::End(End::Error, Some(reply)), LONG).await;
                        assert_eq!(answer, Err(gone(ExitReason::Error("told to".to_owned()))));
                    } else {
                        probe.call(Ask::Who, LONG).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        within(caller).await.unwrap();
    }
    assert_eq!(rig.who("/a").await, 81, "one restart per crash");
}

/// Four senders, an actor that is crashed and killed all the time: everything arrives once and in each sender's order.
async fn nothing_is_lost(capacity: usize) {
    const SENDERS: u64 = 4;
    const EACH: u64 = 400;
    let rig = Rig::start(&with_mailbox(capacity, "wait").replace("1000", "1000000"), &[]).await;
    let work = &rig.system.env().work;
    let send = |sender: u64| {
        let probe = rig.probe("/a");
        work.spawn(async move {
            for number in 0..EACH {
                probe.cast(Ask::Note(sender * EACH + number)).await.unwrap();
                if number % 40 == sender {
                    probe.cast(Ask::End(End::Error, None)).await.unwrap();
                }
            }
        })
    };
    let senders: Vec<_> = (0..SENDERS).map(send).collect();
    let system = rig.system.clone();
    let killer = work.spawn(async move {
        for turn in 0..60 {
            let _ = system.kill(&"/a".parse::<ActorPath>().unwrap()).await; // between two incarnations there is nothing to kill
            for _ in 0..turn % 20 {
                tokio::task::yield_now().await; // at another moment each time
            }
        }
    });
    for sender in senders {
        within(sender).await.unwrap();
    }
    within(killer).await.unwrap();
    let noted = noted(&rig.probe("/a")).await;
    for sender in 0..SENDERS {
        let of_sender = Vec::from_iter(noted.iter().copied().filter(|number| number / EACH == sender));
        assert_eq!(of_sender, Vec::from_iter(sender * EACH..(sender + 1) * EACH), "capacity {capacity}");
    }
}

#[tokio::test]
async fn no_message_is_lost_to_crashes_and_kills_on_one_thread() {
    for capacity in [1, 2, 7, 64, 1024] {
        nothing_is_lost(capacity).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_message_is_lost_to_crashes_and_kills_on_many_threads() {
    for capacity in [1, 2, 7, 64, 1024] {
        nothing_is_lost(capacity).await;
    }
}
