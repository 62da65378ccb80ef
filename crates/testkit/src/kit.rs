//! What a tree is started with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use covenant_env::{Env, Metrics};
use covenant_runtime::{Behaviour, BehaviourRegistry, BootError, Resources};
use covenant_supervision::{TreeSource, TreeSourceError, TreeSpec, load_tree};

use crate::stand_in::{Heard, Listener, StandIn};
use crate::tree::TestTree;

/// Behaviours, what is lent to them, and the files of a tree.
pub struct Kit {
    registry: BehaviourRegistry,
    resources: Resources,
    files: BTreeMap<String, String>,
    seed: u64,
    metrics: Metrics,
}

impl Kit {
    /// Nothing yet.
    #[expect(clippy::new_without_default, reason = "a test says what it begins with")]
    pub fn new() -> Self {
        let (registry, resources) = (BehaviourRegistry::new(), Resources::new());
        Self { registry, resources, files: BTreeMap::new(), seed: 0, metrics: Metrics::none() }
    }

    /// Makes `B` known as `name`.
    ///
    /// # Panics
    /// The name is taken.
    #[must_use]
    pub fn behaviour<B: Behaviour>(mut self, name: &str) -> Self {
        self.registry.register::<B>(name);
        self
    }

    /// Has an actor that writes down what it is told stand in for the behaviour `name`, whose messages are of type `M`. All
    /// children with that behaviour write into the same list. Two stand-ins with one type of message share it too.
    ///
    /// # Panics
    /// The name is taken.
    pub fn stand_in<M: Send + 'static>(&mut self, name: &str) -> StandIn<M> {
        self.registry.register::<Listener<M>>(name);
        let heard = self.resources.find::<Heard<M>>().unwrap_or_else(|| {
            let heard = Heard::new();
            self.resources.insert(Arc::clone(&heard));
            heard
        });
        StandIn::new(heard)
    }

    /// Lends `what` to behaviours, which find it by its type: `ctx.resource::<T>()`.
    #[must_use]
    pub fn lend<T: Send + Sync + 'static>(mut self, what: Arc<T>) -> Self {
        self.resources.insert(what);
        self
    }

    /// One more tree file, for children that are trees.
    #[must_use]
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.insert(name.to_owned(), text.to_owned());
        self
    }

    /// Where random numbers begin. Zero where nothing is said: they repeat from run to run.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Starts the tree that `text` describes.
    ///
    /// # Panics
    /// It does not start: `try_start` tells why.
    pub async fn start(self, text: &str) -> TestTree {
        self.try_start(text).await.unwrap_or_else(|error| panic!("the tree did not start: {error}"))
    }

    /// Starts the tree that `text` describes, to see whether it does.
    ///
    /// # Errors
    /// A child did not start, or there is no such behaviour.
    ///
    /// # Panics
    /// The text is no tree.
    pub async fn try_start(self, text: &str) -> Result<TestTree, BootError> {
        let Self { registry, resources, mut files, seed, metrics } = self;
        files.insert("main".to_owned(), text.to_owned());
        let tree = read(&Files(files));
        let here = tokio::runtime::Handle::current();
        let env = Env::real(here.clone(), here, seed, metrics);
        TestTree::start(env, tree, registry, resources).await
    }
}

impl fmt::Debug for Kit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kit").field("behaviours", &self.registry).finish_non_exhaustive()
    }
}

/// A tree with one child, a permanent `B` at `/one`, with the keys of `config` as a tree file would have them:
/// `"count = 3"`.
///
/// # Panics
/// It does not start.
pub async fn one<B: Behaviour>(config: &str) -> TestTree {
    let text = format!("[[child]]\nid = \"one\"\nbehaviour = \"one\"\nconfig = {{ {config} }}\n");
    Kit::new().behaviour::<B>("one").start(&text).await
}

struct Files(BTreeMap<String, String>);

impl TreeSource for Files {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        self.0.get(name).cloned().ok_or(TreeSourceError::NotFound)
    }
}

fn read(files: &Files) -> TreeSpec {
    load_tree("main", files).unwrap_or_else(|error| panic!("this is no tree: {error}"))
}
