//! Mailboxes, references and links: X2, X8, X9, X10, X13, X14 and X21.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use covenant_env::Env;
use covenant_runtime::{Behaviour, Context, Exit, Ref, Reply, StartError, System};
use covenant_types::{ActorPath, CallError, ExitReason, Incarnation};

use super::support::{self, Ask, End, Gate, Journal, LONG, Rig, eventually, gone, inside, probes, within};

const MANY: &str = "intensity = 1000";

fn path(text: &str) -> ActorPath {
    text.parse().unwrap()
}

fn mailbox(capacity: usize, overflow: &str) -> String {
    format!("mailbox = {{ capacity = {capacity}, overflow = \"{overflow}\" }}")
}

/// Holds `/{id}` in a handler, so that messages wait.
async fn hold(rig: &Rig, at: &str) -> (Ref<Ask>, Arc<Gate>) {
    let (probe, gate) = (rig.probe(at), Gate::new());
    probe.cast(Ask::Hold(Arc::clone(&gate))).await.unwrap();
    gate.entered().await;
    (probe, gate)
}

#[tokio::test]
async fn x2_references_survive_restarts() {
    let mut rig = Rig::start(&probes(MANY, &[("a", ""), ("b", "")]), &[]).await;
    let (first, copy) = (rig.probe("/a"), rig.probe("/a").clone());
    let of_b = rig.probe("/a");
    for incarnation in 1..20_u32 {
        assert_eq!(first.call(Ask::Who, LONG).await, Ok(Incarnation(incarnation)));
        // Watched and killed by the same name, it is the one that runs.
        let monitor = rig.system.monitor(&path("/a"));
        if incarnation.is_multiple_of(2) {
            rig.kill("/a").await;
        } else {
            copy.cast(Ask::End(End::Stop, None)).await.unwrap();
        }
        let down = within(monitor).await;
        assert_eq!(down.incarnation, Some(Incarnation(incarnation)));
        assert_eq!(rig.start_of("/a").await, incarnation + 1);
        // Another actor had the reference before, and uses it now.
        let (sender, receiver) = sync_channel(1);
        let asked = of_b.clone();
        inside(rig.probe("/b"), move |ctx| {
            let sent = asked.try_cast(Ask::Beside(Box::new(move |ctx| sender.send(ctx.incarnation()).unwrap())));
            assert_eq!((sent, ctx.incarnation().0), (Ok(()), 1));
        })
        .await;
        assert_eq!(first.call(Ask::Who, LONG).await, Ok(Incarnation(incarnation + 1)));
        assert_eq!(receiver.try_recv(), Ok(Incarnation(incarnation + 1)));
    }
}

#[test]
fn x8_stopping_with_a_full_mailbox_does_not_spin() {
    // Virtual time passes only when nothing is ready to run: whoever spins holds it, and the deadline here is a real one.
    let (sender, ended) = sync_channel(1);
    let case = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let keys = format!("shutdown = \"1h\"; {}", mailbox(2, "wait"));
            let rig = Rig::start(&probes("", &[("a", &keys)]), &[]).await;
            let (probe, gate) = hold(&rig, "/a").await;
            let cast = |n| {
                let probe = probe.clone();
                rig.system.env().work.spawn(async move { probe.cast(Ask::Note(n)).await })
            };
            let senders: Vec<_> = (0..4).map(cast).collect();
            let system = rig.system.clone();
            let stop = rig.system.env().work.spawn(async move { system.stop(Duration::from_secs(7200)).await });
            // Half of the time it may take, with the mailbox full and two waiting for room.
            tokio::time::sleep(Duration::from_secs(1800)).await;
            assert!(!stop.is_finished());
            gate.open();
            assert!(stop.await.unwrap().in_time);
            for sender in senders {
                let sent = sender.await.unwrap();
                assert!(matches!(sent, Ok(()) | Err(CallError::Gone(_) | CallError::MailboxFull)), "{sent:?}");
            }
        });
        sender.send(()).unwrap();
    });
    assert!(ended.recv_timeout(LONG).is_ok(), "something spins, or the case failed");
    case.join().unwrap();
}

#[tokio::test(start_paused = true)]
async fn x9_a_full_mailbox_never_fails_the_sender() {
    for overflow in ["wait", "fail", "drop-newest", "drop-oldest"] {
        let full = mailbox(1, overflow);
        let rig = Rig::start(&probes("", &[("full", &full), ("sender", "")]), &[]).await;
        let (probe, gate) = hold(&rig, "/full").await;
        probe.try_cast(Ask::Note(0)).unwrap_or_else(|error| assert_eq!(error, CallError::MailboxFull));
        let to = probe.clone();
        let sent = inside(rig.probe("/sender"), move |_| (0..5).map(|n| to.try_cast(Ask::Note(n))).collect::<Vec<_>>());
        for sent in sent.await {
            assert!(matches!(sent, Ok(()) | Err(CallError::MailboxFull)), "{overflow}: a value, {sent:?}");
        }
        // Also one that waits for room in its handler.
        let (to, (tell, told)) = (probe.clone(), tokio::sync::oneshot::channel());
        let beside = inside(rig.probe("/sender"), move |ctx| {
            ctx.spawn(async move { drop(tell.send(to.cast(Ask::Note(9)).await)) })
        });
        beside.await.unwrap();
        let told = within(told).await.unwrap();
        assert!(matches!(told, Ok(()) | Err(CallError::MailboxFull)), "{overflow}: {told:?}");
        gate.open();
        assert_eq!(rig.who("/sender").await, 1, "{overflow}");
        assert_eq!(rig.view("/full").incarnation.0, 1, "{overflow}");
    }
}

#[tokio::test]
async fn x10_control_is_never_dropped() {
    for overflow in ["wait", "fail", "drop-newest", "drop-oldest"] {
        let full = mailbox(1, overflow);
        let mut rig = Rig::start(&probes(MANY, &[("full", &full), ("other", "")]), &[]).await;
        inside(rig.probe("/full"), |ctx| ctx.monitor(&path("/other")).map(drop)).await.unwrap();
        let (probe, gate) = hold(&rig, "/full").await;
        for n in 0..3 {
            let _dropped_or_refused = probe.try_cast(Ask::Note(n));
        }
        rig.end("/other", End::Panic).await;
        assert_eq!(rig.start_of("/other").await, 2);
        gate.open();
        let heard = "full by monitor: /other #1 panic: told to";
        eventually(|| rig.journal.lines().iter().any(|line| line == heard)).await;
        // A kill needs no room either, and a stop.
        let (probe, _held) = hold(&rig, "/full").await;
        while probe.try_cast(Ask::Note(7)).is_ok() && overflow != "drop-newest" && overflow != "drop-oldest" {}
        rig.kill("/full").await;
        assert_eq!(rig.start_of("/full").await, 2, "{overflow}");
        assert!(within(rig.system.stop(LONG)).await.in_time, "{overflow}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn x13_mutual_links_do_not_deadlock() {
    const TURNS: u32 = 5_000;
    let mut rig = Rig::start(&probes(MANY, &[("a", ""), ("b", "")]), &[]).await;
    let both = Arc::new(Barrier::new(2));
    let tie = |from: &str, to: &'static str| {
        let (both, probe, to) = (Arc::clone(&both), rig.probe(from), path(to));
        inside(probe, move |ctx| {
            both.wait();
            for _ in 0..TURNS {
                ctx.link(&to).unwrap();
                ctx.unlink(&to);
            }
            ctx.link(&to).unwrap();
        })
    };
    let (of_a, of_b) = (tie("/a", "/b"), tie("/b", "/a"));
    within(async { tokio::join!(of_a, of_b) }).await;
    assert_eq!([rig.who("/a").await, rig.who("/b").await], [1, 1]);
    // They are linked, once, both ways.
    rig.end("/a", End::Panic).await;
    assert_eq!(rig.exit_of("/b").await, ExitReason::Panicked("told to".to_owned()));
    assert_eq!([rig.who("/a").await, rig.who("/b").await], [2, 2]);
}

/// Waits in its start until it is let go, then adds up.
struct Slow(Vec<u64>);

enum OfSlow {
    Note(u64),
    Noted(Reply<Vec<u64>>),
}

impl Behaviour for Slow {
    type Config = covenant_runtime::NoConfig;
    type Message = OfSlow;

    async fn start(_: Self::Config, ctx: &Context<Self>) -> Result<Self, StartError> {
        let gate: Arc<Gate> = ctx.resource()?;
        gate.hold().await;
        Ok(Self(Vec::new()))
    }

    async fn handle(&mut self, message: OfSlow, _: &Context<Self>) -> Result<(), Exit> {
        match message {
            OfSlow::Note(number) => self.0.push(number),
            OfSlow::Noted(reply) => reply.send(self.0.clone()),
        }
        Ok(())
    }
}

#[tokio::test]
async fn x14_a_tiny_mailbox_filled_before_start() {
    let gate = Gate::new();
    let main = format!("[[child]]\nid = \"a\"\nbehaviour = \"slow\"\n{}\n", mailbox(1, "wait"));
    let mut config = support::config(Env::for_test(7), &probes("", &[]), &[], &Arc::new(Journal::default()));
    config.registry.register::<Slow>("slow");
    config.resources.insert(Arc::clone(&gate));
    let system = System::start(config).await.unwrap();
    let child = support::tree(&main, &[]).children.remove(0);
    let starting = system.clone();
    let started = system.env().work.spawn(async move { starting.start_child(&ActorPath::root(), child).await });
    gate.entered().await;
    let slow: Ref<OfSlow> = system.lookup(&path("/a")).unwrap();
    let cast = |n| {
        let slow = slow.clone();
        async move { slow.cast(OfSlow::Note(n)).await }
    };
    // The first fills it, the others wait for room in it: nobody reads yet.
    let senders =
        [system.env().work.spawn(cast(0)), system.env().work.spawn(cast(1)), system.env().work.spawn(cast(2))];
    eventually(|| system.tree().find(&path("/a")).unwrap().mailbox.unwrap().depth == 1).await;
    assert_eq!(slow.try_cast(OfSlow::Note(9)), Err(CallError::MailboxFull));
    gate.open();
    within(started).await.unwrap().unwrap();
    for sender in senders {
        assert_eq!(within(sender).await.unwrap(), Ok(()));
    }
    let mut noted = slow.call(OfSlow::Noted, LONG).await.unwrap();
    noted.sort_unstable();
    assert_eq!(noted, [0, 1, 2]);
}

#[tokio::test]
async fn x21_mail_at_restart_has_an_exact_disposition() {
    let told = || "told to".to_owned();
    let ways = [
        (Some(End::Panic), ExitReason::Panicked(told())),
        (Some(End::Error), ExitReason::Error(told())),
        (Some(End::Normal), ExitReason::Normal),
        (Some(End::Shutdown), ExitReason::Shutdown),
        (None, ExitReason::Killed),
    ];
    for (how, reason) in ways {
        let rig = Rig::start(&probes(MANY, &[("a", &mailbox(4, "wait"))]), &[]).await;
        let spawn = |call: std::pin::Pin<Box<dyn Future<Output = Result<(), CallError>> + Send>>| {
            rig.system.env().work.spawn(call)
        };
        let probe = rig.probe("/a");
        let call = |message: fn(Reply<()>) -> Ask| {
            let probe = probe.clone();
            Box::pin(async move { probe.call(message, LONG).await })
        };
        let kept = spawn(call(Ask::Keep));
        eventually(|| rig.view("/a").handled == 1).await;
        let (in_hand, gate) = (probe.clone(), Gate::new());
        // What is in hand: it ends the actor, or is held while that is killed.
        let held = Arc::clone(&gate);
        let in_hand = match how {
            Some(how) => {
                probe.cast(Ask::Hold(Arc::clone(&gate))).await.unwrap();
                gate.entered().await;
                spawn(Box::pin(async move { in_hand.call(|reply| Ask::End(how, Some(reply)), LONG).await }))
            }
            None => {
                let call =
                    spawn(Box::pin(async move { in_hand.call(|reply| Ask::HoldReply(held, reply), LONG).await }));
                gate.entered().await;
                call
            }
        };
        let depth = |depth: usize| {
            let rig = &rig;
            async move { eventually(|| rig.view("/a").mailbox.unwrap().depth >= depth).await }
        };
        let before = usize::from(how.is_some());
        depth(before).await;
        // What waits in the mailbox: a cast and a call.
        probe.cast(Ask::Note(1)).await.unwrap();
        let asking = probe.clone();
        let waits = rig.system.env().work.spawn(async move { asking.call(Ask::Who, LONG).await });
        depth(before + 2).await;
        // What waits for room: more than there is.
        let blocked: Vec<_> = (2..6)
            .map(|n| {
                let probe = probe.clone();
                spawn(Box::pin(async move { probe.cast(Ask::Note(n)).await }))
            })
            .collect();
        match how {
            Some(_) => gate.open(),
            None => rig.kill("/a").await,
        }
        assert_eq!(within(in_hand).await.unwrap(), Err(gone(reason.clone())), "in hand, {how:?}");
        // An orderly end gives the state to `stop`, which may still answer; what that drops is told so.
        let dropped = ExitReason::Error("the request was dropped without a reply".to_owned());
        let of_state = if reason.is_orderly() { dropped } else { reason.clone() };
        assert_eq!(within(kept).await.unwrap(), Err(gone(of_state)), "kept in the state, {how:?}");
        assert_eq!(within(waits).await.unwrap(), Ok(Incarnation(2)), "a call that waited, {how:?}");
        for blocked in blocked {
            assert_eq!(within(blocked).await.unwrap(), Ok(()), "for room, {how:?}");
        }
        let mut noted = probe.call(Ask::Noted, LONG).await.unwrap();
        assert_eq!(noted[0], 1, "what waited comes first, {how:?}");
        noted.sort_unstable();
        assert_eq!(noted, [1, 2, 3, 4, 5], "casts are handled once each, {how:?}");
    }
}
