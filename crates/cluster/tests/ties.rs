//! Monitors and links of actors with actors of other nodes, and orders to end one.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use covenant_cluster::{MemberState, OrderLog, OrderNoted, RemoteOrder};
use covenant_env::{Clock, RealClock};
use covenant_runtime::{
    Behaviour, Callers, Context, Down, DownReason, Exit, KillError, NoConfig, Ref, Remotable, Reply, StartError,
};
use covenant_transport::CloseCode;
use covenant_types::{CallError, ExitReason, Incarnation, NodeName, RemotePath, Role, WallTime};
use support::{AMPLE, Identity, Message, Node, eventually, path, registry};
use tokio::sync::{Notify, Semaphore};

#[derive(Debug, Remotable)]
#[remotable(name = "test.tied/1")]
enum Tied {
    /// Watches, and notes what it hears.
    Monitor(NodeName, Reply<()>),
    /// Watches by reference, and takes that away again.
    Forget(Ref<Tied>, Reply<()>),
    Link(String, Reply<()>),
    Unlink(String, Reply<()>),
    /// Hears of exits from now on.
    Trap(Reply<()>),
    Heard(Reply<Vec<String>>),
    End(String),
}

#[derive(Default)]
struct Tie(Vec<String>);

impl Behaviour for Tie {
    type Config = NoConfig;
    type Message = Tied;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        ctx.expose_to(Callers::any().ended_by(&[Role::Hub]));
        Ok(Self::default())
    }

    async fn handle(&mut self, message: Tied, ctx: &Context<Self>) -> Result<(), Exit> {
        let place = |text: &str| text.parse::<RemotePath>().map_err(Exit::error);
        match message {
            Tied::Monitor(node, reply) => {
                ctx.monitor(&RemotePath { node: Some(node), path: path("actor") }).map_err(Exit::error)?;
                reply.send(());
            }
            Tied::Forget(whom, reply) => {
                let monitor = ctx.monitor(&whom).map_err(Exit::error)?;
                ctx.demonitor(monitor);
                reply.send(());
            }
            Tied::Link(whom, reply) => {
                ctx.link(&place(&whom)?).map_err(Exit::error)?;
                reply.send(());
            }
            Tied::Unlink(whom, reply) => {
                ctx.unlink(&place(&whom)?);
                reply.send(());
            }
            Tied::Trap(reply) => {
                ctx.trap_exits(true);
                reply.send(());
            }
            Tied::Heard(reply) => reply.send(self.0.clone()),
            Tied::End(why) => return Err(Exit::error(why)),
        }
        Ok(())
    }

    async fn down(&mut self, down: Down, _: &Context<Self>) -> Result<(), Exit> {
        let node = down.node.as_ref().map_or("here", NodeName::as_str);
        let kind = if down.monitor.is_some() { "monitor" } else { "link" };
        let incarnation = down.incarnation.map_or(0, |incarnation| incarnation.0);
        self.0.push(format!("{kind} {node}:{}#{incarnation} {}", down.path, down.reason));
        Ok(())
    }
}

const CHILD: &str = "[[child]]\nid = \"tied\"\nbehaviour = \"tied\"\n";

async fn boot(identity: &mut Identity, seed: Option<&Node>) -> Node {
    let mut registry = registry();
    registry.register::<Tie>("tied");
    let seeds: Vec<_> = seed.map(Node::address).into_iter().collect();
    identity.boot_and(&seeds, CHILD, registry).await
}

async fn pair() -> (Node, Node) {
    let one = boot(&mut Identity::new("one"), None).await;
    let two = boot(&mut Identity::new("two"), Some(&one)).await;
    for node in [&one, &two] {
        node.until_reachable(&["one", "two"]).await;
    }
    (one, two)
}

fn tied(node: &Node) -> Ref<Tied> {
    node.system.lookup(&path("tied")).expect("the tree has it")
}

async fn ask(node: &Node, what: impl FnOnce(Reply<()>) -> Tied) {
    tied(node).call(what, AMPLE).await.expect("it answers");
}

fn incarnation(node: &Node, id: &str) -> Incarnation {
    node.system.tree().find(&path(id)).map_or(Incarnation(0), |view| view.incarnation)
}

fn watchers(node: &Node, id: &str) -> usize {
    node.system.ties(&path(id)).map_or(0, |ties| ties.monitored_from_outside)
}

fn links(node: &Node) -> Vec<String> {
    node.system.ties(&path("tied")).map_or_else(Vec::new, |ties| ties.links_abroad)
}

/// Waits until the actor has heard so much, and returns that.
async fn heard(node: &Node, count: usize) -> Vec<String> {
    let deadline = tokio::time::Instant::now() + support::PATIENCE;
    loop {
        let heard = tied(node).call(Tied::Heard, AMPLE).await.expect("it answers");
        if heard.len() >= count {
            return heard;
        }
        assert!(tokio::time::Instant::now() < deadline, "heard {heard:?} and no more");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Breaks the connection between the two and waits for the next one.
async fn reconnect(one: &Node, two: &Node) {
    let before = one.cluster.peer(&two.name()).expect("they are connected");
    one.cluster.transport().expect("it takes part").disconnect(two.cluster.me().id, "the test breaks it");
    let is_new = || one.cluster.peer(&two.name()).is_some_and(|peer| !peer.is_same_connection(&before));
    eventually("there is another connection", is_new).await;
    for node in [one, two] {
        node.until_reachable(&["one", "two"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_hears_in_down_of_the_end_of_another_nodes_actor() {
    let (one, two) = pair().await;
    ask(&one, |reply| Tied::Monitor(two.name(), reply)).await;
    ask(&one, |reply| Tied::Monitor(NodeName::new("never").unwrap(), reply)).await;
    assert_eq!(heard(&one, 1).await, ["monitor never:/actor#0 its node cannot be reached"]);
    eventually("it is held", || watchers(&two, "actor") == 1).await;
    two.system.kill(&path("actor")).await.unwrap();
    assert_eq!(heard(&one, 2).await[1], "monitor two:/actor#1 killed");

    // Of what it watched and forgot it hears nothing, and the other side holds nothing.
    let whom: Ref<Tied> = one.cluster.remote(&two.name(), &path("tied"));
    ask(&one, |reply| Tied::Forget(whom, reply)).await;
    ask(&one, |reply| Tied::Monitor(two.name(), reply)).await;
    eventually("the later one is held", || watchers(&two, "actor") == 1).await;
    eventually("the earlier one is not", || watchers(&two, "tied") == 0).await;
    // An incarnation that ends takes what it watched along.
    one.system.kill(&path("tied")).await.unwrap();
    eventually("nothing is held", || watchers(&two, "actor") == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_between_nodes_ends_each_with_the_others_reason() {
    let (one, two) = pair().await;
    let linked = |here: &Node, there: &Node| links(here).len() == 1 && links(there).len() == 1;
    ask(&one, |reply| Tied::Link("two:/tied".to_owned(), reply)).await;
    ask(&one, |reply| Tied::Link("two:/tied".to_owned(), reply)).await; // once more changes nothing
    eventually("both know", || linked(&one, &two)).await;
    tied(&two).cast(Tied::End("first".to_owned())).await.unwrap();
    eventually("who asked ended too", || incarnation(&one, "tied") == Incarnation(2)).await;
    eventually("the other is back", || incarnation(&two, "tied") == Incarnation(2)).await;

    // The other way, and who traps hears of it.
    ask(&two, Tied::Trap).await;
    ask(&one, |reply| Tied::Link("two:/tied".to_owned(), reply)).await;
    eventually("both know", || linked(&one, &two)).await;
    tied(&one).cast(Tied::End("second".to_owned())).await.unwrap();
    assert_eq!(heard(&two, 1).await, ["link one:/tied#2 error: second"]);
    assert_eq!(incarnation(&two, "tied"), Incarnation(2));

    // One that was taken away ends nobody, from whichever side.
    for (by, other, whom) in [(&one, &two, "two:/tied"), (&two, &one, "one:/tied")] {
        eventually("it runs", || incarnation(&one, "tied") == Incarnation(3)).await;
        ask(&one, |reply| Tied::Link("two:/tied".to_owned(), reply)).await;
        eventually("both know", || linked(&one, &two)).await;
        ask(by, |reply| Tied::Unlink(whom.to_owned(), reply)).await;
        eventually("the other knows", || links(other).is_empty()).await;
    }
    tied(&one).cast(Tied::End("third".to_owned())).await.unwrap();
    eventually("it is back", || incarnation(&one, "tied") == Incarnation(4)).await;
    assert_eq!(heard(&two, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_the_other_actor_does_not_allow_ends_who_asked_for_it() {
    let (one, two) = pair().await;
    ask(&one, Tied::Trap).await;
    ask(&one, |reply| Tied::Link("two:/actor".to_owned(), reply)).await;
    let heard_of = heard(&one, 1).await;
    assert!(
        heard_of[0].starts_with("link two:/actor#0 error: ") && heard_of[0].contains("not allowed"),
        "{heard_of:?}"
    );
    ask(&one, |reply| Tied::Link("two:/nobody".to_owned(), reply)).await;
    assert_eq!(heard(&one, 2).await[1], "link two:/nobody#0 there is no such actor");
    assert_eq!(two.system.ties(&path("actor")).unwrap().links_abroad, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ties_outlive_a_connection_that_breaks_and_fire_once() {
    let (one, two) = pair().await;
    ask(&one, Tied::Trap).await;
    ask(&one, |reply| Tied::Monitor(two.name(), reply)).await;
    ask(&one, |reply| Tied::Link("two:/tied".to_owned(), reply)).await;
    eventually("both are held", || watchers(&two, "actor") == 1 && links(&two).len() == 1).await;
    for _ in 0..3 {
        reconnect(&one, &two).await;
        // A tie that was said again over the new connection is held once.
        ask(&one, |reply| Tied::Monitor(NodeName::new("never").unwrap(), reply)).await;
    }
    assert!(heard(&one, 3).await.iter().all(|heard| heard.starts_with("monitor never")), "nothing fired");
    two.system.kill(&path("actor")).await.unwrap();
    assert_eq!(heard(&one, 4).await[3], "monitor two:/actor#1 killed");
    tied(&two).cast(Tied::End("now".to_owned())).await.unwrap();
    assert_eq!(heard(&one, 5).await[4], "link two:/tied#1 error: now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sleeper_keeps_its_ties_and_what_ended_meanwhile_is_told_when_it_wakes() {
    let (one, two) = pair().await;
    ask(&one, Tied::Trap).await;
    ask(&one, |reply| Tied::Monitor(two.name(), reply)).await;
    ask(&one, |reply| Tied::Link("two:/tied".to_owned(), reply)).await;
    let kept = one.cluster.monitor(&two.name(), &path("other")).unwrap();
    eventually("all are held", || {
        watchers(&two, "actor") == 1 && watchers(&two, "other") == 1 && links(&two).len() == 1
    })
    .await;
    two.cluster.sleep(WallTime(RealClock::new().wall().0 + 600)).await.unwrap();
    one.until_state(&two.name(), MemberState::Asleep).await;
    let asked_of_a_sleeper = one.cluster.monitor(&two.name(), &path("tiny")).unwrap();
    two.system.kill(&path("actor")).await.unwrap();
    assert_eq!(heard(&one, 0).await, [""; 0], "nobody knows yet");

    two.cluster.wake().await;
    one.until_reachable(&["one", "two"]).await;
    assert_eq!(heard(&one, 1).await, ["monitor two:/actor#1 killed"]);
    eventually("what was asked meanwhile is held", || watchers(&two, "tiny") == 1).await;
    for id in ["other", "tiny"] {
        two.system.kill(&path(id)).await.unwrap();
    }
    for monitor in [kept, asked_of_a_sleeper] {
        let down = tokio::time::timeout(support::PATIENCE, monitor).await.expect("it fires");
        assert_eq!((down.reason, down.incarnation), (DownReason::Exited(ExitReason::Killed), Some(Incarnation(1))));
    }
    assert_eq!(links(&one), ["two:/tied"], "the link holds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_or_starts_again_breaks_its_ties_on_both_sides() {
    let one = boot(&mut Identity::new("one"), None).await;
    let mut second = Identity::new("two");
    let two = boot(&mut second, Some(&one)).await;
    for node in [&one, &two] {
        node.until_reachable(&["one", "two"]).await;
    }
    for asker in [&one, &two] {
        ask(asker, Tied::Trap).await;
    }
    ask(&one, |reply| Tied::Monitor(two.name(), reply)).await;
    ask(&two, |reply| Tied::Link("one:/tied".to_owned(), reply)).await;
    eventually("both are held", || watchers(&two, "actor") == 1 && links(&one).len() == 1).await;
    let name = two.name();
    two.kill();
    // Its next boot is there before anybody held it for down.
    let two = boot(&mut second, Some(&one)).await;
    let mut all = heard(&one, 2).await;
    all.sort();
    assert_eq!(all, ["link two:/tied#0 its node cannot be reached", "monitor two:/actor#0 its node cannot be reached"]);
    one.until_reachable(&["one", "two"]).await;

    ask(&one, |reply| Tied::Monitor(name.clone(), reply)).await;
    eventually("it is held", || watchers(&two, "actor") == 1).await;
    two.kill();
    one.until_state(&name, MemberState::Down).await;
    assert_eq!(heard(&one, 3).await[2], "monitor two:/actor#0 its node cannot be reached");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_and_kill_act_on_the_other_nodes_actor_by_role_and_leave_the_connection_alone() {
    let hub = boot(&mut Identity::new("hub"), None).await;
    let other = boot(&mut Identity::new("other"), Some(&hub)).await;
    let tower = boot(&mut Identity::of_role("tower", Role::Tower), Some(&hub)).await;
    for node in [&hub, &other, &tower] {
        node.until_reachable(&["hub", "other", "tower"]).await;
    }
    let on_hub = |from: &Node| -> Ref<Tied> { from.cluster.remote(&hub.name(), &path("tied")) };
    let before = other.cluster.peer(&hub.name()).unwrap();

    other.system.kill(&on_hub(&other)).await.unwrap();
    eventually("the next one runs", || incarnation(&hub, "tied") == Incarnation(2)).await;
    other.system.stop_actor(&on_hub(&other)).await.unwrap();
    eventually("the next one runs", || incarnation(&hub, "tied") == Incarnation(3)).await;
    assert_eq!(hub.counts.of("covenant_remoting_orders_total"), 2);

    for refused in [tower.system.kill(&on_hub(&tower)).await, tower.system.stop_actor(&on_hub(&tower)).await] {
        let Err(KillError::Abroad { why: CallError::Rejected(why), .. }) = refused else { panic!("{refused:?}") };
        assert!(why.contains("not allowed") && why.contains("tower"), "{why}");
    }
    // One that allows nobody to end it, and one that is not there.
    let actor: Ref<Message> = other.cluster.remote(&hub.name(), &path("actor"));
    assert!(matches!(other.system.kill(&actor).await, Err(KillError::Abroad { why: CallError::Rejected(_), .. })));
    let nobody: RemotePath = "hub:/nobody".parse().unwrap();
    assert!(matches!(other.system.kill(&nobody).await, Err(KillError::Abroad { why: CallError::NoProc, .. })));

    assert_eq!((incarnation(&hub, "tied"), incarnation(&hub, "actor")), (Incarnation(3), Incarnation(1)));
    let echo = actor.call(|reply| Message::Echo(vec![1], reply), AMPLE).await;
    assert_eq!(echo, Ok(vec![1]));
    assert!(other.cluster.peer(&hub.name()).unwrap().is_same_connection(&before), "the connection is the same");
    // A path of its own node, named in full, is an actor here.
    let own: RemotePath = "hub:/tied".parse().unwrap();
    hub.system.kill(&own).await.unwrap();
    eventually("the next one runs", || incarnation(&hub, "tied") == Incarnation(4)).await;
}

/// Writes orders down when it is let.
struct SlowLog {
    begun: Notify,
    let_write: Arc<Semaphore>,
    written: Arc<Mutex<Vec<RemoteOrder>>>,
}

impl OrderLog for SlowLog {
    fn note(&self, order: RemoteOrder) -> OrderNoted {
        self.begun.notify_one();
        let (let_write, written) = (Arc::clone(&self.let_write), Arc::clone(&self.written));
        Box::pin(async move {
            let _permit = let_write.acquire_owned().await.map_err(|closed| closed.to_string())?;
            written.lock().expect("no test panics with it").push(order);
            Ok(())
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_written_down_though_its_connection_was_closed_behind_it() {
    let hub = boot(&mut Identity::new("hub"), None).await;
    let other = boot(&mut Identity::new("other"), Some(&hub)).await;
    for node in [&hub, &other] {
        node.until_reachable(&["hub", "other"]).await;
    }
    let (let_write, written) = (Arc::new(Semaphore::new(0)), Arc::default());
    let log = Arc::new(SlowLog { begun: Notify::new(), let_write, written: Arc::clone(&written) });
    hub.cluster.set_order_log(Arc::clone(&log) as Arc<dyn OrderLog>);
    let before = hub.cluster.peer(&other.name()).unwrap();
    let ordered = async {
        let tied: Ref<Tied> = other.cluster.remote(&hub.name(), &path("tied"));
        other.system.kill(&tied).await
    };
    let closed_behind_it = async {
        log.begun.notified().await;
        before.close(CloseCode::Done, "the test says so");
        before.closed().await;
    };
    let (answer, ()) = tokio::join!(ordered, closed_behind_it);
    assert!(matches!(answer, Err(KillError::Abroad { why: CallError::NoConnection, .. })), "{answer:?}");
    eventually("the session is gone", || {
        hub.cluster.peer(&other.name()).is_none_or(|peer| !peer.is_same_connection(&before))
    })
    .await;
    log.let_write.add_permits(1);
    eventually("it is written", || written.lock().unwrap().len() == 1).await;
    let order: RemoteOrder = written.lock().unwrap()[0].clone();
    assert_eq!((order.from.name, order.allowed, order.outcome), (other.name(), true, Ok(())));
    assert_eq!(order.path, path("tied"));
}
