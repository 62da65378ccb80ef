//! The table as bytes: what a snapshot holds, and what its hash is of.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use covenant_cluster::{HELD_MAX, LEASES_MAX};
use covenant_types::canonical::{CanonicalError, Reader, Writer};
use covenant_types::{BootEpoch, WallTime};

use super::{GRANTS_REMEMBERED, Lease, Table, fits};
use crate::command::{Holder, millis, read_node, read_path, read_voters, write_node, write_voters};

/// The longest snapshot, in bytes: more than all that may be in a table.
pub(crate) const SNAPSHOT_BYTES_MAX: u64 = 32 * 1024 * 1024;

impl Table {
    /// The whole table.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(DOMAIN);
        writer.u64(self.last);
        write_voters(&mut writer, &self.voters);
        writer.count(self.grants.len());
        for (id, token) in &self.grants {
            writer.u128(*id).u64(*token);
        }
        writer.count(self.leases.len());
        for (key, lease) in &self.leases {
            writer.text(key.as_str());
            write_node(&mut writer, lease.holder.node);
            writer.u64(lease.holder.boot.0).u64(lease.token).u64(millis(lease.span)).u64(lease.renewals);
            writer.u64(lease.granted.0);
            match &lease.path {
                Some(path) => drop(writer.u8(1).text(path.as_str())),
                None => drop(writer.u8(0)),
            }
        }
        writer.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else.
    ///
    /// # Errors
    /// The bytes are no table.
    pub fn decode(bytes: &[u8]) -> Result<Self, TableError> {
        let mut reader = Reader::new(bytes, DOMAIN)?;
        let last = reader.u64()?;
        let voters = read_voters(&mut reader)?;
        let token = |token: u64| if token <= last { Ok(token) } else { Err(CanonicalError::BadValue("token")) };
        let count = reader.count(24)?;
        if count > GRANTS_REMEMBERED {
            return Err(CanonicalError::BadValue("grants").into());
        }
        let mut grants = VecDeque::with_capacity(count);
        for _ in 0..count {
            grants.push_back((reader.u128()?, token(reader.u64()?)?));
        }
        let count = reader.count(62)?;
        if count > LEASES_MAX {
            return Err(CanonicalError::BadValue("leases").into());
        }
        let (mut leases, mut held) = (BTreeMap::new(), BTreeMap::new());
        for _ in 0..count {
            let key = read_path(&mut reader)?;
            let holder = Holder { node: read_node(&mut reader)?, boot: BootEpoch(reader.u64()?) };
            let (token, span) = (token(reader.u64()?)?, Duration::from_millis(reader.u64()?));
            let (renewals, granted) = (reader.u64()?, WallTime(reader.u64()?));
            let path = match reader.u8()? {
                0 => None,
                1 => Some(read_path(&mut reader)?),
                _ => return Err(CanonicalError::BadValue("path").into()),
            };
            if !fits(span) {
                return Err(CanonicalError::BadValue("span").into());
            }
            if leases.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(CanonicalError::BadValue("order of leases").into());
            }
            let held: &mut usize = held.entry(holder.node).or_default();
            *held += 1;
            if *held > HELD_MAX {
                return Err(CanonicalError::BadValue("leases of one node").into());
            }
            leases.insert(key, Lease { holder, token, span, renewals, granted, path });
        }
        reader.finish()?;
        Ok(Self { leases, held, last, grants, voters })
    }

    /// A hash of the whole table.
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.encode()).as_bytes()
    }
}

/// Bytes that are no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a table of placement: {0}")]
pub struct TableError(#[from] CanonicalError);

const DOMAIN: &str = "covenant/placement-table/1";
