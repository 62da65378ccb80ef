//! Finds things by id in a list that is mostly looked through in its own order.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;

use super::RunningChild;
use crate::ChildNode;

/// What has an id.
pub(super) trait HasId {
    fn id(&self) -> &str;
}

impl HasId for ChildNode {
    fn id(&self) -> &str {
        self.spec.id.as_str()
    }
}

impl HasId for RunningChild {
    fn id(&self) -> &str {
        &self.id
    }
}

/// A list with an index that is made when the next one in order is not the one that is wanted.
pub(super) struct Lookup<'a, T> {
    list: &'a [T],
    next: Cell<usize>,
    index: OnceCell<BTreeMap<&'a str, usize>>,
}

impl<'a, T: HasId> Lookup<'a, T> {
    pub(super) fn new(list: &'a [T]) -> Self {
        Self { list, next: Cell::new(0), index: OnceCell::new() }
    }

    /// The one with this id, and its place.
    pub(super) fn find(&self, id: &str) -> Option<(usize, &'a T)> {
        let at = match self.list.get(self.next.get()) {
            Some(next) if next.id() == id => self.next.get(),
            Some(_) | None => *self.index().get(id)?,
        };
        self.next.set(at + 1);
        Some((at, self.list.get(at)?))
    }

    fn index(&self) -> &BTreeMap<&'a str, usize> {
        self.index.get_or_init(|| self.list.iter().enumerate().map(|(at, item)| (item.id(), at)).collect())
    }
}
