//! What the log is made of: who votes, and what an entry carries.

use std::fmt;

use covenant_types::{NodeId, WallTime};

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

/// What a membership says of a member besides its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// The folder that the member keeps its part of the group in.
    pub instance: Instance,
}

/// A number that a folder was given when it was begun. A node that lost its folder and begins another one has another
/// instance, and has forgotten how it voted: it is no member until it is added anew. Zero is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance(pub u128);

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// One request to the application.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// Made by the client. The application does a command once, however often its id comes, and repeats its answer.
    pub id: u128,
    /// What to do, in the application's encoding.
    pub bytes: Vec<u8>,
    /// When, by the clock of the leader that took it in. The same on all members, and never before the time of a command
    /// that was applied earlier.
    pub at: WallTime,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({:032x}, {} bytes)", self.id, self.bytes.len())
    }
}

/// What one entry carries: commands that came together and are committed together.
///
/// A follower waits for its disk in each append, and has one under way at a time. So this, and no queue below it, is
/// where many writers share one wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// When, by the clock of the leader that made the entry.
    pub at: WallTime,
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
        Node = Member,
        SnapshotData = crate::snapshot::SnapshotFile,
);

pub(crate) type Entry = openraft::Entry<Types>;
pub(crate) type LogId = openraft::LogId<VoterId>;
pub(crate) type Vote = openraft::Vote<VoterId>;
pub(crate) type Membership = openraft::Membership<VoterId, Member>;
pub(crate) type StoredMembership = openraft::StoredMembership<VoterId, Member>;
pub(crate) type StorageError = openraft::StorageError<VoterId>;
