//! As many handlers that never yield as `work` has threads: the node answers, its tree is shown, and nobody gives it up.

#![expect(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use covenant_cluster::MemberState;
use covenant_env::{Clock, RealClock};
use covenant_node::Trees;
use covenant_runtime::{Behaviour, Context, Exit, NoConfig, Ref, StartError};
use covenant_types::{ActorPath, NodeName};
use serde_json::{Value, json};
use support::{Running, World, free_tcp, free_udp, get, post, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

/// Threads of the runtime that behaviours run on, and spinning handlers.
const WORK_THREADS: usize = 2;
/// How long the handlers spin at least: twice the time within which the loopback profile finds a crashed node.
const SPIN_FOR: Duration = Duration::from_secs(12);

/// How many handlers spin; [`RELEASED`] lets them go.
static SPINNING: AtomicUsize = AtomicUsize::new(0);
static RELEASED: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
struct Spinner;

#[derive(Debug)]
enum Message {
    Spin,
}

impl Behaviour for Spinner {
    type Config = NoConfig;
    type Message = Message;

    async fn start(_: NoConfig, _: &Context<Self>) -> Result<Self, StartError> {
        Ok(Self)
    }

    async fn handle(&mut self, message: Message, _: &Context<Self>) -> Result<(), Exit> {
        let Message::Spin = message;
        SPINNING.fetch_add(1, Ordering::SeqCst);
        while RELEASED.load(Ordering::SeqCst) == 0 {
            std::hint::spin_loop();
        }
        SPINNING.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Two runtimes for a node, as `covenant node run` has them, that end without waiting for what spins.
struct Runtimes([Option<Runtime>; 2]);

impl Runtimes {
    fn new() -> Self {
        Self(
            [2, WORK_THREADS]
                .map(|threads| Some(Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap())),
        )
    }
}

impl Drop for Runtimes {
    fn drop(&mut self) {
        RELEASED.store(1, Ordering::SeqCst);
        self.0.iter_mut().filter_map(Option::take).for_each(Runtime::shutdown_background);
    }
}

async fn boot(world: &World, name: &str, trees: Trees) -> (Running, Runtimes) {
    let runtimes = Runtimes::new();
    let [system, work] = &runtimes.0;
    let handles = [system, work].map(|runtime| runtime.as_ref().unwrap().handle().clone());
    let mut registry = covenant_node::registry();
    registry.register::<Spinner>("test.spinner");
    // Booted from its own runtime, as the program does it: what belongs to no other stays there.
    let booting = world.boot_on(name, trees, registry, Arc::new(RealClock::new()), handles);
    (booting.await.unwrap(), runtimes)
}

/// What a monitor without a name is told: status and text.
async fn probe(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn child<'a>(tree: &'a Value, path: &str) -> &'a Value {
    let children = tree["children"].as_array().unwrap();
    children.iter().find(|child| child["path"] == path).unwrap_or_else(|| panic!("no {path} in {tree}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_that_spin_on_every_thread_leave_probes_answered_trees_shown_and_nobody_down() {
    let world = World::new();
    let trees = world.dir("trees");
    std::fs::create_dir_all(&trees).unwrap();
    let spinner = |at: usize| format!("\n[[child]]\nid = \"spinner-{at}\"\nbehaviour = \"test.spinner\"\n");
    let hub = format!(
        "strategy = \"one_for_one\"\nintensity = {WORK_THREADS}\n{}",
        (0..WORK_THREADS).map(spinner).collect::<String>()
    );
    std::fs::write(trees.join("hub.toml"), hub).unwrap();
    world.make("hub-one", free_udp());
    let monitors = free_tcp();
    let config = world.dir("hub-one").join("node.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("[metrics]\n"), "{text}");
    std::fs::write(&config, text.replace("[metrics]\n", &format!("[metrics]\nlisten = \"{monitors}\"\n"))).unwrap();
    let (first, _first_runtimes) = boot(&world, "hub-one", Trees::folder(&trees)).await;
    let tower = world.joined(&first, "tower-two").await;
    let hub = NodeName::new("hub-one").unwrap();
    let state_of_hub =
        || tower.node().cluster().members().into_iter().find(|member| member.name == hub).map(|member| member.state);
    wait_for(|| state_of_hub() == Some(MemberState::Reachable)).await;
    assert_eq!(probe(monitors, "/readyz").await, (200, "ready\n".to_owned()));

    let paths: Vec<String> = (0..WORK_THREADS).map(|at| format!("/spinner-{at}")).collect();
    for path in &paths {
        let path: ActorPath = path.parse().unwrap();
        let spinner: Ref<Message> = first.node().system().lookup(&path).unwrap();
        spinner.cast(Message::Spin).await.unwrap();
    }
    wait_for(|| SPINNING.load(Ordering::SeqCst) == WORK_THREADS).await;

    let clock = RealClock::new();
    let mut looks = 0;
    while clock.now().0 < SPIN_FOR {
        assert_eq!(probe(monitors, "/livez").await, (200, "alive\n".to_owned()));
        assert_eq!(probe(monitors, "/readyz").await, (200, "ready\n".to_owned()), "nobody was killed yet");
        let tree = get(&first.socket(), "/v1/tree").await.unwrap();
        assert!(paths.iter().all(|path| child(&tree, path)["state"] == "running"), "{tree}");
        assert_eq!(state_of_hub(), Some(MemberState::Reachable), "after {looks} looks");
        let members = first.node().cluster().members();
        assert!(members.iter().all(|member| member.state == MemberState::Reachable), "{members:?}");
        assert_eq!(SPINNING.load(Ordering::SeqCst), WORK_THREADS, "they spin all the while");
        looks += 1;
    }

    // A kill cannot end them. That is said, and their successors wait.
    for path in &paths {
        post(&first.socket(), "/v1/actor/kill", &json!({ "path": path })).await.unwrap();
    }
    wait_for(|| first.node().system().unkillable() == WORK_THREADS).await;
    let (status, why) = probe(monitors, "/readyz").await;
    assert_eq!(status, 503);
    assert!(why.contains("2 actors were killed and did not end"), "{why}");
    let tree = get(&first.socket(), "/v1/tree").await.unwrap();
    assert!(paths.iter().all(|path| child(&tree, path)["state"] == "unkillable"), "{tree}");
    assert_eq!(state_of_hub(), Some(MemberState::Reachable));

    RELEASED.store(1, Ordering::SeqCst);
    wait_for(|| first.node().system().unkillable() == 0 && paths.iter().all(|path| first.runs(path))).await;
    let tree = get(&first.socket(), "/v1/tree").await.unwrap();
    assert!(paths.iter().all(|path| child(&tree, path)["incarnation"] == 2), "{tree}");
    assert_eq!(probe(monitors, "/readyz").await.0, 200);
    tower.stop().await;
    first.stop().await;
}
