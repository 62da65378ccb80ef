//! What a receiver remembers of tokens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use covenant_types::{ActorPath, CallError, Fence};

/// The most keys one receiver remembers the tokens of.
pub const FENCED_KEYS_MAX: usize = 16 * 1024;
/// The most of them that one node may bring in messages.
pub const FENCED_KEYS_NODE_MAX: usize = 4 * 1024;

/// The highest token that was seen of each key. Cheap to clone; clones are one.
///
/// For acts that do not come as messages through [`Cluster::remote_fenced`](crate::Cluster::remote_fenced), which are checked
/// before they reach an actor. Whoever carries out others keeps one and asks it before each.
#[derive(Clone, Debug, Default)]
pub struct Fences(Arc<Mutex<SeenTokens>>);

impl Fences {
    /// None was seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note of a token, and says whether an act that carries it may be done.
    ///
    /// # Errors
    /// A higher token was seen of the key, or there are too many keys. The act must not be done.
    pub fn check(&self, fence: &Fence) -> Result<(), StaleToken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).check(fence)
    }
}

/// The pure part.
#[derive(Debug, Default)]
struct SeenTokens(BTreeMap<ActorPath, u64>);

impl SeenTokens {
    fn check(&mut self, fence: &Fence) -> Result<(), StaleToken> {
        let has_room = self.0.len() < FENCED_KEYS_MAX;
        match self.0.get_mut(&fence.key) {
            Some(seen) => judge(seen, fence),
            None if has_room => {
                self.0.insert(fence.key.clone(), fence.token);
                Ok(())
            }
            None => Err(StaleToken::Full),
        }
    }
}

/// Whether an act may be done where this token was the highest, which it is not any more then.
pub(super) fn judge(seen: &mut u64, fence: &Fence) -> Result<(), StaleToken> {
    if fence.token < *seen {
        return Err(StaleToken::Stale { fence: fence.clone(), seen: *seen });
    }
    *seen = fence.token;
    Ok(())
}

/// An act is not done. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StaleToken {
    /// A later holder has acted here.
    #[error("stale token: {fence} comes after {seen} was seen")]
    Stale {
        /// What the act carried.
        fence: Fence,
        /// The highest token that was seen.
        seen: u64,
    },
    /// Forgetting a key to make room would let a stale act through.
    #[error("tokens of {FENCED_KEYS_MAX} keys are remembered, which is as many as there may be")]
    Full,
    /// One node names so many keys that others would find no room.
    #[error("one node brings tokens of {FENCED_KEYS_NODE_MAX} keys at most")]
    TooMany,
}

impl From<StaleToken> for CallError {
    fn from(error: StaleToken) -> Self {
        Self::Rejected(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(key: &str, token: u64) -> Fence {
        Fence { key: key.parse().unwrap(), token }
    }

    #[test]
    fn a_lower_token_than_was_seen_of_the_key_is_refused() {
        let fences = Fences::new();
        for (key, token, fits) in [("/a", 5, true), ("/a", 5, true), ("/a", 4, false), ("/b", 4, true), ("/a", 6, true)]
        {
            assert_eq!(fences.clone().check(&fence(key, token)).is_ok(), fits, "{key} {token}");
        }
        let stale = fences.check(&fence("/a", 5)).unwrap_err();
        assert_eq!(stale.to_string(), "stale token: /a#5 comes after 6 was seen");
    }

    #[test]
    fn where_there_is_no_room_a_new_key_is_refused_and_none_is_forgotten() {
        let fences = Fences::new();
        for number in 0..FENCED_KEYS_MAX {
            assert_eq!(fences.check(&fence(&format!("/a{number}"), 7)), Ok(()));
        }
        assert_eq!(fences.check(&fence("/late", 7)), Err(StaleToken::Full));
        assert!(matches!(fences.check(&fence("/a0", 6)), Err(StaleToken::Stale { .. })));
        assert_eq!(fences.check(&fence("/a0", 8)), Ok(()));
    }
}
