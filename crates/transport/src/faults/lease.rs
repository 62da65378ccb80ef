//! A fault on loan: who holds it, until when, and what it has done so far.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::FaultSpec;

/// For how long a fault is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// It ends this long after it was set or last renewed.
    pub ttl: Duration,
    /// It ends this long after it was set, however often it is renewed.
    pub hard_deadline: Duration,
    /// Who asked.
    pub by: String,
}

/// What a fault has done, in datagrams. Proof that it was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effects {
    /// Those it was asked about.
    pub seen: u64,
    /// Lost to loss or to a full queue.
    pub dropped: u64,
    /// Sent on later.
    pub delayed: u64,
    /// Sent on twice.
    pub duplicated: u64,
    /// Kept from passing by a partition.
    pub blocked: u64,
}

/// A fault that holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultLease {
    /// Its number in this boot, from 1.
    pub id: u64,
    /// What, which way and with whom.
    pub spec: FaultSpec,
    /// Who asked for it.
    pub by: String,
    /// Milliseconds since it was set.
    pub age_ms: u64,
    /// Milliseconds until it ends unless it is renewed.
    pub left_ms: u64,
    /// Milliseconds until it ends whatever happens.
    pub hard_left_ms: u64,
    /// What it has done.
    pub effects: Effects,
}

/// Why a lease is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseEnd {
    /// Nobody renewed it.
    Expired,
    /// It may not hold any longer, renewed or not.
    HardDeadline,
    /// Somebody lifted it.
    Lifted,
}

/// A fault that held, with what it did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndedLease {
    /// Its number in this boot.
    pub id: u64,
    /// What, which way and with whom.
    pub spec: FaultSpec,
    /// Why it is over.
    pub why: LeaseEnd,
    /// Milliseconds that it held.
    pub held_ms: u64,
    /// What it did.
    pub effects: Effects,
}

impl LeaseEnd {
    /// The words used in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::HardDeadline => "at its hard deadline",
            Self::Lifted => "lifted",
        }
    }
}

impl fmt::Display for LeaseEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a lease was not given, renewed or lifted. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// The fault makes no sense.
    #[error(transparent)]
    Fault(#[from] super::FaultError),
    /// The time makes no sense.
    #[error("a fault holds for 100 ms at least and for its hard deadline at most, and that is at most {} h", super::HARD_DEADLINE_MAX.as_secs() / 3600)]
    Time,
    /// As many faults as allowed hold.
    #[error("{0} faults hold at this node already: lift one first")]
    TooMany(usize),
    /// There is no such lease, or it has ended.
    #[error("no fault {0} holds here; it may have ended by itself")]
    NoSuchLease(u64),
}
