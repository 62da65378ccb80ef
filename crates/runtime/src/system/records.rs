//! The record of every path there is; children are added and taken away while the tree runs.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use covenant_types::ActorPath;

use crate::slot::Slot;

/// Records by their paths.
#[derive(Default)]
pub(super) struct Records(RwLock<HashSet<ByPath>>);

impl Records {
    pub(super) fn get(&self, path: &ActorPath) -> Option<Arc<Slot>> {
        self.read().get(path).map(|ByPath(slot)| Arc::clone(slot))
    }

    pub(super) fn len(&self) -> usize {
        self.read().len()
    }

    /// Makes a record, and those below it, known.
    pub(super) fn enter(&self, slot: &Arc<Slot>) {
        let mut entered = Vec::new();
        collect(slot, &mut entered);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for slot in entered {
            if let Some(ByPath(before)) = known.replace(ByPath(Arc::clone(&slot))) {
                slot.inherit(&before);
            }
        }
    }

    /// Takes a record, and those below it, away.
    pub(super) fn strike_off(&self, slot: &Arc<Slot>) {
        let mut gone = Vec::new();
        collect(slot, &mut gone);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for slot in &gone {
            // Another may have the path by now.
            if known.get(&slot.path).is_some_and(|ByPath(known)| Arc::ptr_eq(known, slot)) {
                known.remove(&slot.path);
            }
        }
        drop(known); // before the records, whose drop may run anything
    }

    fn read(&self) -> RwLockReadGuard<'_, HashSet<ByPath>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn collect(slot: &Arc<Slot>, into: &mut Vec<Arc<Slot>>) {
    into.push(Arc::clone(slot));
    slot.children().iter().for_each(|child| collect(child, into));
}

/// A record that is found by its path, which never changes. A map would keep every path a second time.
struct ByPath(Arc<Slot>);

impl Borrow<ActorPath> for ByPath {
    fn borrow(&self) -> &ActorPath {
        &self.0.path
    }
}

impl Hash for ByPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.path.hash(state);
    }
}

impl PartialEq for ByPath {
    fn eq(&self, other: &Self) -> bool {
        self.0.path == other.0.path
    }
}

impl Eq for ByPath {}
