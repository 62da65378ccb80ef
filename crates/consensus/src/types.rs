//! What the log is made of: who votes, and what an entry carries.

use std::fmt;

use covenant_types::NodeId;

/// A node as a member of a group. Its `Default` is nobody, which the engine needs as a beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoterId(pub [u8; 16]);

impl From<NodeId> for VoterId {
    fn from(node: NodeId) -> Self {
        Self(node.0)
    }
}

impl From<VoterId> for NodeId {
    fn from(voter: VoterId) -> Self {
        Self(voter.0)
    }
}

/// For tests, ours and the engine's: voters by number.
#[cfg(test)]
impl From<u64> for VoterId {
    fn from(number: u64) -> Self {
        Self(u128::from(number).to_be_bytes())
    }
}

impl fmt::Display for VoterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        NodeId(self.0).fmt(f)
    }
}

/// One request to the application.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// Made by the client. The application does a command once, however often its id comes, and repeats its answer.
    pub id: u128,
    /// What to do, in the application's encoding.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({:032x}, {} bytes)", self.id, self.bytes.len())
    }
}

/// What one entry carries: commands that came together and are committed together.
///
/// The engine waits for the disk once per entry, before it takes the next one. So this, and no queue below it, is where
/// many writers share one wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In the order in which they are applied.
    pub commands: Vec<Command>,
}

/// What the application answered to a [`Batch`]: one answer for each command, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers(pub Vec<Vec<u8>>);

openraft::declare_raft_types!(
    /// How the engine is told of our types.
    pub Types:
        D = Batch,
        R = Answers,
        NodeId = VoterId,
        Node = openraft::EmptyNode,
        SnapshotData = crate::snapshot::SnapshotFile,
);

pub(crate) type Entry = openraft::Entry<Types>;
pub(crate) type LogId = openraft::LogId<VoterId>;
pub(crate) type Vote = openraft::Vote<VoterId>;
pub(crate) type Membership = openraft::Membership<VoterId, openraft::EmptyNode>;
pub(crate) type StoredMembership = openraft::StoredMembership<VoterId, openraft::EmptyNode>;
pub(crate) type StorageError = openraft::StorageError<VoterId>;
