//! Who may act for what: leases under tokens, as the group agrees on them. Pure.
//!
//! # Intuition
//! The table has no clock. A lease ends because its holder released it, or because a member says that it has seen the lease
//! unchanged for longer than it lasts; and that word counts only where no renewal came in between. So no clock that was set, and no
//! leader that is new, ends a lease early: see [`Watch`](crate::watch::Watch).
//!
//! # Invariants
//! - A key has one holder, and each grant of whatever key a higher token than all before.
//! - Only who holds a lease renews, settles or releases it, and an earlier boot of that node does not.
//! - There are at most [`LEASES_MAX`] leases, of which one node has at most [`HELD_MAX`].

mod snapshot;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use covenant_cluster::{HELD_MAX, LEASE_SPAN_MAX, LEASE_SPAN_MIN, LEASES_MAX};
use covenant_types::{ActorPath, Fence, NodeId, WallTime};

use crate::command::{Command, Holder, Outcome, Voters};

pub(crate) use snapshot::SNAPSHOT_BYTES_MAX;
pub use snapshot::TableError;

/// Grants whose ids are remembered, so that one that arrives again is answered as it was. The longest that one travels is a few
/// seconds.
pub const GRANTS_REMEMBERED: usize = 4096;

/// One lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who has it.
    pub holder: Holder,
    /// Under which token.
    pub token: u64,
    /// For how long it lasts after each renewal.
    pub span: Duration,
    /// How often it was renewed.
    pub renewals: u64,
    /// When it was granted, by the leader's clock: for people. Nothing is decided by it.
    pub granted: WallTime,
    /// Which actor of the holder it is of, where that was said.
    pub path: Option<ActorPath>,
}

/// The table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    leases: BTreeMap<ActorPath, Lease>,
    /// How many of them each node has.
    held: BTreeMap<NodeId, usize>,
    /// The highest token that was given out, of any key: so a key that is gone needs no memory of its own.
    last: u64,
    /// The latest grants, by the id of their command, oldest first.
    grants: VecDeque<(u128, u64)>,
    voters: Voters,
}

impl Table {
    /// The lease of `key`.
    pub fn lease(&self, key: &ActorPath) -> Option<&Lease> {
        self.leases.get(key)
    }

    /// All leases from `from` on, by key.
    pub fn leases_from(&self, from: &ActorPath) -> impl Iterator<Item = (&ActorPath, &Lease)> {
        self.leases.range::<ActorPath, _>(from..)
    }

    /// All leases, by key.
    pub fn leases(&self) -> impl ExactSizeIterator<Item = (&ActorPath, &Lease)> {
        self.leases.iter()
    }

    /// Who votes in the ledger, as it was last said.
    pub fn voters(&self) -> &Voters {
        &self.voters
    }

    /// Applies a command, whose id is `id`, at the leader's time `at`.
    pub fn apply(&mut self, id: u128, at: WallTime, command: Command) -> Outcome {
        match command {
            Command::Acquire { key, holder, span } => self.acquire(id, at, key, holder, span),
            Command::Renew { fence, holder, span } if fits(span) => self.change(&fence, holder, |lease| {
                lease.span = span;
                lease.renewals = lease.renewals.saturating_add(1);
            }),
            Command::Renew { .. } => Outcome::BadSpan,
            Command::Settle { fence, holder, path } => self.change(&fence, holder, |lease| lease.path = Some(path)),
            Command::Release { fence, holder } => {
                if self
                    .leases
                    .get(&fence.key)
                    .is_some_and(|lease| (lease.token, lease.holder.node) == (fence.token, holder))
                {
                    self.end(&fence.key);
                }
                Outcome::Done
            }
            Command::Expire { fence, renewals } => {
                if self
                    .leases
                    .get(&fence.key)
                    .is_some_and(|lease| (lease.token, lease.renewals) == (fence.token, renewals))
                {
                    self.end(&fence.key);
                    return Outcome::Done;
                }
                Outcome::Lost
            }
            Command::Follow(voters) => {
                if (voters.term, voters.index) > (self.voters.term, self.voters.index) {
                    self.voters = voters;
                }
                Outcome::Done
            }
        }
    }

    fn acquire(&mut self, id: u128, at: WallTime, key: ActorPath, holder: Holder, span: Duration) -> Outcome {
        if let Some((_, token)) = self.grants.iter().find(|(granted, _)| *granted == id) {
            return Outcome::Granted(*token);
        }
        if !fits(span) {
            return Outcome::BadSpan;
        }
        match self.leases.get(&key) {
            Some(lease) if lease.holder.node != holder.node => {
                return Outcome::Held { by: lease.holder.node, span: lease.span };
            }
            // What an earlier boot asked for came late.
            Some(lease) if lease.holder.boot > holder.boot => return Outcome::Lost,
            Some(_) => {}
            None if self.leases.len() >= LEASES_MAX => return Outcome::Full,
            None => {
                let held = self.held.entry(holder.node).or_default();
                if *held >= HELD_MAX {
                    return Outcome::FullOfThis;
                }
                *held += 1;
            }
        }
        // 2^64 grants are more than there can be.
        self.last = self.last.saturating_add(1);
        let lease = Lease { holder, token: self.last, span, renewals: 0, granted: at, path: None };
        self.leases.insert(key, lease);
        if self.grants.len() >= GRANTS_REMEMBERED {
            self.grants.pop_front();
        }
        self.grants.push_back((id, self.last));
        Outcome::Granted(self.last)
    }

    fn change(&mut self, fence: &Fence, holder: NodeId, change: impl FnOnce(&mut Lease)) -> Outcome {
        match self.leases.get_mut(&fence.key) {
            Some(lease) if (lease.token, lease.holder.node) == (fence.token, holder) => {
                change(lease);
                Outcome::Done
            }
            Some(_) | None => Outcome::Lost,
        }
    }

    fn end(&mut self, key: &ActorPath) {
        let Some(lease) = self.leases.remove(key) else { return };
        if let Some(held) = self.held.get_mut(&lease.holder.node) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&lease.holder.node);
            }
        }
    }
}

fn fits(span: Duration) -> bool {
    (LEASE_SPAN_MIN..=LEASE_SPAN_MAX).contains(&span)
}

#[cfg(test)]
mod tests;
