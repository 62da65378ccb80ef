//! A tree without a node: for a first program, and for tests of behaviours.

use covenant_env::{Env, Metrics};
use covenant_runtime::{BehaviourRegistry, BootError, Resources, System, SystemConfig};
use covenant_supervision::{TreeError, TreeSource, TreeSourceError, load_tree};

/// Starts the tree that `text` describes, one file, on the current tokio runtime.
///
/// There is no cluster, nothing is lent to behaviours and nothing is counted; random numbers repeat from run to run. A
/// node has all of it: `covenant node run`.
///
/// # Errors
/// The text is wrong, names a behaviour that `registry` does not have, or a child did not start. Nothing runs then.
///
/// # Panics
/// When called outside a tokio runtime.
pub async fn start(text: &str, registry: BehaviourRegistry) -> Result<System, StartTreeError> {
    let tree = load_tree("main", &OneFile(text))?;
    let here = tokio::runtime::Handle::current();
    let env = Env::real(here.clone(), here, 0, Metrics::none());
    Ok(System::start(SystemConfig { env, tree, registry, resources: Resources::new() }).await?)
}

struct OneFile<'a>(&'a str);

impl TreeSource for OneFile<'_> {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        if name == "main" { Ok(self.0.to_owned()) } else { Err(TreeSourceError::NotFound) }
    }
}

/// Why [`start`] did not start a tree. Nothing runs; correct what is named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartTreeError {
    /// The text is not a tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The tree did not start.
    #[error(transparent)]
    Boot(#[from] BootError),
}
