//! What names a node, and how often it started.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// A node for life: the first 16 bytes of the BLAKE3 hash of its public key. A new key is a new node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 16]);

/// As its text where people read it, as 16 bytes on the wire.
impl Serialize for NodeId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            <[u8; 16]>::deserialize(deserializer).map(Self)
        }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        let bytes = text.as_bytes();
        if bytes.len() != 32 {
            return Err(NodeIdError);
        }
        let mut id = [0u8; 16];
        for (byte, pair) in id.iter_mut().zip(bytes.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16).ok_or(NodeIdError)?;
            let low = char::from(pair[1]).to_digit(16).ok_or(NodeIdError)?;
            *byte = u8::try_from(high * 16 + low).map_err(|_| NodeIdError)?;
        }
        Ok(Self(id))
    }
}

/// A text that is not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a node id is 32 hexadecimal digits")]
pub struct NodeIdError;

/// What people call a node: `[a-z0-9-]{1,32}`, unique in its cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// Checks `text` and makes it a name.
    ///
    /// # Errors
    /// The text is empty, longer than 32 bytes or has a character outside `a-z`, `0-9` and `-`.
    pub fn new(text: &str) -> Result<Self, NodeNameError> {
        let fits = (1..=32).contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits && plain { Ok(Self(Arc::from(text))) } else { Err(NodeNameError(text.chars().take(64).collect())) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for NodeName {
    type Err = NodeNameError;
    fn from_str(text: &str) -> Result<Self, NodeNameError> {
        Self::new(text)
    }
}

impl TryFrom<String> for NodeName {
    type Error = NodeNameError;
    fn try_from(text: String) -> Result<Self, NodeNameError> {
        Self::new(&text)
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.0.to_string()
    }
}

/// A text that cannot be a node's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a node name: use 1 to 32 of a-z, 0-9 and '-'")]
pub struct NodeNameError(String);

/// How often this node's process has started: persisted, one more before each start. Never a wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BootEpoch(pub u64);

impl fmt::Display for BootEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How many times a path started successfully in this boot. Across nodes compare `(BootEpoch, Incarnation)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u32);

impl Incarnation {
    /// The incarnation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One attempt to start one child, unique in this boot. Fences late exits and late effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StartAttempt(pub u64);

/// Hands out [`StartAttempt`]s, one sequence per node.
#[derive(Clone, Debug, Default)]
pub struct StartAttempts(Arc<AtomicU64>);

impl StartAttempts {
    /// The next attempt of this boot, beginning with 1.
    pub fn next(&self) -> StartAttempt {
        StartAttempt(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_survives_its_text_form() {
        let id = NodeId([0xab; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("xyz".parse::<NodeId>(), Err(NodeIdError));
        assert!("é".repeat(16).parse::<NodeId>().is_err());
    }

    #[test]
    fn a_node_name_is_short_and_plain() {
        assert!(NodeName::new("hub-africa").is_ok());
        for bad in ["", "Hub", "a_b", "a b", &"x".repeat(33)] {
            assert!(NodeName::new(bad).is_err(), "{bad:?}");
        }
    }
}
