//! The children in start order, found by position or by id.

use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher, Hasher};
use std::ops::{Index, IndexMut};

use super::child::Child;
use crate::spec::{ChildId, ChildSpec};

/// Invariant: `places` has every child's id, and its position in `list`.
#[derive(Debug)]
pub(super) struct Children {
    list: Vec<Child>,
    /// Never walked through, so that its order does not matter.
    places: HashMap<ChildId, usize, Seeded>,
}

/// Hashes by a seed that was passed in: who names instances cannot know which names collide.
#[derive(Clone, Copy, Debug)]
struct Seeded(u64);

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

impl Children {
    pub(super) fn new(specs: Vec<ChildSpec>, seed: u64) -> Self {
        let mut children = Self { list: Vec::new(), places: HashMap::with_hasher(Seeded(seed)) };
        specs.into_iter().for_each(|spec| children.push(Child::new(spec)));
        children
    }

    /// Adds a child at the end. Its id must be new.
    pub(super) fn push(&mut self, child: Child) {
        self.places.insert(child.id.clone(), self.list.len());
        self.list.push(child);
    }

    /// Takes a child out and leaves the others in their order. The later in the list, the cheaper.
    pub(super) fn remove(&mut self, at: usize) -> Child {
        let child = self.list.remove(at);
        self.places.remove(&child.id);
        for (place, moved) in self.list.iter().enumerate().skip(at) {
            if let Some(known) = self.places.get_mut(&moved.id) {
                *known = place;
            }
        }
        child
    }

    /// Takes a child out and puts the last in its place: for instances, which have no order, however many there are.
    pub(super) fn swap_remove(&mut self, at: usize) -> Child {
        let child = self.list.swap_remove(at);
        self.places.remove(&child.id);
        if let Some(moved) = self.list.get(at)
            && let Some(place) = self.places.get_mut(&moved.id)
        {
            *place = at;
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

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Child> {
        self.list.iter_mut()
    }

    pub(super) fn ids(&self) -> impl DoubleEndedIterator<Item = ChildId> {
        self.list.iter().map(|child| child.id.clone())
    }

    /// All children, which are here no more.
    pub(super) fn take(&mut self) -> Vec<Child> {
        self.places.clear();
        std::mem::take(&mut self.list)
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
