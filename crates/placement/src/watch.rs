//! Says which leases are over. Pure: the time, time in suspend included, is an argument.
//!
//! # Intuition
//! A holder counts its lease from when it asked, which is before the table changed; and who watches counts from when it saw the
//! change. So whoever has seen a lease unchanged for as long as it lasts, and a margin for clocks that run at different rates,
//! knows that its holder has given it up, whoever leads. The word is written as [`Command::Expire`](crate::Command::Expire), which
//! counts only where the lease is still as it was seen.

use std::collections::BTreeMap;
use std::time::Duration;

use covenant_types::{ActorPath, Fence, Uptime};

use crate::command::Command;
use crate::table::Table;

/// The part of its span by which a lease is let last longer: so far may the clock of a holder run slower than ours.
pub const RATE_MARGIN: u32 = 16;
/// Leases that are said to be over at a time. The others have their turn next.
pub const EXPIRED_AT_ONCE: usize = 64;

/// What one member has seen of leases.
#[derive(Debug, Default)]
pub struct Watch(BTreeMap<ActorPath, Seen>);

#[derive(Debug)]
struct Seen {
    token: u64,
    renewals: u64,
    since: Uptime,
}

impl Watch {
    /// Looks at the table, and returns the leases that are over, as commands that say so.
    pub fn look(&mut self, now: Uptime, table: &Table) -> Vec<Command> {
        self.0.retain(|key, _| table.lease(key).is_some());
        let mut over = Vec::new();
        for (key, lease) in table.leases() {
            match self.0.get_mut(key) {
                Some(seen) if (seen.token, seen.renewals) == (lease.token, lease.renewals) => {
                    if now.since(seen.since) >= lasts(lease.span) && over.len() < EXPIRED_AT_ONCE {
                        let fence = Fence { key: key.clone(), token: lease.token };
                        over.push(Command::Expire { fence, renewals: lease.renewals });
                    }
                }
                Some(seen) => *seen = Seen { token: lease.token, renewals: lease.renewals, since: now },
                None => {
                    let seen = Seen { token: lease.token, renewals: lease.renewals, since: now };
                    self.0.insert(key.clone(), seen);
                }
            }
        }
        over
    }

    /// Forgets all: whoever does not look has seen nothing.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

/// How long a lease must have been seen unchanged.
pub fn lasts(span: Duration) -> Duration {
    span + span / RATE_MARGIN
}
