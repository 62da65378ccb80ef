//! Messages from other nodes, through the inlet.

use std::sync::{Arc, Mutex};

use crate::support::{self, LONG, within};
use covenant_env::Env;
use covenant_runtime::{
    Behaviour, BehaviourRegistry, Context, Exit, Outlet, Ref, Remotable, RemoteReply, RemoteSender, Reply, Resources,
    Sending, StartError, System, SystemConfig,
};
use covenant_types::{ActorPath, CallError, ExitReason, NodeId, NodeName, Region, Role};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// Adds numbers.
struct Adder(u64);

enum Sum {
    Add(u64),
    Total(Reply<u64>),
    Leave(Reply<u64>),
}

#[derive(Serialize, Deserialize)]
enum Request {
    Add(u64),
    Total,
    Leave,
}

impl Remotable for Sum {
    const NAME: &'static str = "test.sum";
    type Request = Request;
    type Response = u64;

    fn into_remote(self) -> (Request, Option<Reply<u64>>) {
        match self {
            Self::Add(number) => (Request::Add(number), None),
            Self::Total(reply) => (Request::Total, Some(reply)),
            Self::Leave(reply) => (Request::Leave, Some(reply)),
        }
    }

    fn from_remote(request: Request, reply: Option<Reply<u64>>) -> Result<Self, String> {
        match (request, reply) {
            (Request::Add(13), _) => panic!("unlucky"),
            (Request::Add(number), None) => Ok(Self::Add(number)),
            (Request::Total, Some(reply)) => Ok(Self::Total(reply)),
            (Request::Leave, Some(reply)) => Ok(Self::Leave(reply)),
            (Request::Add(_), Some(_)) => Err("add is not a call".to_owned()),
            (Request::Total | Request::Leave, None) => Err("this is a call".to_owned()),
        }
    }
}

impl Behaviour for Adder {
    type Config = toml::Table;
    type Message = Sum;

    async fn start(_: toml::Table, ctx: &Context<Self>) -> Result<Self, StartError> {
        ctx.expose();
        Ok(Self(0))
    }
    async fn handle(&mut self, message: Sum, _: &Context<Self>) -> Result<(), Exit> {
        match message {
            Sum::Add(number) => self.0 += number,
            Sum::Total(reply) => reply.send(self.0),
            Sum::Leave(_reply) => return Err(Exit::error("leaving")),
        }
        Ok(())
    }
}

async fn system() -> System {
    let mut registry = BehaviourRegistry::new();
    registry.register::<Adder>("adder");
    let file = "[[child]]\nid = \"sum\"\nbehaviour = \"adder\"\nmailbox = { capacity = 1 }\n";
    let tree = support::tree(file, &[]);
    System::start(SystemConfig { env: Env::for_test(1), tree, registry, resources: Resources::new() }).await.unwrap()
}

fn path() -> ActorPath {
    "/sum".parse().unwrap()
}

fn sender() -> RemoteSender {
    RemoteSender {
        node: NodeId([7; 16]),
        name: NodeName::new("hub-africa").unwrap(),
        role: Role::Hub,
        region: Region::Africa,
    }
}

type Answer = Result<Vec<u8>, CallError>;

fn remote_reply() -> (RemoteReply, oneshot::Receiver<Answer>) {
    let (sender, receiver) = oneshot::channel();
    (Box::new(move |answer| drop(sender.send(answer))), receiver)
}

/// Remoting without a network: bytes go straight to the other system's inlet.
struct Loopback(System);

impl Outlet<Sum> for Loopback {
    fn send(&self, message: Sum, _: Option<std::time::Duration>) -> Sending {
        let (request, reply) = message.into_remote();
        let payload = covenant_wire::encode(&request);
        let reply = reply.map(|reply| -> RemoteReply {
            Box::new(move |answer| match answer.map(|bytes| covenant_wire::decode(&bytes, 64)) {
                Ok(Ok(value)) => reply.send(value),
                Ok(Err(error)) => reply.refuse(CallError::Rejected(error.to_string())),
                Err(error) => reply.refuse(error),
            })
        });
        let inlet = self.0.inlet(&path()).unwrap();
        Sending::Done(inlet.deliver(&sender(), &payload, reply))
    }
}

#[tokio::test]
async fn a_remote_ref_casts_and_calls_through_bytes() {
    let system = system().await;
    let name = NodeName::new("hub-africa").unwrap();
    let far = Ref::remote(name.clone(), path(), Arc::new(Loopback(system.clone())));
    assert_eq!((far.node(), far.path()), (Some(&name), &path()));
    far.cast(Sum::Add(2)).await.unwrap();
    assert_eq!(system.lookup(&path()).unwrap().call(Sum::Total, LONG).await, Ok(2));
    far.cast(Sum::Add(3)).await.unwrap();
    support::eventually(|| system.tree().children[0].handled == 3).await;
    assert_eq!(far.call(Sum::Total, LONG).await, Ok(5));
    let gone = far.call(Sum::Leave, LONG).await;
    assert_eq!(gone, Err(CallError::Gone(ExitReason::Error("leaving".to_owned()))), "told across too");
}

#[tokio::test]
async fn an_actor_that_did_not_expose_itself_has_no_inlet() {
    let rig = support::Rig::start(&support::probes("", &[("a", "")]), &[]).await;
    assert!(rig.system.inlet(&"/a".parse().unwrap()).is_none());
    assert!(rig.system.inlet(&"/nobody".parse().unwrap()).is_none());
}

#[tokio::test]
async fn whatever_a_stranger_sends_its_reply_is_answered_once() {
    let system = system().await;
    let inlet = system.inlet(&path()).unwrap();
    assert_eq!(inlet.name(), "test.sum");
    let hostile: [&[u8]; 5] = [&[], &[0xff; 64], &[9], &covenant_wire::encode(&Request::Add(13)), &vec![0; 2 << 20]];
    for payload in hostile {
        let (reply, answer) = remote_reply();
        let refused = inlet.deliver(&sender(), payload, Some(reply)).unwrap_err();
        assert!(matches!(refused, CallError::Rejected(_)), "{refused}");
        assert_eq!(within(answer).await.unwrap(), Err(refused));
    }
    let (reply, answer) = remote_reply();
    let refused = inlet.deliver(&sender(), &covenant_wire::encode(&Request::Add(1)), Some(reply));
    assert_eq!(refused, Err(CallError::Rejected("add is not a call".to_owned())));
    assert_eq!(within(answer).await.unwrap(), Err(CallError::Rejected("add is not a call".to_owned())));
    let cast = inlet.deliver(&sender(), &covenant_wire::encode(&Request::Total), None);
    assert_eq!(cast, Err(CallError::Rejected("this is a call".to_owned())));
}

#[tokio::test]
async fn a_full_mailbox_never_makes_a_remote_sender_wait() {
    let system = system().await;
    let inlet = system.inlet(&path()).unwrap();
    let total = covenant_wire::encode(&Request::Total);
    // The actor has no chance to run between these: this is one thread and nothing here waits.
    let answers = Mutex::new(Vec::new());
    let results: Vec<_> = (0..3)
        .map(|_| {
            let (reply, answer) = remote_reply();
            answers.lock().unwrap().push(answer);
            inlet.deliver(&sender(), &total, Some(reply))
        })
        .collect();
    assert_eq!(results, [Ok(()), Err(CallError::MailboxFull), Err(CallError::MailboxFull)]);
    let mut told = Vec::new();
    for answer in answers.into_inner().unwrap() {
        told.push(within(answer).await.unwrap());
    }
    assert_eq!(told, [Ok(vec![0]), Err(CallError::MailboxFull), Err(CallError::MailboxFull)]);
}
