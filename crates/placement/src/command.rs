//! What changes the table, and what it answers. Canonical bytes, as they are in the log for ever.

use std::collections::BTreeSet;
use std::time::Duration;

use covenant_types::canonical::{CanonicalError, Reader, Writer};
use covenant_types::{ActorPath, BootEpoch, Fence, NodeId};

/// The most voters that the table names.
pub const VOTERS_MAX: usize = 64;

/// A change of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Grants the lease of `key`, where nobody else has it. Whoever has it gets a higher token.
    Acquire {
        /// What it is a lease of.
        key: ActorPath,
        /// Who asks.
        holder: Holder,
        /// For how long.
        span: Duration,
    },
    /// Lets a lease last from now on, under the same token.
    Renew {
        /// Which.
        fence: Fence,
        /// Who has it.
        holder: NodeId,
        /// For how long from now on.
        span: Duration,
    },
    /// Ends a lease at the wish of who has it.
    Release {
        /// Which.
        fence: Fence,
        /// Who has it.
        holder: NodeId,
    },
    /// Says which actor of the holder the lease is of.
    Settle {
        /// Which.
        fence: Fence,
        /// Who has it.
        holder: NodeId,
        /// The actor's path on that node.
        path: ActorPath,
    },
    /// Ends a lease that was not renewed: a member has seen it unchanged for longer than it lasts. Changes nothing where it was
    /// renewed after that one looked.
    Expire {
        /// Which.
        fence: Fence,
        /// How often it had been renewed.
        renewals: u64,
    },
    /// Says who votes in the ledger, and so is to vote here.
    Follow(Voters),
}

/// A node, in one of its boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The node.
    pub node: NodeId,
    /// Its boot. What an earlier one asked for does not count any more.
    pub boot: BootEpoch,
}

/// Who votes, by a log that says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Voters {
    /// The term of the entry that says it.
    pub term: u64,
    /// Its index. A later entry counts, by term and index.
    pub index: u64,
    /// Who.
    pub nodes: BTreeSet<NodeId>,
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// The lease is granted under this token.
    Granted(u64),
    /// Another node has it.
    Held {
        /// Who.
        by: NodeId,
        /// For how long it lasts after each renewal.
        span: Duration,
    },
    /// The lease is over, or another grant followed it.
    Lost,
    /// The span is out of bounds.
    BadSpan,
    /// There are too many leases.
    Full,
    /// The node has too many leases.
    FullOfThis,
    /// The bytes were no command.
    Malformed,
}

impl Command {
    /// Whose command it is; `None` where it is the group's own.
    pub fn sender(&self) -> Option<NodeId> {
        match self {
            Self::Acquire { holder, .. } => Some(holder.node),
            Self::Renew { holder, .. } | Self::Release { holder, .. } | Self::Settle { holder, .. } => Some(*holder),
            Self::Expire { .. } | Self::Follow(_) => None,
        }
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(COMMAND);
        match self {
            Self::Acquire { key, holder, span } => {
                writer.u8(1).text(key.as_str());
                write_node(&mut writer, holder.node);
                writer.u64(holder.boot.0).u64(millis(*span));
            }
            Self::Renew { fence, holder, span } => {
                write_fence(writer.u8(2), fence);
                write_node(&mut writer, *holder);
                writer.u64(millis(*span));
            }
            Self::Release { fence, holder } => {
                write_fence(writer.u8(3), fence);
                write_node(&mut writer, *holder);
            }
            Self::Settle { fence, holder, path } => {
                write_fence(writer.u8(4), fence);
                write_node(&mut writer, *holder);
                writer.text(path.as_str());
            }
            Self::Expire { fence, renewals } => {
                write_fence(writer.u8(5), fence);
                writer.u64(*renewals);
            }
            Self::Follow(voters) => write_voters(writer.u8(6), voters),
        }
        writer.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else.
    ///
    /// # Errors
    /// The bytes are no command.
    pub fn decode(bytes: &[u8]) -> Result<Self, CanonicalError> {
        let mut reader = Reader::new(bytes, COMMAND)?;
        let command = match reader.u8()? {
            1 => {
                let (key, node) = (read_path(&mut reader)?, read_node(&mut reader)?);
                let holder = Holder { node, boot: BootEpoch(reader.u64()?) };
                Self::Acquire { key, holder, span: Duration::from_millis(reader.u64()?) }
            }
            2 => {
                let (fence, holder) = (read_fence(&mut reader)?, read_node(&mut reader)?);
                Self::Renew { fence, holder, span: Duration::from_millis(reader.u64()?) }
            }
            3 => Self::Release { fence: read_fence(&mut reader)?, holder: read_node(&mut reader)? },
            4 => {
                let (fence, holder) = (read_fence(&mut reader)?, read_node(&mut reader)?);
                Self::Settle { fence, holder, path: read_path(&mut reader)? }
            }
            5 => Self::Expire { fence: read_fence(&mut reader)?, renewals: reader.u64()? },
            6 => Self::Follow(read_voters(&mut reader)?),
            _ => return Err(CanonicalError::BadValue("command")),
        };
        reader.finish()?;
        Ok(command)
    }
}

impl Outcome {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(OUTCOME);
        match self {
            Self::Done => drop(writer.u8(0)),
            Self::Granted(token) => drop(writer.u8(1).u64(*token)),
            Self::Held { by, span } => {
                write_node(writer.u8(2), *by);
                writer.u64(millis(*span));
            }
            Self::Lost => drop(writer.u8(3)),
            Self::BadSpan => drop(writer.u8(4)),
            Self::Full => drop(writer.u8(5)),
            Self::FullOfThis => drop(writer.u8(6)),
            Self::Malformed => drop(writer.u8(7)),
        }
        writer.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else.
    ///
    /// # Errors
    /// The bytes are no outcome.
    pub fn decode(bytes: &[u8]) -> Result<Self, CanonicalError> {
        let mut reader = Reader::new(bytes, OUTCOME)?;
        let outcome = match reader.u8()? {
            0 => Self::Done,
            1 => Self::Granted(reader.u64()?),
            2 => Self::Held { by: read_node(&mut reader)?, span: Duration::from_millis(reader.u64()?) },
            3 => Self::Lost,
            4 => Self::BadSpan,
            5 => Self::Full,
            6 => Self::FullOfThis,
            7 => Self::Malformed,
            _ => return Err(CanonicalError::BadValue("outcome")),
        };
        reader.finish()?;
        Ok(outcome)
    }
}

pub(crate) fn write_node(writer: &mut Writer, node: NodeId) {
    writer.u128(u128::from_be_bytes(node.0));
}

pub(crate) fn read_node(reader: &mut Reader<'_>) -> Result<NodeId, CanonicalError> {
    Ok(NodeId(reader.u128()?.to_be_bytes()))
}

/// Only in the form in which it is written.
pub(crate) fn read_path(reader: &mut Reader<'_>) -> Result<ActorPath, CanonicalError> {
    let text = reader.text()?;
    let path: ActorPath = text.parse().map_err(|_| CanonicalError::BadValue("path"))?;
    if path.as_str() == text { Ok(path) } else { Err(CanonicalError::BadValue("path")) }
}

pub(crate) fn write_voters(writer: &mut Writer, voters: &Voters) {
    writer.u64(voters.term).u64(voters.index).count(voters.nodes.len());
    voters.nodes.iter().for_each(|node| write_node(writer, *node));
}

pub(crate) fn read_voters(reader: &mut Reader<'_>) -> Result<Voters, CanonicalError> {
    let (term, index, count) = (reader.u64()?, reader.u64()?, reader.count(16)?);
    if count > VOTERS_MAX {
        return Err(CanonicalError::BadValue("voters"));
    }
    let mut nodes = BTreeSet::new();
    for _ in 0..count {
        let node = read_node(reader)?;
        if nodes.last().is_some_and(|last| *last >= node) {
            return Err(CanonicalError::BadValue("order of voters"));
        }
        nodes.insert(node);
    }
    Ok(Voters { term, index, nodes })
}

fn write_fence(writer: &mut Writer, fence: &Fence) {
    writer.text(fence.key.as_str()).u64(fence.token);
}

fn read_fence(reader: &mut Reader<'_>) -> Result<Fence, CanonicalError> {
    Ok(Fence { key: read_path(reader)?, token: reader.u64()? })
}

/// What does not fit is out of bounds in any case.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

const COMMAND: &str = "covenant/placement-command/1";
const OUTCOME: &str = "covenant/placement-outcome/1";
