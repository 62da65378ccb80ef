//! References to actors as parts of messages.

mod support;

use covenant_cluster::Cluster;
use covenant_runtime::{Behaviour, Callers, Context, Exit, NoConfig, Ref, Remotable, Reply, StartError};
use covenant_types::{ActorPath, CallError, NodeName, Role};
use support::{AMPLE, Identity, Message, Node, path, registry};

#[derive(Debug, Remotable)]
#[remotable(name = "test.friends/1")]
enum Friends {
    /// Keeps a friend.
    Keep(Ref<Message>),
    /// Says whom it keeps: the node, where it is another one, and the path.
    Kept(Reply<Option<(Option<NodeName>, ActorPath)>>),
    /// Gives the friend away.
    Give(Reply<Option<Ref<Message>>>),
    /// Asks the friend.
    Ask(Vec<u8>, Reply<Result<Vec<u8>, CallError>>),
}

#[derive(Default)]
struct Keeper(Option<Ref<Message>>);

impl Behaviour for Keeper {
    type Config = NoConfig;
    type Message = Friends;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        ctx.expose();
        Ok(Self::default())
    }

    async fn handle(&mut self, message: Friends, _: &Context<Self>) -> Result<(), Exit> {
        match message {
            Friends::Keep(friend) => self.0 = Some(friend),
            Friends::Kept(reply) => reply.send(self.0.as_ref().map(|kept| (kept.node().cloned(), kept.path().clone()))),
            Friends::Give(reply) => reply.send(self.0.clone()),
            Friends::Ask(bytes, reply) => {
                let asked = async {
                    self.0.as_ref().ok_or(CallError::NoProc)?.call(|reply| Message::Echo(bytes, reply), AMPLE).await
                };
                reply.send(asked.await);
            }
        }
        Ok(())
    }
}

/// Takes the same messages, of nobody but voters.
struct Shy;

impl Behaviour for Shy {
    type Config = NoConfig;
    type Message = Message;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        ctx.expose_to(Callers::roles(&[Role::Voter]));
        Ok(Self)
    }

    async fn handle(&mut self, message: Message, _: &Context<Self>) -> Result<(), Exit> {
        if let Message::Echo(bytes, reply) = message {
            reply.send(bytes);
        }
        Ok(())
    }
}

const CHILDREN: &str =
    "[[child]]\nid = \"keeper\"\nbehaviour = \"keeper\"\n[[child]]\nid = \"shy\"\nbehaviour = \"shy\"\n";

async fn node(name: &str, seed: Option<&Node>) -> Node {
    let mut registry = registry();
    registry.register::<Keeper>("keeper").register::<Shy>("shy");
    let seeds: Vec<_> = seed.map(Node::address).into_iter().collect();
    Identity::new(name).boot_and(&seeds, CHILDREN, registry).await
}

fn keeper(cluster: &Cluster, on: &NodeName) -> Ref<Friends> {
    cluster.remote(on, &path("keeper"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_in_a_message_leads_to_its_actor_from_wherever_it_is_read() {
    let one = node("one", None).await;
    let two = node("two", Some(&one)).await;
    let three = node("three", Some(&one)).await;
    for node in [&one, &two, &three] {
        node.until_reachable(&["one", "two", "three"]).await;
    }
    let kept = async |of: &Ref<Friends>| of.call(Friends::Kept, AMPLE).await.unwrap();
    let asks = async |of: &Ref<Friends>| of.call(|reply| Friends::Ask(vec![7], reply), AMPLE).await.unwrap();
    let two_keeps = keeper(&one.cluster, &two.name());

    // One of the sender's own actors.
    let own: Ref<Message> = one.system.lookup(&path("actor")).unwrap();
    two_keeps.cast(Friends::Keep(own)).await.unwrap();
    assert_eq!(kept(&two_keeps).await, Some((Some(one.name()), path("actor"))));
    assert_eq!(asks(&two_keeps).await, Ok(vec![7]));
    // One of a third node's.
    two_keeps.cast(Friends::Keep(one.actor(&three.name(), "other"))).await.unwrap();
    assert_eq!(kept(&two_keeps).await, Some((Some(three.name()), path("other"))));
    assert_eq!(asks(&two_keeps).await, Ok(vec![7]));
    // One of the receiver's own is a local one there.
    two_keeps.cast(Friends::Keep(one.actor(&two.name(), "actor"))).await.unwrap();
    assert_eq!(kept(&two_keeps).await, Some((None, path("actor"))));
    assert_eq!(asks(&two_keeps).await, Ok(vec![7]));
    // And back in a reply: what is local there is the other node's here.
    let given = two_keeps.call(Friends::Give, AMPLE).await.unwrap().unwrap();
    assert_eq!(given.node(), Some(&two.name()));
    assert_eq!(given.call(|reply| Message::Echo(vec![8], reply), AMPLE).await, Ok(vec![8]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_opens_nothing_of_the_receiver_that_its_sender_may_not_use_itself() {
    let one = node("one", None).await;
    let two = node("two", Some(&one)).await;
    one.until_reachable(&["one", "two"]).await;
    let two_keeps = keeper(&one.cluster, &two.name());
    let asks = async || two_keeps.call(|reply| Friends::Ask(vec![7], reply), AMPLE).await.unwrap();
    two_keeps.cast(Friends::Keep(one.actor(&two.name(), "shy"))).await.unwrap();
    let Err(CallError::Rejected(why)) = asks().await else { panic!("it was opened") };
    assert!(why.contains("not allowed") && why.contains("one"), "{why}");
    two_keeps.cast(Friends::Keep(one.actor(&two.name(), "nobody"))).await.unwrap();
    assert_eq!(asks().await, Err(CallError::NoProc));
}
