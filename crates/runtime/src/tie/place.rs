//! Whom a tie or an order is about.

use covenant_types::{ActorPath, NodeName, RemotePath};

use crate::Ref;

/// What names an actor: its path where it is of this node, a node and a path, or a reference.
pub trait Place {
    /// The node, where one is named, and the path there.
    fn place(&self) -> (Option<&NodeName>, &ActorPath);
}

impl Place for ActorPath {
    fn place(&self) -> (Option<&NodeName>, &ActorPath) {
        (None, self)
    }
}

impl Place for RemotePath {
    fn place(&self) -> (Option<&NodeName>, &ActorPath) {
        (self.node.as_ref(), &self.path)
    }
}

impl<M: Send + 'static> Place for Ref<M> {
    fn place(&self) -> (Option<&NodeName>, &ActorPath) {
        (self.node(), self.path())
    }
}

impl<P: Place + ?Sized> Place for &P {
    fn place(&self) -> (Option<&NodeName>, &ActorPath) {
        (**self).place()
    }
}
