//! A table of names on one node, and actors that claim one of it, from there and from the other node.
//!
//! It stands in for names that the cluster agrees on, which do not exist yet: what of these cases is about supervision holds
//! whoever keeps the names. Like those, a claim is made once an actor runs, and who loses ends with `NameConflict`. A name is
//! free when its holder's monitor fires, here or on the other node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use covenant_cluster::Cluster;
use covenant_runtime::{Behaviour, BehaviourRegistry, Context, Exit, NoConfig, Ref, Remotable, Reply, StartError};
use covenant_supervision::{TreeSource, TreeSourceError, TreeSpec, load_tree};
use covenant_types::{ActorPath, CallError, ExitReason, Incarnation, NodeName};
use serde::{Deserialize, Serialize};

use super::support::{AMPLE, Node, PATIENCE};

/// The node that keeps the names.
const KEEPER: &str = "one";
/// How soon is tried again what needs the other node: a claim that did not reach the keeper, a name nobody has.
pub(super) const AGAIN: Duration = Duration::from_millis(10);

/// A tree of `main` and the files it names, and what its children may be.
pub(super) fn program(main: &str, files: &[(&str, &str)]) -> (TreeSpec, BehaviourRegistry) {
    struct Files(BTreeMap<String, String>);
    impl TreeSource for Files {
        fn read(&self, name: &str) -> Result<String, TreeSourceError> {
            Ok(format!("strategy = \"one_for_one\"\n{}", self.0[name]))
        }
    }
    let mut all: BTreeMap<_, _> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    all.insert("main".to_owned(), main.to_owned());
    let tree = load_tree("main", &Files(all)).unwrap_or_else(|error| panic!("{error}"));
    let mut registry = BehaviourRegistry::new();
    registry.register::<Names>("names");
    registry.register::<Named>("named");
    (tree, registry)
}

type Holder = (NodeName, ActorPath);

/// The table.
struct Names {
    cluster: Arc<Cluster>,
    held: BTreeMap<String, (Holder, u64)>,
    claims: u64,
}

enum ToNames {
    Claim(String, Holder, Reply<Answer>),
    Find(String, Reply<Answer>),
    /// Who made this claim has ended.
    Free(String, u64),
}

#[derive(Serialize, Deserialize)]
enum NamesRequest {
    Claim(String, Holder),
    Find(String),
}

/// Who has the name, after that was asked or claimed.
type Answer = Option<Holder>;

impl Remotable for ToNames {
    const NAME: &'static str = "test.names";
    type Request = NamesRequest;
    type Response = Answer;

    fn into_remote(self) -> (NamesRequest, Option<Reply<Answer>>) {
        match self {
            Self::Claim(name, holder, reply) => (NamesRequest::Claim(name, holder), Some(reply)),
            Self::Find(name, reply) => (NamesRequest::Find(name), Some(reply)),
            Self::Free(..) => unreachable!("the table alone says so, to itself"),
        }
    }

    fn from_remote(request: NamesRequest, reply: Option<Reply<Answer>>) -> Result<Self, String> {
        let reply = reply.ok_or("these are calls")?;
        Ok(match request {
            NamesRequest::Claim(name, holder) => Self::Claim(name, holder, reply),
            NamesRequest::Find(name) => Self::Find(name, reply),
        })
    }
}

impl Behaviour for Names {
    type Config = NoConfig;
    type Message = ToNames;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        ctx.expose();
        Ok(Self { cluster: ctx.resource()?, held: BTreeMap::new(), claims: 0 })
    }

    async fn handle(&mut self, message: ToNames, ctx: &Context<Self>) -> Result<(), Exit> {
        match message {
            ToNames::Claim(name, holder, reply) => {
                if self.held.get(&name).is_none_or(|(held_by, _)| *held_by == holder) {
                    self.claims += 1;
                    self.watch(name.clone(), &holder, ctx)?;
                    self.held.insert(name.clone(), (holder, self.claims));
                }
                reply.send(self.holder(&name));
            }
            ToNames::Find(name, reply) => reply.send(self.holder(&name)),
            ToNames::Free(name, claim) => {
                // The next incarnation of the same actor may have claimed it before this was heard.
                if self.held.get(&name).is_some_and(|(_, latest)| *latest == claim) {
                    self.held.remove(&name);
                }
            }
        }
        Ok(())
    }
}

impl Names {
    fn holder(&self, name: &str) -> Answer {
        self.held.get(name).map(|(holder, _)| holder.clone())
    }

    fn watch(&self, name: String, (node, path): &Holder, ctx: &Context<Self>) -> Result<(), Exit> {
        let (claim, me) = (self.claims, ctx.me());
        let free = async move { drop(me.cast(ToNames::Free(name, claim)).await) };
        let watching = if node.as_str() == KEEPER {
            let monitor = ctx.system().monitor(path);
            ctx.spawn(async move {
                drop(monitor.await);
                free.await;
            })
        } else {
            let monitor = self.cluster.monitor(node, path).map_err(Exit::error)?;
            ctx.spawn(async move {
                drop(monitor.await);
                free.await;
            })
        };
        watching.map_err(Exit::error)
    }
}

/// An actor that claims a name when it runs.
struct Named {
    name: String,
    cluster: Arc<Cluster>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedConfig {
    name: String,
}

enum ToNamed {
    Who(Reply<Incarnation>),
    End,
    Claim,
}

#[derive(Serialize, Deserialize)]
enum NamedRequest {
    Who,
    End,
}

impl Remotable for ToNamed {
    const NAME: &'static str = "test.named";
    type Request = NamedRequest;
    type Response = Incarnation;

    fn into_remote(self) -> (NamedRequest, Option<Reply<Incarnation>>) {
        match self {
            Self::Who(reply) => (NamedRequest::Who, Some(reply)),
            Self::End => (NamedRequest::End, None),
            Self::Claim => unreachable!("an actor says so to itself"),
        }
    }

    fn from_remote(request: NamedRequest, reply: Option<Reply<Incarnation>>) -> Result<Self, String> {
        match (request, reply) {
            (NamedRequest::Who, Some(reply)) => Ok(Self::Who(reply)),
            (NamedRequest::End, None) => Ok(Self::End),
            (NamedRequest::Who | NamedRequest::End, _) => Err("a call or not".to_owned()),
        }
    }
}

impl Behaviour for Named {
    type Config = NamedConfig;
    type Message = ToNamed;

    async fn start(config: NamedConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        ctx.expose();
        ctx.me().try_cast(ToNamed::Claim).map_err(StartError::failed)?;
        Ok(Self { name: config.name, cluster: ctx.resource()? })
    }

    async fn handle(&mut self, message: ToNamed, ctx: &Context<Self>) -> Result<(), Exit> {
        match message {
            ToNamed::Who(reply) => reply.send(ctx.incarnation()),
            ToNamed::End => return Err(Exit::error("told to")),
            ToNamed::Claim => {
                let me = (self.cluster.me().name, ctx.path().clone());
                match self.claim(&me, ctx).await {
                    Ok(Some(holder)) if holder == me => {}
                    Ok(Some((node, path))) => return Err(Exit(ExitReason::NameConflict(format!("{node}:{path}")))),
                    Ok(None) | Err(_) => ctx.send_after(AGAIN, ToNamed::Claim),
                }
            }
        }
        Ok(())
    }
}

impl Named {
    async fn claim(&self, me: &Holder, ctx: &Context<Self>) -> Result<Answer, CallError> {
        let names: ActorPath = "/names".parse().unwrap();
        let keeper: Ref<ToNames> = if me.0.as_str() == KEEPER {
            ctx.lookup(&names)?
        } else {
            self.cluster.remote(&NodeName::new(KEEPER).unwrap(), &names)
        };
        keeper.call(|reply| ToNames::Claim(self.name.clone(), me.clone(), reply), AMPLE).await
    }
}

/// Who answers to a name.
#[derive(Debug)]
pub(super) struct Where {
    pub(super) node: NodeName,
    pub(super) path: ActorPath,
    pub(super) incarnation: Incarnation,
}

/// Uses names from the node that keeps them.
pub(super) struct Find<'a> {
    one: &'a Node,
    names: Ref<ToNames>,
}

impl<'a> Find<'a> {
    pub(super) fn at(one: &'a Node) -> Self {
        Self { one, names: one.system.lookup(&"/names".parse().unwrap()).unwrap() }
    }

    /// Who has the name.
    pub(super) async fn holder(&self, name: &str) -> Option<Holder> {
        self.names.call(|reply| ToNames::Find(name.to_owned(), reply), AMPLE).await.unwrap()
    }

    /// Who has the name and answers.
    pub(super) async fn ask(&self, name: &str) -> Option<Where> {
        let (node, path) = self.holder(name).await?;
        let incarnation = self.named(&node, &path)?.call(ToNamed::Who, AMPLE).await.ok()?;
        Some(Where { node, path, incarnation })
    }

    /// Lets whoever has the name end. Between two incarnations nobody has it for a moment: the end of the first is heard
    /// before the claim of the second.
    pub(super) async fn end(&self, name: &str) {
        let claimed = async {
            loop {
                match self.holder(name).await {
                    Some(holder) => return holder,
                    None => tokio::time::sleep(AGAIN).await,
                }
            }
        };
        let (node, path) = tokio::time::timeout(PATIENCE, claimed).await.unwrap();
        self.named(&node, &path).unwrap().cast(ToNamed::End).await.unwrap();
    }

    fn named(&self, node: &NodeName, path: &ActorPath) -> Option<Ref<ToNamed>> {
        if node.as_str() == KEEPER {
            self.one.system.lookup(path).ok()
        } else {
            Some(self.one.cluster.remote(node, path))
        }
    }
}
