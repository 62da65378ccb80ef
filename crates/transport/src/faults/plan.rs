//! Which faults hold, and what they make of a datagram. Pure: the driver gives time, generators and addresses.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use covenant_types::{NodeName, Uptime};
use rand::rngs::StdRng;

use super::line::{Line, Outcome};
use super::{Direction, Effects, EndedLease, FaultLease, FaultSpec, LeaseEnd, LeaseError, LeaseTerms, PeerScope};

/// The faults of one socket.
#[derive(Debug, Default)]
pub struct FaultPlan {
    /// In the order in which they act.
    leases: Vec<Lease>,
    /// The newest last.
    ended: VecDeque<EndedLease>,
    given: u64,
}

#[derive(Debug)]
struct Lease {
    id: u64,
    spec: FaultSpec,
    by: String,
    /// Where the node of the scope is, as far as is known.
    addresses: Vec<SocketAddr>,
    began: Uptime,
    expires: Uptime,
    hard_deadline: Uptime,
    effects: Effects,
    out: Line,
    inward: Line,
}

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives, `copies` times, at this moment.
    Delivered {
        /// When; now, where nothing delays it.
        at: Uptime,
        /// How often: once or twice.
        copies: u8,
    },
    /// It does not arrive.
    Dropped,
}

impl FaultPlan {
    /// Gives a lease and returns its id. `rng` makes the generator of a consumer by its name.
    ///
    /// # Errors
    /// The fault or the time makes no sense, or too many faults hold.
    pub fn set(
        &mut self,
        now: Uptime,
        spec: FaultSpec,
        terms: LeaseTerms,
        mut rng: impl FnMut(&str) -> StdRng,
    ) -> Result<u64, LeaseError> {
        spec.fault.check()?;
        let LeaseTerms { ttl, hard_deadline, by } = terms;
        if ttl < TTL_MIN || ttl > hard_deadline || hard_deadline > HARD_DEADLINE_MAX {
            return Err(LeaseError::Time);
        }
        self.expire(now);
        if self.leases.len() >= LEASES_MAX {
            return Err(LeaseError::TooMany(self.leases.len()));
        }
        self.given += 1;
        let id = self.given;
        let lease = Lease {
            id,
            out: Line::new(rng(&format!("fault.{id}.out"))),
            inward: Line::new(rng(&format!("fault.{id}.in"))),
            spec,
            by,
            addresses: Vec::new(),
            began: now,
            expires: now.after(ttl),
            hard_deadline: now.after(hard_deadline),
            effects: Effects::default(),
        };
        self.leases.push(lease);
        self.leases.sort_by_key(|lease| (lease.spec.fault.rank(), lease.id));
        Ok(id)
    }

    /// Has a lease hold for `ttl` from now, though never past its hard deadline.
    ///
    /// # Errors
    /// The time makes no sense, or the lease has ended: what has ended is set anew, not renewed.
    pub fn renew(&mut self, now: Uptime, id: u64, ttl: Duration) -> Result<(), LeaseError> {
        self.expire(now);
        if !(TTL_MIN..=HARD_DEADLINE_MAX).contains(&ttl) {
            return Err(LeaseError::Time);
        }
        let lease = self.leases.iter_mut().find(|lease| lease.id == id).ok_or(LeaseError::NoSuchLease(id))?;
        lease.expires = now.after(ttl);
        Ok(())
    }

    /// Ends a lease.
    ///
    /// # Errors
    /// There is none of this id, or it has ended.
    pub fn lift(&mut self, now: Uptime, id: u64) -> Result<(), LeaseError> {
        self.expire(now);
        let place = self.leases.iter().position(|lease| lease.id == id).ok_or(LeaseError::NoSuchLease(id))?;
        let lease = self.leases.remove(place);
        self.bury(&lease, LeaseEnd::Lifted, now);
        Ok(())
    }

    /// Takes away what has ended and returns how many did.
    pub fn expire(&mut self, now: Uptime) -> usize {
        let (over, hold) = std::mem::take(&mut self.leases).into_iter().partition(|lease| lease.end() <= now);
        self.leases = hold;
        let over: Vec<Lease> = over;
        for lease in &over {
            let why = if lease.hard_deadline <= now { LeaseEnd::HardDeadline } else { LeaseEnd::Expired };
            self.bury(lease, why, lease.end());
        }
        over.len()
    }

    fn bury(&mut self, lease: &Lease, why: LeaseEnd, at: Uptime) {
        if self.ended.len() >= ENDED_MAX {
            self.ended.pop_front();
        }
        let held_ms = millis(at.since(lease.began));
        self.ended.push_back(EndedLease {
            id: lease.id,
            spec: lease.spec.clone(),
            why,
            held_ms,
            effects: lease.effects,
        });
    }

    /// What becomes of a datagram of `bytes` that goes `way`, to or from `peer`.
    pub fn judge(&mut self, now: Uptime, way: Direction, peer: SocketAddr, bytes: usize) -> Fate {
        let (mut at, mut copies, mut passes) = (now, 1, true);
        for lease in self.leases.iter_mut().filter(|lease| lease.end() > now && lease.is_about(way, peer)) {
            let line = if way == Direction::In { &mut lease.inward } else { &mut lease.out };
            if !passes {
                // Gone already: only the numbers are drawn, so that the next datagram meets the same line.
                line.skip();
                continue;
            }
            let effects = &mut lease.effects;
            effects.seen += 1;
            match line.pass(&lease.spec.fault, lease.began, at, bytes) {
                Outcome::Untouched => {}
                Outcome::Delayed(until) => {
                    effects.delayed += u64::from(until > at);
                    at = until;
                }
                Outcome::Doubled => {
                    effects.duplicated += 1;
                    copies = 2;
                }
                Outcome::Lost => {
                    effects.dropped += 1;
                    passes = false;
                }
                Outcome::Blocked => {
                    effects.blocked += 1;
                    passes = false;
                }
            }
        }
        if passes { Fate::Delivered { at, copies } } else { Fate::Dropped }
    }

    /// The nodes that faults are about.
    pub fn nodes(&self) -> BTreeSet<NodeName> {
        let named = |lease: &Lease| match &lease.spec.peer {
            PeerScope::Node(name) => Some(name.clone()),
            PeerScope::All | PeerScope::Address(_) => None,
        };
        self.leases.iter().filter_map(named).collect()
    }

    /// Says where nodes are that faults are about. Of one that is not in it nothing changes.
    pub fn resolve(&mut self, found: &BTreeMap<NodeName, Vec<SocketAddr>>) {
        for lease in &mut self.leases {
            if let PeerScope::Node(name) = &lease.spec.peer
                && let Some(addresses) = found.get(name)
            {
                lease.addresses = addresses.iter().copied().take(ADDRESSES_MAX).collect();
            }
        }
    }

    /// The leases that hold, by id.
    pub fn leases(&self, now: Uptime) -> Vec<FaultLease> {
        let holding = self.leases.iter().filter(|lease| lease.end() > now);
        let mut leases: Vec<_> = holding.map(|lease| lease.view(now)).collect();
        leases.sort_by_key(|lease| lease.id);
        leases
    }

    /// The last leases that ended, at most [`ENDED_MAX`], the oldest first.
    pub fn ended(&self) -> Vec<EndedLease> {
        self.ended.iter().cloned().collect()
    }

    /// When the next lease ends.
    pub fn next_end(&self) -> Option<Uptime> {
        self.leases.iter().map(Lease::end).min()
    }

    /// Whether no fault holds.
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }
}

impl Lease {
    fn end(&self) -> Uptime {
        self.expires.min(self.hard_deadline)
    }

    fn is_about(&self, way: Direction, peer: SocketAddr) -> bool {
        let about = match &self.spec.peer {
            PeerScope::All => true,
            PeerScope::Address(address) => *address == peer,
            PeerScope::Node(_) => self.addresses.contains(&peer),
        };
        about && self.spec.direction.includes(way)
    }

    fn view(&self, now: Uptime) -> FaultLease {
        FaultLease {
            id: self.id,
            spec: self.spec.clone(),
            by: self.by.clone(),
            age_ms: millis(now.since(self.began)),
            left_ms: millis(self.end().since(now)),
            hard_left_ms: millis(self.hard_deadline.since(now)),
            effects: self.effects,
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The most faults at a time.
pub const LEASES_MAX: usize = 32;
/// How many ended leases are remembered, for whoever asks what they did.
pub const ENDED_MAX: usize = 32;
/// The longest that a fault may hold in all.
pub const HARD_DEADLINE_MAX: Duration = Duration::from_secs(24 * 3600);
/// The shortest time to hold.
const TTL_MIN: Duration = Duration::from_millis(100);
/// A node is known at one address, or at two while it moves.
const ADDRESSES_MAX: usize = 8;

#[cfg(test)]
mod tests;
