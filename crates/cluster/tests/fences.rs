//! Messages under a lease: those of a holder that is no longer one are refused where they arrive, before they are read.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use covenant_cluster::{Lease, LeaseError, LeaseSource, Leases, MemberState, SimulatedLeases, StaleToken};
use covenant_env::{Clock, Env, Metrics, RealClock};
use covenant_runtime::{Ref, Remotable};
use covenant_transport::{CloseCode, Plane};
use covenant_types::{ActorPath, CallError, Fence, WallTime};
use support::{AMPLE, Identity, Message, Node, Note, OtherMessage, PATIENCE, deaf, eventually, path};

/// Long enough that only a test that says so loses one.
const LONG: Duration = Duration::from_secs(300);
/// Short enough to wait for its end.
const SHORT: Duration = Duration::from_millis(300);
const REFUSED: &str = "covenant_remoting_messages_refused_total";
const DROPPED: &str = "covenant_remoting_casts_dropped_total";

fn key() -> ActorPath {
    "/placed".parse().unwrap()
}

/// Two nodes that hold leases by turns, and one whose actors they act upon.
struct Scene {
    one: Node,
    two: Node,
    three: Node,
    source: Arc<SimulatedLeases>,
    leases: [Leases; 2],
}

impl Scene {
    async fn new() -> Self {
        let one = Identity::new("one").boot(&[]).await;
        let two = Identity::new("two").boot(&[one.address()]).await;
        let three = Identity::new("three").boot(&[one.address()]).await;
        for node in [&one, &two, &three] {
            node.until_reachable(&["one", "two", "three"]).await;
        }
        let source = Arc::new(SimulatedLeases::new(Arc::new(RealClock::new())));
        let handle = tokio::runtime::Handle::current();
        let env = Env::real(handle.clone(), handle, 1, Metrics::none());
        let leases = |node: &Node| {
            let me = node.cluster.me().id;
            Leases::new(Arc::clone(&source) as Arc<dyn LeaseSource>, me, env.clone())
        };
        let leases = [leases(&one), leases(&two)];
        Self { one, two, three, source, leases }
    }

    async fn lease_of_one(&self, span: Duration) -> Lease {
        loop {
            match self.leases[0].acquire(&key(), span).await {
                Ok(lease) => return lease,
                // The machine was so busy that a short one was over before it came.
                Err(LeaseError::Lost) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The lease of the second node, once nobody else has it.
    async fn lease_of_two(&self) -> Lease {
        let asking = async {
            loop {
                match self.leases[1].acquire(&key(), LONG).await {
                    Ok(lease) => return lease,
                    Err(LeaseError::Held { left, .. }) => tokio::time::sleep(left).await,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.expect("the lease is free in time")
    }

    /// The lease of the first node and that of the second, which has it now, with the actor that both acted upon.
    async fn lease_that_moved(&self) -> [(Lease, Ref<Message>); 2] {
        let old = self.lease_of_one(SHORT).await;
        let by_old = self.actor(&self.one, &old, "actor");
        assert_eq!(echo(&by_old).await, Ok(vec![7]));
        self.source.cut_off(self.one.cluster.me().id);
        let new = self.lease_of_two().await;
        let by_new = self.actor(&self.two, &new, "actor");
        assert_eq!(echo(&by_new).await, Ok(vec![7]));
        [(old, by_old), (new, by_new)]
    }

    /// The actor `id` of the third node, as `holder` acts upon it.
    fn actor(&self, holder: &Node, lease: &Lease, id: &str) -> Ref<Message> {
        holder.cluster.remote_fenced(lease, &self.three.name(), &path(id))
    }

    fn refused(&self) -> u64 {
        self.three.counts.of(REFUSED)
    }
}

async fn echo(actor: &Ref<Message>) -> Result<Vec<u8>, CallError> {
    actor.call(|reply| Message::Echo(vec![7], reply), AMPLE).await
}

fn note(sender: u32, number: u32) -> Message {
    Message::Note(Note { sender, number, padding: Vec::new() })
}

/// What the holder of `fence` hears where `seen` was seen.
fn stale(fence: &Fence, seen: &Fence) -> CallError {
    StaleToken::Stale { fence: fence.clone(), seen: seen.token }.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_lease_moves_what_its_old_holder_still_sends_is_refused_before_it_is_read() {
    let scene = Scene::new().await;
    let old = scene.lease_of_one(SHORT).await;
    let by_old = scene.actor(&scene.one, &old, "actor");
    assert_eq!(echo(&by_old).await, Ok(vec![7]));
    by_old.cast(note(1, 1)).await.unwrap();
    eventually("it acts", || scene.three.notes.numbers(1) == [1]).await;

    // The source and the old holder hear nothing of each other any more, but its connections stand.
    scene.source.cut_off(scene.one.cluster.me().id);
    let new = scene.lease_of_two().await;
    assert!(!old.is_held() && new.fence().token > old.fence().token);
    assert_eq!(echo(&by_old).await, Ok(vec![7]), "no later holder has acted there");
    let by_new = scene.actor(&scene.two, &new, "actor");
    assert_eq!(echo(&by_new).await, Ok(vec![7]));

    let why = stale(old.fence(), new.fence());
    assert_eq!(echo(&by_old).await, Err(why.clone()));
    let CallError::Rejected(said) = &why else { panic!("{why}") };
    let (tried, seen) = (old.fence().to_string(), new.fence().token.to_string());
    assert!(said.contains(&tried) && said.contains(&seen), "{said}");
    let before = (scene.refused(), scene.three.counts.of(DROPPED));
    for number in 2..5 {
        by_old.cast(note(1, number)).await.unwrap();
    }
    eventually("they are counted", || {
        (scene.refused(), scene.three.counts.of(DROPPED)) == (before.0 + 3, before.1 + 3)
    })
    .await;
    // Nothing of it is read: neither would the actor take this type, nor can it.
    let garbled: Ref<support::SameNameMessage> =
        scene.one.cluster.remote_fenced(&old, &scene.three.name(), &path("actor"));
    assert_eq!(garbled.call(support::SameNameMessage, AMPLE).await, Err(why.clone()));
    // What the actor does not take raises nothing.
    let newer = scene.leases[1].acquire(&key(), LONG).await.unwrap();
    assert!(newer.fence().token > new.fence().token);
    let other: Ref<OtherMessage> = scene.two.cluster.remote_fenced(&newer, &scene.three.name(), &path("actor"));
    let Err(CallError::Rejected(why)) = other.call(OtherMessage, AMPLE).await else { panic!("not rejected") };
    assert!(why.contains("test.other"), "{why}");

    // Another actor has seen nothing of the new holder, and messages under no lease are none of the source's business.
    assert_eq!(echo(&scene.actor(&scene.one, &old, "other")).await, Ok(vec![7]));
    assert_eq!(echo(&scene.one.actor(&scene.three.name(), "actor")).await, Ok(vec![7]));
    assert_eq!(echo(&by_new).await, Ok(vec![7]));
    assert_eq!(scene.three.notes.numbers(1), [1]);

    // The lease comes back, and with it the right to act: the other one is late now.
    newer.release().await.unwrap();
    scene.source.mend(scene.one.cluster.me().id);
    let again = scene.lease_of_one(LONG).await;
    let by_again = scene.actor(&scene.one, &again, "actor");
    by_again.cast(note(1, 9)).await.unwrap();
    eventually("it acts again", || scene.three.notes.numbers(1) == [1, 9]).await;
    assert!(matches!(echo(&by_new).await, Err(CallError::Rejected(_))));
    // What is left of the first lease is refused at home already: this node has told a higher token since.
    assert_eq!(echo(&by_old).await, Err(stale(old.fence(), again.fence())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_room_in_a_mailbox_is_refused_when_a_later_holder_has_acted() {
    const CASTS: u32 = 40;
    let scene = Scene::new().await;
    let old = scene.lease_of_one(SHORT).await;
    scene.three.notes.shut_gate();
    let by_old = scene.actor(&scene.one, &old, "tiny");
    for number in 0..CASTS {
        by_old.cast(note(1, number)).await.unwrap();
    }
    // In order, so by now the others are there and wait.
    assert_eq!(echo(&by_old).await, Err(CallError::MailboxFull));
    scene.source.cut_off(scene.one.cluster.me().id);
    let new = scene.lease_of_two().await;
    let by_new = scene.actor(&scene.two, &new, "tiny");
    assert_eq!(echo(&by_new).await, Err(CallError::MailboxFull), "it has acted, though nothing came of it");
    scene.three.notes.open_gate();
    let noted = || u32::try_from(scene.three.notes.count()).unwrap();
    eventually("all went one way or the other", || u64::from(noted()) + scene.refused() == u64::from(CASTS)).await;
    assert!(noted() <= 8, "{} waited and were let in", noted());
    assert_eq!(scene.three.notes.numbers(1), (0..noted()).collect::<Vec<_>>());
    // What they had paid is given back: far more than the credit of a start goes through.
    scene.three.cluster.check_fence(&path("tiny"), new.fence()).unwrap();
    let sent = 3 * covenant_cluster::CREDIT_START_BYTES / 64;
    for number in 0..sent {
        by_new.cast(note(2, number)).await.unwrap();
    }
    eventually("the new holder acts", || scene.three.notes.numbers(2).len() == sent as usize).await;
    for number in 0..sent {
        by_old.cast(note(1, number)).await.unwrap();
    }
    let all_late = u64::from(CASTS - noted_of(&scene, 1)) + u64::from(sent);
    eventually("a late one does not run out of credit", || scene.refused() == all_late).await;
}

fn noted_of(scene: &Scene, sender: u32) -> u32 {
    u32::try_from(scene.three.notes.numbers(sender).len()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_connection_is_told_the_lease_anew_and_what_was_seen_outlives_the_old_one() {
    let scene = Scene::new().await;
    let [(old, by_old), (new, by_new)] = scene.lease_that_moved().await;

    let name = scene.three.name();
    for node in [&scene.one, &scene.two] {
        node.cluster.peer(&name).unwrap().close(CloseCode::Done, "the test says so");
    }
    let again = async |actor: &Ref<Message>| {
        let asking = async {
            loop {
                match echo(actor).await {
                    Err(CallError::NoConnection) => tokio::time::sleep(Duration::from_millis(5)).await,
                    answer => return answer,
                }
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.expect("it connects again")
    };
    assert_eq!(again(&by_old).await, Err(stale(old.fence(), new.fence())));
    assert_eq!(again(&by_new).await, Ok(vec![7]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_for_a_sleeper_keeps_its_lease_and_is_refused_by_it_when_another_has_acted() {
    let scene = Scene::new().await;
    let [(_old, by_old), (_new, by_new)] = scene.lease_that_moved().await;

    let name = scene.three.name();
    scene.three.cluster.sleep(WallTime(RealClock::new().wall().0 + 600)).await.unwrap();
    for node in [&scene.one, &scene.two] {
        node.until_state(&name, MemberState::Asleep).await;
    }
    by_old.cast(note(1, 1)).await.unwrap();
    by_new.cast(note(2, 1)).await.unwrap();
    assert!(scene.three.cluster.wake().await);
    eventually("the holder's arrived", || scene.three.notes.numbers(2) == [1]).await;
    eventually("the other one was refused and dropped", || {
        (scene.refused(), scene.three.counts.of("covenant_cluster_mail_dropped_total")) == (1, 1)
    })
    .await;
    assert_eq!(scene.three.notes.numbers(1), [0_u32; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_act_of_the_node_itself_makes_those_of_others_late() {
    let scene = Scene::new().await;
    let old = scene.lease_of_one(LONG).await;
    let by_old = scene.actor(&scene.one, &old, "actor");
    assert_eq!(echo(&by_old).await, Ok(vec![7]));
    let own = Fence { key: key(), token: old.fence().token + 1 };
    assert_eq!(scene.three.cluster.check_fence(&path("actor"), &own), Ok(()));
    assert_eq!(echo(&by_old).await, Err(stale(old.fence(), &own)));
    let late = scene.three.cluster.check_fence(&path("actor"), old.fence());
    assert!(matches!(late, Err(StaleToken::Stale { .. })), "{late:?}");
}

/// A frame that gives id 0 to an actor, under a lease.
fn name_frame(token: u64, key: &str, path: &str) -> Vec<u8> {
    let text = |text: &str| [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat();
    let schema = Message::schema().0;
    let parts =
        [&[1, 2, 0, 0, 0, 0][..], &schema, &token.to_be_bytes(), &text(key), &text(path), Message::NAME.as_bytes()];
    parts.concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_is_named_again_only_with_a_higher_token_of_the_same_key_at_the_same_actor() {
    let one = Identity::new("one").boot(&[]).await;
    let again = [(8, "/k", "/actor", true), (7, "/k", "/actor", false), (8, "/l", "/actor", false)];
    for (at, (token, key, path, fits)) in again.into_iter().chain([(8, "/k", "/other", false)]).enumerate() {
        let (_transport, peer) = deaf::connect(&Identity::new(&format!("liar-{at}")), &one).await;
        let mut lane = peer.open_uni(Plane::Actor).await.unwrap();
        lane.write_frame(&name_frame(7, "/k", "/actor")).await.unwrap();
        lane.write_frame(&name_frame(token, key, path)).await.unwrap();
        if fits {
            // The id is what it was: a call to it is answered, and the stream read on.
            let call = [&[3, 0, 0, 0, 0, 0][..], &9_u64.to_be_bytes(), &1000_u32.to_be_bytes(), &[200]].concat();
            lane.write_frame(&call).await.unwrap();
            eventually("the call came", || one.counts.of("covenant_remoting_calls_received_total") == 1).await;
            assert!(peer.is_open());
        } else {
            let closed = tokio::time::timeout(PATIENCE, peer.closed()).await;
            assert!(closed.is_ok(), "{token} {key} {path} was taken");
        }
    }
}
