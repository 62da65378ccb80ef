//! How actors end: case 58, X1, X5, X15, X19 and X20.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use covenant_env::Env;
use covenant_runtime::{ActorState, Behaviour, Context, Exit, Reply, RuntimeEvent, StartError, System};
use covenant_types::{ActorPath, CallError, ExitReason, Incarnation};
use serde::Deserialize;

use super::support::{self, Ask, End, Gate, Journal, LONG, Rig, env_with_workers, eventually, inside, probes, within};

fn path(text: &str) -> ActorPath {
    text.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn child_unlink() {
    // A child that gives up every tie it has, and one that waits for ever in its stop: neither can hang its supervisor.
    let keys = "shutdown = \"2s\"; config = { stop = \"hang\" }";
    let rig = Rig::start(&probes("", &[("a", keys), ("b", "config = { link = \"/a\" }")]), &[]).await;
    inside(rig.probe("/a"), |ctx| ctx.unlink(&path("/b"))).await;
    inside(rig.probe("/b"), |ctx| ctx.unlink(&path("/a"))).await;
    let mail = rig.probe("/a");
    for n in 0..100 {
        mail.cast(Ask::Note(n)).await.unwrap();
    }
    let began = tokio::time::Instant::now();
    within(rig.system.terminate_child(&path("/a"))).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 2, "its time, and no more");
    assert_eq!((rig.state("/a"), rig.who("/b").await), (ActorState::Undefined, 1));
    assert!(matches!(mail.call(Ask::Who, LONG).await, Err(CallError::Gone(_))), "and its mailbox is empty and closed");
    assert_eq!(rig.view("/a").mailbox.unwrap().depth, 0);
}

/// Holds a port, and a task that holds it too.
struct Port {
    _listener: Arc<TcpListener>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PortConfig {
    port: u16,
}

enum OfPort {
    Who(Reply<Incarnation>),
    Panic,
    Error,
}

impl Behaviour for Port {
    type Config = PortConfig;
    type Message = OfPort;

    async fn start(config: PortConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port)).map_err(StartError::failed)?;
        let listener = Arc::new(listener);
        let in_task = Arc::clone(&listener);
        ctx.spawn(async move {
            let _held = in_task;
            std::future::pending().await
        })
        .map_err(StartError::failed)?;
        Ok(Self { _listener: listener })
    }

    async fn handle(&mut self, message: OfPort, ctx: &Context<Self>) -> Result<(), Exit> {
        match message {
            OfPort::Panic => panic!("told to"),
            OfPort::Error => Err(Exit::error("told to")),
            OfPort::Who(reply) => {
                reply.send(ctx.incarnation());
                Ok(())
            }
        }
    }

    async fn stop(self, _: &ExitReason, _: &Context<Self>) {
        // Long enough for a successor that does not wait.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn x1_next_start_after_stop_and_cleanup() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let main = format!(
        "strategy = \"one_for_all\"\nintensity = 1000\n[[child]]\nid = \"a\"\nbehaviour = \"port\"\nconfig = {{ port = \
         {free} }}\n{}",
        probes("", &[("b", "")])
    );
    let journal = Arc::new(Journal::default());
    let mut config = support::config(Env::for_test(7), &main, &[], &journal);
    config.registry.register::<Port>("port");
    let system = System::start(config).await.unwrap();
    let mut failed = system.events();
    let port = system.lookup::<OfPort>(&path("/a")).unwrap();
    for round in 0..20_u32 {
        let who = port.call(OfPort::Who, LONG).await.unwrap().0;
        match round % 4 {
            0 => port.cast(OfPort::Panic).await.unwrap(),
            1 => port.cast(OfPort::Error).await.unwrap(),
            2 => system.kill(&path("/a")).await.unwrap(),
            // As a bystander: it is stopped in order, and started again with the one that crashed.
            _ => system.kill(&path("/b")).await.unwrap(),
        }
        let next = || system.tree().find(&path("/a")).is_some_and(|view| view.incarnation.0 > who);
        eventually(next).await;
    }
    while let Ok(event) = failed.try_recv() {
        assert!(!matches!(event, RuntimeEvent::StartFailed { .. }), "the port was free each time: {event:?}");
    }
    assert_eq!(port.call(OfPort::Who, LONG).await.unwrap().0, 21);
    assert_eq!(system.lookup::<OfPort>(&path("/a")).unwrap().call(OfPort::Who, LONG).await.unwrap().0, 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn x5_an_old_exit_is_ignored() {
    let keys = "allow_overlap = true; kill_grace = \"20ms\"";
    let mut rig = Rig::start(&probes("intensity = 1", &[("a", keys), ("b", "")]), &[]).await;
    let gate = Gate::new();
    rig.probe("/a").cast(Ask::Spin(Arc::clone(&gate))).await.unwrap();
    gate.entered().await;
    rig.kill("/a").await;
    assert_eq!(rig.start_of("/a").await, 2, "beside the one that spins");
    gate.open();
    eventually(|| rig.system.unkillable() == 0).await;
    assert_eq!([rig.who("/a").await, rig.who("/b").await], [2, 1], "the end of the first is not the second's");
    assert_eq!(rig.view("/a").restarts, 1);
}

#[tokio::test]
async fn x15_stop_is_not_run_on_kill() {
    let mut rig = Rig::start(&probes("strategy = \"one_for_all\"; intensity = 9", &[("a", ""), ("b", "")]), &[]).await;
    rig.journal.clear();
    rig.kill("/b").await;
    assert_eq!(rig.start_of("/b").await, 2);
    assert_eq!(rig.journal.lines(), ["end b", "stop a shutdown", "end a", "start a", "start b"]);
    rig.journal.clear();
    assert!(rig.system.stop(LONG).await.in_time);
    assert_eq!(rig.journal.lines(), ["stop b shutdown", "end b", "stop a shutdown", "end a"]);
    let brutal = Rig::start(&probes("", &[("a", "shutdown = \"brutal_kill\"")]), &[]).await;
    brutal.system.stop(LONG).await;
    assert_eq!(brutal.journal.lines(), ["start a", "end a"]);
}

#[tokio::test]
async fn x19_a_forged_exit_is_rejected() {
    // Exits are told by a notice that only an incarnation has: there is no message that could be forged. What remains are
    // the ends of others at the same path, in another system, and tasks that end within an actor.
    let tree = probes("intensity = 0", &[("a", ""), ("b", "")]);
    let (here, mut there) = (Rig::start(&tree, &[]).await, Rig::start(&tree, &[]).await);
    inside(here.probe("/a"), |ctx| ctx.spawn(async { panic!("told to, in a task") })).await.unwrap();
    there.end("/a", End::Panic).await;
    assert_eq!(there.exit_of("/a").await, ExitReason::Panicked("told to".to_owned()));
    within(there.system.ended()).await;
    // A supervisor that forgives nothing still runs, with the same two.
    assert_eq!([here.who("/a").await, here.who("/b").await], [1, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x20_a_spinning_handler_is_unkillable_and_alone() {
    let (env, work) = env_with_workers(2);
    let tree = probes("", &[("a", "kill_grace = \"20ms\""), ("b", "")]);
    let mut rig = Rig::start_in(env, &tree, &[]).await.unwrap();
    let gate = Gate::new();
    rig.probe("/a").cast(Ask::Spin(Arc::clone(&gate))).await.unwrap();
    gate.entered().await;
    rig.kill("/a").await;
    rig.wait_for(|event| matches!(event, RuntimeEvent::Unkillable { path, .. } if path.as_str() == "/a")).await;
    rig.until("/a", ActorState::Unkillable).await;
    assert_eq!((rig.system.unkillable(), rig.who("/b").await), (1, 1));
    gate.open();
    assert_eq!(rig.exit_of("/a").await, ExitReason::Killed);
    assert_eq!(rig.start_of("/a").await, 2, "when it ends after all, policy applies");
    assert_eq!((rig.who("/a").await, rig.who("/b").await, rig.system.unkillable()), (2, 1, 0));
    rig.system.stop(LONG).await;
    work.shutdown_background();
}
