//! Nodes with a valid certificate that lie. Whatever they do, it is they who bear it: they are named, and the others neither
//! lose a call nor think less of each other.

mod support;

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use covenant_cluster::fuzz::own_record_frame;
use covenant_cluster::{MemberEvent, MemberState};
use covenant_runtime::Remotable;
use covenant_transport::{Peer, Plane, Transport};
use covenant_types::{BootEpoch, NodeId};
use support::{AMPLE, Identity, Message, Node, PATIENCE, deaf, eventually, pair};
use tokio::sync::{Mutex, MutexGuard, broadcast};

/// Each of these takes all of a machine that it is given, and what is measured is what it takes from honest nodes of its own
/// cluster: not from those of the next test.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Two honest nodes that see each other, and a liar that is connected to the first.
struct Scene {
    one: Node,
    two: Node,
    told: [broadcast::Receiver<MemberEvent>; 2],
    liar: Identity,
    transport: Transport,
    peer: Peer,
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    async fn new() -> Self {
        let alone = ONE_AT_A_TIME.lock().await;
        let (one, two) = pair().await;
        let told = [one.cluster.events(), two.cluster.events()];
        let liar = Identity::new("liar");
        let (transport, peer) = deaf::connect(&liar, &one).await;
        let scene = Self { one, two, told, liar, transport, peer, _alone: alone };
        // It is a member as others are: only then is it heard at all.
        let mut feed = scene.peer.open_uni(Plane::Feed).await.expect("the stream opens");
        feed.write_frame(&scene.record(1)).await.expect("it is heard");
        scene
            .one
            .until("the liar is a member", |members| members.iter().any(|member| member.name == scene.liar.name))
            .await;
        scene
    }

    /// What the liar says of itself.
    fn record(&self, sequence: u64) -> Vec<u8> {
        own_record_frame(&self.liar.key, &self.liar.name, BootEpoch(0), sequence)
    }

    fn id(&self) -> NodeId {
        self.liar.key.node_id()
    }

    fn is_named(&self, why: &str) -> bool {
        self.one
            .cluster
            .misbehaving()
            .iter()
            .any(|it| it.name == self.liar.name && it.node == self.id() && it.why == why)
    }

    /// Lets the liar do it again and again until it is named for it.
    async fn lies_until_named<F: Future<Output = ()>>(&self, why: &str, mut lie: impl FnMut() -> F) {
        let lying = async {
            while !self.is_named(why) {
                lie().await;
                tokio::task::yield_now().await;
            }
        };
        let named = tokio::time::timeout(PATIENCE, lying).await;
        assert!(named.is_ok(), "never named {why}: {:?}", self.one.cluster.misbehaving());
    }

    /// The others work with each other, and never thought less of each other.
    async fn harmed_nobody(mut self) {
        for (from, to) in [(&self.one, &self.two), (&self.two, &self.one)] {
            let answer = from.actor(&to.name(), "actor").call(|reply| Message::Echo(vec![3], reply), AMPLE).await;
            assert_eq!(answer, Ok(vec![3]), "{} asks {}", from.name(), to.name());
        }
        let honest = [self.one.name(), self.two.name()];
        let mut named = false;
        for told in &mut self.told {
            while let Ok(event) = told.try_recv() {
                match event {
                    MemberEvent::Changed(view) if honest.contains(&view.name) => {
                        assert_eq!(view.state, MemberState::Reachable, "{}", view.name);
                    }
                    MemberEvent::Quarantined { node, why } => {
                        assert_eq!(node, self.liar.key.node_id(), "an honest node was named {why}");
                        named = true;
                    }
                    MemberEvent::Changed(_)
                    | MemberEvent::SchemaDiffers { .. }
                    | MemberEvent::OwnEpochRaised { .. }
                    | MemberEvent::OwnEpochBehind { .. } => {}
                    MemberEvent::Doubled { node, at } => panic!("{node} is one process, and not two: {at:?}"),
                }
            }
        }
        assert!(named, "nobody was told");
        assert_eq!(self.two.cluster.misbehaving(), [], "who was not lied to names nobody");
    }
}

fn put_identity(packet: &mut BytesMut, node: NodeId, epoch: u64, bump: u32) {
    packet.put_slice(&node.0);
    packet.put_u64(epoch);
    packet.put_u32(bump);
}

const GOSSIP: u8 = 8;
const TURN_UNDEAD: u8 = 10;
const DOWN: u8 = 2;

/// A membership datagram with one statement: that `subject` is down.
fn says(from: (NodeId, u64), to: &Node, kind: u8, subject: (NodeId, u64, u32)) -> Bytes {
    let mut packet = BytesMut::new();
    // Of the flat pool.
    packet.put_slice(&[1, 1, 0, 0]);
    packet.put_slice(&[1, kind]);
    put_identity(&mut packet, from.0, from.1, 0);
    packet.put_u16(0);
    put_identity(&mut packet, to.cluster.me().id, to.cluster.me().epoch.0, 0);
    if kind == GOSSIP {
        packet.put_u16(1);
        put_identity(&mut packet, subject.0, subject.1, subject.2);
        packet.put_u16(0);
        packet.put_u8(DOWN);
    }
    packet.freeze()
}

/// A frame of an actor lane: its length, its kind, no flags.
fn frame(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = [&[&[kind, 0][..]], parts].concat().concat();
    let length = u32::try_from(body.len()).expect("a short frame");
    [&length.to_be_bytes()[..], &body].concat()
}

/// Gives `/id` the number 0, for messages of this type.
fn name(id: &str, type_name: &str) -> Vec<u8> {
    let path = format!("/{id}");
    let length = u16::try_from(path.len()).expect("a short path").to_be_bytes();
    frame(1, &[&[0; 4], &Message::schema().0, &length, path.as_bytes(), type_name.as_bytes()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_datagrams_costs_its_sender_its_own_datagrams_and_nobody_elses() {
    let scene = Scene::new().await;
    scene
        .lies_until_named("flooding", || async {
            for _ in 0..64 {
                let _full = scene.peer.send_datagram(Bytes::from_static(&[7; 900]));
            }
        })
        .await;
    assert!(scene.one.counts.of("covenant_cluster_inbox_dropped_total") > 0);
    assert!(scene.peer.is_open(), "a flood is borne");
    scene.harmed_nobody().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_feeds_waits_for_itself_and_is_named() {
    let scene = Scene::new().await;
    let mut feed = scene.peer.open_uni(Plane::Feed).await.expect("the stream opens");
    // Small ones: named long before the measure of bytes makes it wait for minutes.
    let frames = [0, 0, 0, 9, 4, 1, 2, 3, 4, 5, 6, 7, 8].repeat(1000);
    let flooding = async { while feed.write_all(&frames).await.is_ok() {} };
    let named = scene.lies_until_named("flooding", || tokio::time::sleep(Duration::from_millis(1)));
    tokio::select! {
        biased;
        () = named => {}
        () = flooding => panic!("the stream was closed"),
    }
    scene.harmed_nobody().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_without_end_are_refused_and_their_opener_is_named() {
    let scene = Scene::new().await;
    let open = async || match scene.peer.open_uni(Plane::Actor).await {
        Ok(mut stream) => {
            // Begins a frame that never comes.
            let _refused = stream.write_all(&[0, 0]).await;
            stream
        }
        Err(error) => panic!("a crowd is borne: {error}"),
    };
    // Those that found a place are never finished.
    let mut kept = Vec::new();
    for _ in 0..4 {
        kept.push(open().await);
    }
    scene.lies_until_named("crowding", || async { drop(open().await) }).await;
    scene.harmed_nobody().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_without_end_and_reads_no_answer_loses_its_connection() {
    let scene = Scene::new().await;
    let mut lane = scene.peer.open_uni(Plane::Actor).await.expect("the stream opens");
    lane.write_all(&name("actor", &"x".repeat(120))).await.expect("it is heard");
    let call = frame(3, &[&[0; 4], &7_u64.to_be_bytes(), &60_000_u32.to_be_bytes()]);
    let calls = call.repeat(500);
    let asking = async { while lane.write_all(&calls).await.is_ok() {} };
    assert!(tokio::time::timeout(PATIENCE, asking).await.is_ok(), "the connection stands");
    eventually("it is named", || scene.is_named("deaf")).await;
    scene.harmed_nobody().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn casts_without_credit_are_dropped_and_their_sender_is_named() {
    let scene = Scene::new().await;
    scene.one.notes.shut_gate();
    let mut lane = scene.peer.open_uni(Plane::Actor).await.expect("the stream opens");
    lane.write_all(&name("tiny", "test.actor")).await.expect("it is heard");
    // A note of 32 KiB: the actor holds the first and its mailbox four, and credit allows 4 MiB more.
    let note = Message::Note(support::Note { sender: 1, number: 2, padding: vec![0; 32 * 1024] });
    let note = covenant_wire::encode(&note.into_remote().0);
    let cast = frame(2, &[&[0; 4], &note]);
    let sending = async { while lane.write_all(&cast).await.is_ok() {} };
    let named = scene.lies_until_named("overspending", || tokio::time::sleep(Duration::from_millis(1)));
    tokio::select! {
        biased;
        () = named => {}
        () = sending => panic!("the stream was closed"),
    }
    scene.one.notes.open_gate();
    scene.harmed_nobody().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_breaks_the_protocol_three_times_is_not_listened_to() {
    let mut scene = Scene::new().await;
    let garbage = async |peer: &Peer| {
        let mut stream = peer.open_uni(Plane::Actor).await.expect("the stream opens");
        let _closed = stream.write_all(&frame(99, &[])).await;
    };
    for _ in 0..3 {
        garbage(&scene.peer).await;
        let closed = tokio::time::timeout(PATIENCE, scene.peer.closed()).await;
        assert!(closed.is_ok(), "a connection that breaks the protocol is closed");
        eventually("it is named", || scene.is_named("malformed")).await;
        scene.peer = scene.transport.connect(scene.one.address(), None).await.expect("its certificate is good");
    }
    garbage(&scene.peer).await;
    // Heard by nobody, so it cannot break anything: the connection stands though it says the same again.
    let refused = scene.one.counts.of("covenant_cluster_streams_refused_total");
    assert!(tokio::time::timeout(Duration::from_millis(300), scene.peer.closed()).await.is_err());
    assert_eq!((refused, scene.one.counts.of("covenant_cluster_streams_refused_total")), (3, 3));
    scene.harmed_nobody().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_something_new_of_itself_without_end_is_named_and_nobody_is_given_up_for_it() {
    let scene = Scene::new().await;
    let mut feed = scene.peer.open_uni(Plane::Feed).await.expect("the stream opens");
    // Long after it was named: for more than three times as long as a suspicion lasts on loopback.
    let mut sequence = 1;
    let end = tokio::time::Instant::now() + Duration::from_secs(8);
    while tokio::time::Instant::now() < end || !scene.is_named("restless") {
        sequence += 1;
        feed.write_frame(&scene.record(sequence)).await.expect("it is borne");
    }
    assert!(sequence > 1000, "{sequence} are no flood");
    assert!(scene.one.counts.of("covenant_cluster_records_refused_total") > sequence - 100);
    scene.harmed_nobody().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_as_another_is_not_believed_and_is_named() {
    let scene = Scene::new().await;
    let (one, two) = (scene.one.cluster.me(), scene.two.cluster.me());
    let as_two = says((two.id, two.epoch.0), &scene.one, GOSSIP, (two.id, two.epoch.0, 0));
    let in_another_boot = says((scene.id(), 99), &scene.one, GOSSIP, (one.id, one.epoch.0, 0));
    scene
        .lies_until_named("forging", || async {
            let _full = scene.peer.send_datagram(as_two.clone());
            let _full = scene.peer.send_datagram(in_another_boot.clone());
        })
        .await;
    scene.harmed_nobody().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_poisons_epochs_and_bumps_is_not_believed_and_is_named() {
    let scene = Scene::new().await;
    let two = scene.two.cluster.me();
    let bump = says((scene.id(), 0), &scene.one, GOSSIP, (two.id, two.epoch.0, 4000));
    let epoch = says((scene.id(), 0), &scene.one, GOSSIP, (two.id, two.epoch.0 + 4000, 0));
    scene
        .lies_until_named("poisoning", || async {
            let _full = scene.peer.send_datagram(bump.clone());
            let _full = scene.peer.send_datagram(epoch.clone());
        })
        .await;
    let seen = scene.one.cluster.members().into_iter().find(|member| member.name == two.name);
    assert_eq!(seen.map(|member| member.epoch), Some(BootEpoch(1)));
    scene.harmed_nobody().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_tells_everybody_that_they_are_dead_is_named_and_not_believed() {
    let scene = Scene::new().await;
    let one = scene.one.cluster.me();
    let dead = says((scene.id(), 0), &scene.one, TURN_UNDEAD, (one.id, one.epoch.0, 0));
    scene
        .lies_until_named("accusing", || async {
            let _full = scene.peer.send_datagram(dead.clone());
        })
        .await;
    scene.harmed_nobody().await;
}
