//! Which message types another node says it takes and sends, and for which of them it is another program than this.
//!
//! Each node tells each other the types it declares when their connection comes up, and again when there are more. Where two
//! nodes hold different hashes for one name, messages of that type are refused by name on both sides, and others pass.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use covenant_runtime::Declared;
use covenant_wire::SchemaHash;

/// The types that one other node declares.
#[derive(Debug, Default)]
pub(crate) struct PeerSchemas(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    theirs: BTreeMap<String, SchemaHash>,
    differing: BTreeSet<&'static str>,
}

impl PeerSchemas {
    /// Takes in what the node declares. It replaces what it said before.
    pub(crate) fn told(&self, declared: impl IntoIterator<Item = (String, SchemaHash)>) {
        self.lock().theirs = declared.into_iter().collect();
    }

    /// Compares with what this node declares, and returns those that differ and did not before.
    pub(crate) fn compare(&self, ours: &[Declared]) -> Vec<&'static str> {
        let mut state = self.lock();
        let differs = |ours: &&Declared| state.theirs.get(ours.name).is_some_and(|theirs| *theirs != ours.schema);
        let differing: BTreeSet<_> = ours.iter().filter(differs).map(|ours| ours.name).collect();
        let new = differing.difference(&state.differing).copied().collect();
        state.differing = differing;
        new
    }

    /// Whether this type is known to be another one there.
    pub(crate) fn differs(&self, message: Declared) -> bool {
        self.lock().theirs.get(message.name).is_some_and(|theirs| *theirs != message.schema)
    }

    /// All that are, by name.
    pub(crate) fn differing(&self) -> Vec<String> {
        self.lock().differing.iter().map(|name| (*name).to_owned()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What whoever sends such a message is told.
pub(crate) fn refusal(name: &str) -> String {
    format!("schema differs: {name} is another type on the other node; run the same version of it on both")
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn declared(name: &'static str, byte: u8) -> Declared {
        Declared { name, schema: SchemaHash([byte; 32]) }
    }

    #[test]
    fn what_differs_is_told_once_and_passes_again_when_it_is_the_same() {
        let peer = PeerSchemas::default();
        let ours = [declared("a", 1), declared("b", 2), declared("ours alone", 3)];
        let theirs = |b: u8| {
            [("a", 1), ("b", b), ("theirs alone", 9)].map(|(name, byte)| (name.to_owned(), SchemaHash([byte; 32])))
        };
        peer.told(theirs(7));
        assert_eq!(peer.compare(&ours), ["b"]);
        assert_eq!(peer.compare(&ours), [""; 0], "it was told");
        assert_eq!(ours.map(|message| peer.differs(message)), [false, true, false]);
        peer.told(theirs(2));
        assert_eq!(peer.compare(&ours), [""; 0]);
        assert!(!peer.differs(ours[1]));
    }
}
