//! Message types that are other ones on another node.

mod support;

use covenant_cluster::{MemberEvent, MemberView};
use covenant_runtime::{Behaviour, Context, Exit, NoConfig, Ref, Remotable, Reply, StartError};
use covenant_types::{CallError, NodeName};
use support::{AMPLE, Identity, Message, Node, eventually, path, registry};

/// A version of a message type, and an actor that takes it.
macro_rules! version {
    ($module:ident, $number:ty) => {
        mod $module {
            use super::*;

            #[derive(Debug, Remotable)]
            #[remotable(name = "test.versioned/1")]
            pub(crate) enum Ask {
                Twice($number, Reply<$number>),
                Name {
                    of: $number,
                    reply: Reply<String>,
                },
                Note($number),
                #[remotable(local)]
                Own(Reply<u8>),
            }

            pub(crate) struct Versioned;

            impl Behaviour for Versioned {
                type Config = NoConfig;
                type Message = Ask;

                async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
                    ctx.expose();
                    Ok(Self)
                }

                async fn handle(&mut self, ask: Ask, _: &Context<Self>) -> Result<(), Exit> {
                    match ask {
                        Ask::Twice(number, reply) => reply.send(2 * number),
                        Ask::Name { of, reply } => reply.send(of.to_string()),
                        Ask::Note(_) => {}
                        Ask::Own(reply) => reply.send(1),
                    }
                    Ok(())
                }
            }
        }
    };
}

version!(old, u32);
version!(new, u64);

const CHILD: &str = "[[child]]\nid = \"versioned\"\nbehaviour = \"versioned\"\n";
const NAME: &str = "test.versioned/1";

/// A node that has the type as `B` takes it.
async fn node<B: Behaviour>(name: &str, seeds: &[std::net::SocketAddr]) -> Node {
    let mut registry = registry();
    registry.register::<B>("versioned");
    Identity::new(name).boot_and(seeds, CHILD, registry).await
}

fn differs_of(node: &Node, name: &NodeName) -> Vec<String> {
    let of = |member: &MemberView| member.name == *name;
    node.cluster.members().into_iter().find(of).map(|member| member.schema_differs).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_derived_message_crosses_with_answers_of_several_types_and_a_local_one_is_refused() {
    let one = node::<new::Versioned>("one", &[]).await;
    let two = node::<new::Versioned>("two", &[one.address()]).await;
    one.until_reachable(&["one", "two"]).await;
    let there: Ref<new::Ask> = one.cluster.remote(&two.name(), &path("versioned"));
    assert_eq!(there.call(|reply| new::Ask::Twice(21, reply), AMPLE).await, Ok(42));
    assert_eq!(there.call(|reply| new::Ask::Name { of: 7, reply }, AMPLE).await, Ok("7".to_owned()));
    assert_eq!(there.cast(new::Ask::Note(1)).await, Ok(()));
    let Err(CallError::Rejected(why)) = there.call(new::Ask::Own, AMPLE).await else { panic!("it crossed") };
    assert!(why.contains("Own") && why.contains(NAME), "{why}");
    let here: Ref<new::Ask> = two.system.lookup(&path("versioned")).unwrap();
    assert_eq!(here.call(new::Ask::Own, AMPLE).await, Ok(1));
    assert_eq!(differs_of(&one, &two.name()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_that_differs_is_found_at_join_and_refused_by_name_on_both_sides_and_others_pass() {
    let one = node::<old::Versioned>("one", &[]).await;
    let mut events = one.cluster.events();
    let two = node::<new::Versioned>("two", &[one.address()]).await;
    for node in [&one, &two] {
        node.until_reachable(&["one", "two"]).await;
    }
    eventually("both know", || differs_of(&one, &two.name()) == [NAME] && differs_of(&two, &one.name()) == [NAME])
        .await;
    assert!(one.counts.of("covenant_remoting_schemas_differ_total") > 0);
    let told = std::iter::from_fn(|| events.try_recv().ok());
    let told = told.filter(|event| matches!(event, MemberEvent::SchemaDiffers { message, .. } if message == NAME));
    assert_eq!(told.count(), 1, "it is told once");

    let there: Ref<old::Ask> = one.cluster.remote(&two.name(), &path("versioned"));
    let back: Ref<new::Ask> = two.cluster.remote(&one.name(), &path("versioned"));
    let answers = [
        there.call(|reply| old::Ask::Twice(1, reply), AMPLE).await.map(u64::from),
        back.call(|reply| new::Ask::Twice(1, reply), AMPLE).await,
    ];
    for answer in answers {
        let Err(CallError::Rejected(why)) = answer else { panic!("not rejected: {answer:?}") };
        assert!(why.contains("schema differs") && why.contains(NAME), "{why}");
    }
    let echo = one.actor(&two.name(), "actor").call(|reply| Message::Echo(vec![5], reply), AMPLE).await;
    assert_eq!(echo, Ok(vec![5]), "others pass");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_receiver_refuses_a_type_that_differs_though_its_sender_did_not_know() {
    // The second node has actors of both versions under one name. It tells of the one that was there first, which is the
    // sender's own: no sender can know better.
    const BOTH: &str = "[[child]]\nid = \"first\"\nbehaviour = \"first\"\n";
    let mut of_both = registry();
    of_both.register::<old::Versioned>("first");
    of_both.register::<new::Versioned>("versioned");
    let one = node::<old::Versioned>("one", &[]).await;
    let two = Identity::new("two").boot_and(&[one.address()], &format!("{BOTH}{CHILD}"), of_both).await;
    one.until_reachable(&["one", "two"]).await;
    let there: Ref<old::Ask> = one.cluster.remote(&two.name(), &path("versioned"));
    let Err(CallError::Rejected(why)) = there.call(|reply| old::Ask::Twice(1, reply), AMPLE).await else {
        panic!("not rejected")
    };
    assert!(why.contains("schema differs") && why.contains(NAME), "{why}");
    // It is counted beside the answer.
    eventually("it is counted", || two.counts.of("covenant_remoting_messages_refused_total") > 0).await;
    let Err(CallError::Rejected(why)) = there.call(old::Ask::Own, AMPLE).await else { panic!("not rejected") };
    assert!(why.contains("does not cross"), "{why}");
}
