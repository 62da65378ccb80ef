//! The children in start order, found by position or by id.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

use super::child::Child;
use crate::spec::{ChildId, ChildSpec};

/// Invariant: `places` has every child's id, and its position in `list`.
#[derive(Debug, Default)]
pub(super) struct Children {
    list: Vec<Child>,
    places: BTreeMap<ChildId, usize>,
}

impl Children {
    pub(super) fn new(specs: Vec<ChildSpec>) -> Self {
        let mut children = Self::default();
        specs.into_iter().for_each(|spec| children.push(spec));
        children
    }

    /// Adds a child at the end. Its id must be new.
    pub(super) fn push(&mut self, spec: ChildSpec) {
        self.places.insert(spec.id.clone(), self.list.len());
        self.list.push(Child::new(spec));
    }

    pub(super) fn remove(&mut self, at: usize) -> Child {
        let child = self.list.remove(at);
        self.places.remove(&child.spec.id);
        for (place, moved) in self.list.iter().enumerate().skip(at) {
            if let Some(known) = self.places.get_mut(&moved.spec.id) {
                *known = place;
            }
        }
        child
    }

    pub(super) fn position(&self, id: &ChildId) -> Option<usize> {
        self.places.get(id).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Child> + ExactSizeIterator {
        self.list.iter()
    }

    pub(super) fn ids(&self) -> impl DoubleEndedIterator<Item = ChildId> {
        self.list.iter().map(|child| child.spec.id.clone())
    }
}

impl Index<usize> for Children {
    type Output = Child;

    fn index(&self, at: usize) -> &Child {
        &self.list[at]
    }
}

impl IndexMut<usize> for Children {
    fn index_mut(&mut self, at: usize) -> &mut Child {
        &mut self.list[at]
    }
}
