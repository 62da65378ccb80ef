//! What a node has seen of tokens in messages to its actors.
//!
//! Each actor has tokens of its own. They are not signed, so whoever may send to an actor can make it refuse others: apart from
//! one another, the harm stays where the right to send is. How many keys one node may bring is bounded for the same reason.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use covenant_types::{ActorPath, Fence, NodeId};

use super::fences::{FENCED_KEYS_MAX, FENCED_KEYS_NODE_MAX, StaleToken, judge};

/// The gates before all actors of a node.
#[derive(Debug, Default)]
pub(crate) struct Gates(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By actor and key.
    gates: BTreeMap<(ActorPath, ActorPath), Arc<Gate>>,
    /// How many of them each node was the first to name.
    brought: BTreeMap<NodeId, usize>,
}

/// The highest token that one actor has seen of one key.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<u64>);

impl Gates {
    /// The gate before `actor` for acts under a lease of `key`, as `from` is about to do one.
    ///
    /// # Errors
    /// There are too many keys. None is forgotten for it.
    pub(crate) fn gate(&self, actor: &ActorPath, key: &ActorPath, from: NodeId) -> Result<Arc<Gate>, StaleToken> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = (actor.clone(), key.clone());
        if let Some(gate) = known.gates.get(&id) {
            return Ok(Arc::clone(gate));
        }
        if known.gates.len() >= FENCED_KEYS_MAX {
            return Err(StaleToken::Full);
        }
        let brought = known.brought.entry(from).or_default();
        if *brought >= FENCED_KEYS_NODE_MAX {
            return Err(StaleToken::TooMany);
        }
        *brought += 1;
        Ok(Arc::clone(known.gates.entry(id).or_default()))
    }
}

impl Gate {
    /// Does `act`, unless a higher token was seen. No act under another token is done in between, so `act` must not wait.
    ///
    /// # Errors
    /// A higher token was seen. Nothing was done.
    pub(crate) fn pass<T>(&self, fence: &Fence, act: impl FnOnce() -> T) -> Result<T, StaleToken> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        judge(&mut seen, fence)?;
        Ok(act())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NodeId = NodeId([1; 16]);

    fn path(text: &str) -> ActorPath {
        text.parse().unwrap()
    }

    fn pass(gates: &Gates, actor: &str, token: u64) -> Result<(), StaleToken> {
        gates.gate(&path(actor), &path("/key"), ONE).unwrap().pass(&Fence { key: path("/key"), token }, || ())
    }

    #[test]
    fn what_one_actor_saw_of_a_key_says_nothing_to_another() {
        let gates = Gates::default();
        assert_eq!(pass(&gates, "/a", u64::MAX), Ok(()));
        assert!(matches!(pass(&gates, "/a", 7), Err(StaleToken::Stale { seen: u64::MAX, .. })));
        assert_eq!(pass(&gates, "/b", 7), Ok(()));
    }

    #[test]
    fn a_stale_act_is_not_begun() {
        let gate = Gate::default();
        let act = |token, done: &mut u64| gate.pass(&Fence { key: path("/key"), token }, || *done = token);
        let mut done = 0;
        assert_eq!(act(5, &mut done), Ok(()));
        assert!(act(4, &mut done).is_err());
        assert_eq!(done, 5);
    }

    #[test]
    fn a_node_that_brings_keys_without_end_leaves_room_for_others() {
        let gates = Gates::default();
        for number in 0..FENCED_KEYS_NODE_MAX {
            assert!(gates.gate(&path("/a"), &path(&format!("/key{number}")), ONE).is_ok());
        }
        let more = |from| gates.gate(&path("/a"), &path("/more"), from).map(drop);
        assert_eq!(more(ONE), Err(StaleToken::TooMany));
        assert_eq!(more(NodeId([2; 16])), Ok(()));
        assert_eq!(more(ONE), Ok(()), "another brought this one");
    }
}
