//! Actors that claim a name of the cluster, and how they are found by it.
//!
//! A claim is made once an actor runs, so that who loses ends with `NameConflict` and is started again.

use std::collections::BTreeMap;
use std::time::Duration;

use covenant_runtime::{Behaviour, BehaviourRegistry, Context, Exit, Remotable, Reply, StartError};
use covenant_supervision::{TreeSource, TreeSourceError, TreeSpec, load_tree};
use covenant_types::{ActorPath, Incarnation, Name, NodeName};
use serde::{Deserialize, Serialize};

use super::support::{AMPLE, Node, PATIENCE};

/// How soon is looked again for what is not as wanted yet.
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
    registry.register::<Named>("named");
    (tree, registry)
}

/// An actor that claims a name.
struct Named(String);

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
        Ok(Self(config.name))
    }

    async fn handle(&mut self, message: ToNamed, ctx: &Context<Self>) -> Result<(), Exit> {
        match message {
            ToNamed::Who(reply) => reply.send(ctx.incarnation()),
            ToNamed::End => return Err(Exit::error("told to")),
            ToNamed::Claim => ctx.register(&self.0)?,
        }
        Ok(())
    }
}

/// Who answers to a name.
#[derive(Debug)]
pub(super) struct Where {
    pub(super) node: NodeName,
    pub(super) path: ActorPath,
    pub(super) incarnation: Incarnation,
}

/// Where this node sees the name, if anywhere.
pub(super) fn holder(node: &Node, name: &str) -> Option<(NodeName, ActorPath)> {
    node.cluster.holder(&Name::new(name).unwrap()).map(|place| (place.node, place.path))
}

/// Who has the name, as this node sees it, and answers.
pub(super) async fn ask(node: &Node, name: &str) -> Option<Where> {
    let (at, path) = holder(node, name)?;
    let incarnation = node.cluster.whereis::<ToNamed>(name).ok()?.call(ToNamed::Who, AMPLE).await.ok()?;
    Some(Where { node: at, path, incarnation })
}

/// Lets whoever has the name end. Between two incarnations nobody has it for a moment.
pub(super) async fn end(node: &Node, name: &str) {
    let claimed = async {
        loop {
            match node.cluster.whereis::<ToNamed>(name) {
                Ok(holder) => return holder,
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    };
    let holder = tokio::time::timeout(PATIENCE, claimed).await.unwrap();
    holder.cast(ToNamed::End).await.unwrap();
}
