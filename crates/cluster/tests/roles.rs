//! What nodes may do to each other's actors, by their roles.

mod support;

use covenant_runtime::{Behaviour, Callers, Context, Exit, NoConfig, Ref, Remotable, Reply, StartError};
use covenant_types::{CallError, Role};
use support::{AMPLE, Identity, Node, eventually, path, registry};

#[derive(Debug, Remotable)]
#[remotable(name = "test.guarded/1")]
enum Guarded {
    Ask(Reply<u32>),
    Tell,
}

/// Counts what it is told, by hubs alone.
struct ForHubs(u32);

impl Behaviour for ForHubs {
    type Config = NoConfig;
    type Message = Guarded;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        ctx.expose_to(Callers::roles(&[Role::Hub]));
        Ok(Self(0))
    }

    async fn handle(&mut self, message: Guarded, _: &Context<Self>) -> Result<(), Exit> {
        match message {
            Guarded::Ask(reply) => reply.send(self.0),
            Guarded::Tell => self.0 += 1,
        }
        Ok(())
    }
}

const CHILD: &str = "[[child]]\nid = \"guarded\"\nbehaviour = \"guarded\"\n";

async fn ask(from: &Node, to: &Node) -> Result<u32, CallError> {
    let there: Ref<Guarded> = from.cluster.remote(&to.name(), &path("guarded"));
    // Sent before, so it comes before.
    there.cast(Guarded::Tell).await?;
    there.call(Guarded::Ask, AMPLE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_sends_what_it_may_and_is_refused_the_rest_before_it_is_read() {
    let mut behaviours = registry();
    behaviours.register::<ForHubs>("guarded");
    let mut hub = Identity::of_role("hub", Role::Hub);
    let hub = hub.boot_and(&[], CHILD, behaviours).await;
    let other = Identity::of_role("other", Role::Hub).boot(&[hub.address()]).await;
    let tower = Identity::of_role("tower", Role::Tower).boot(&[hub.address()]).await;
    let voter = Identity::of_role("voter", Role::Voter).boot(&[hub.address()]).await;
    hub.until_reachable(&["hub", "other", "tower", "voter"]).await;

    for (refused, word) in [(&tower, "tower"), (&voter, "voter")] {
        refused.until("the hub is reachable", |members| members.len() == 4).await;
        let Err(CallError::Rejected(why)) = ask(refused, &hub).await else { panic!("a {word} was let in") };
        assert!(why.contains("not allowed") && why.contains(word) && why.contains("test.guarded/1"), "{why}");
    }
    other.until("the hub is reachable", |members| members.len() == 4).await;
    assert_eq!(ask(&other, &hub).await, Ok(1), "nothing of the others came in");
    eventually("the refusals are counted", || hub.counts.of("covenant_remoting_messages_refused_total") >= 4).await;
    assert_eq!(hub.counts.of("covenant_remoting_casts_dropped_total"), 2);
}
