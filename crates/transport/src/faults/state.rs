//! What the socket, its timer and whoever sets faults share.

use std::collections::BTreeMap;
use std::fmt;
use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use covenant_env::{Clock, Env, Random};
use covenant_types::{NodeName, Uptime};
use metrics::{Counter, Gauge};
use quinn::udp::RecvMeta;
use tokio::sync::Notify;

use super::held::{Held, HeldQueue};
use super::{Direction, EndedLease, Fate, FaultLease, FaultPlan, FaultSpec, LeaseError, LeaseTerms};

/// The faults of one node's socket: sets, renews, lists and lifts them.
pub struct Faults {
    clock: Arc<dyn Clock>,
    random: Random,
    /// Whether any fault holds or anything is held back. All that a datagram costs otherwise.
    active: AtomicBool,
    state: Mutex<State>,
    /// Rung when something is due earlier than the timer knows.
    pub(super) sooner: Notify,
    counters: FaultCounters,
}

#[derive(Default)]
struct State {
    plan: FaultPlan,
    outgoing: HeldQueue,
    incoming: HeldQueue,
    /// Who reads the socket and found nothing.
    reader: Option<Waker>,
    /// When the timer looks again.
    timer: Option<Uptime>,
}

struct FaultCounters {
    holding: Gauge,
    dropped: Counter,
    delayed: Counter,
    duplicated: Counter,
    no_room: Counter,
}

impl Faults {
    pub(super) fn new(env: &Env) -> Self {
        let effect = |word| env.metrics.counter("covenant_transport_fault_datagrams_total", &[("effect", word)]);
        Self {
            clock: Arc::clone(&env.clock),
            random: env.random,
            active: AtomicBool::new(false),
            state: Mutex::default(),
            sooner: Notify::new(),
            counters: FaultCounters {
                holding: env.metrics.gauge("covenant_transport_faults", &[]),
                dropped: effect("dropped"),
                delayed: effect("delayed"),
                duplicated: effect("duplicated"),
                no_room: effect("no_room"),
            },
        }
    }

    /// Gives a lease and returns it. It holds from the next datagram on; one about a node does once that node's address is
    /// given to [`Faults::resolve`].
    ///
    /// # Errors
    /// The fault or the time makes no sense, or too many faults hold.
    pub fn set(&self, spec: FaultSpec, terms: LeaseTerms) -> Result<FaultLease, LeaseError> {
        let now = self.now();
        let mut state = self.lock();
        let id = state.plan.set(now, spec, terms, |label| self.random.derive(label))?;
        self.changed(&state);
        find(&state.plan, now, id)
    }

    /// Has a lease hold for `ttl` from now, though never past its hard deadline.
    ///
    /// # Errors
    /// The time makes no sense, or the lease has ended.
    pub fn renew(&self, id: u64, ttl: Duration) -> Result<FaultLease, LeaseError> {
        let now = self.now();
        let mut state = self.lock();
        state.plan.renew(now, id, ttl)?;
        self.changed(&state);
        find(&state.plan, now, id)
    }

    /// Ends a lease. What is held back arrives at its time all the same.
    ///
    /// # Errors
    /// There is none of this id, or it has ended.
    pub fn lift(&self, id: u64) -> Result<(), LeaseError> {
        let mut state = self.lock();
        state.plan.lift(self.now(), id)?;
        self.changed(&state);
        Ok(())
    }

    /// The leases that hold, by id.
    pub fn leases(&self) -> Vec<FaultLease> {
        self.lock().plan.leases(self.now())
    }

    /// The last leases that ended, the oldest first.
    pub fn ended(&self) -> Vec<EndedLease> {
        let mut state = self.lock();
        state.plan.expire(self.now());
        state.plan.ended()
    }

    /// Looks up again where the nodes are that faults are about. `find` gives the addresses of a node.
    pub fn resolve(&self, find: impl Fn(&NodeName) -> Vec<SocketAddr>) {
        if !self.is_active() {
            return;
        }
        // Asked outside the lock: who knows where a node is may have to ask its connection, and that may be sending.
        let nodes = self.lock().plan.nodes();
        let found: BTreeMap<_, _> = nodes.into_iter().map(|name| (name.clone(), find(&name))).collect();
        self.lock().plan.resolve(&found);
    }

    /// Whether the socket has anything to do beside passing on.
    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    pub(super) fn now(&self) -> Uptime {
        self.clock.now()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leases are others than before.
    fn changed(&self, state: &State) {
        self.note(state);
        self.sooner.notify_one();
    }

    fn note(&self, state: &State) {
        let idle = state.plan.is_empty() && state.outgoing.is_empty() && state.incoming.is_empty();
        self.active.store(!idle, Ordering::Relaxed);
        let holding = u32::try_from(state.plan.leases(self.now()).len()).unwrap_or(u32::MAX);
        self.counters.holding.set(f64::from(holding));
    }

    /// Judges a datagram that leaves. Returns how often it is to be sent at once; what is late was kept.
    pub(super) fn send(&self, held: Held) -> Option<(Held, u8)> {
        let now = self.now();
        let mut state = self.lock();
        let (at, copies) = self.judge(&mut state, now, Direction::Out, &held)?;
        if at <= now {
            return Some((held, copies));
        }
        for _ in 0..copies {
            let kept = state.outgoing.push(at, held.clone());
            self.kept(kept, &state, at);
        }
        None
    }

    /// Keeps a datagram that leaves as soon as the socket below takes it.
    pub(super) fn send_soon(&self, held: Held) {
        let now = self.now();
        let mut state = self.lock();
        let kept = state.outgoing.push(now, held);
        self.kept(kept, &state, now);
    }

    /// The next datagram that is to leave by now.
    pub(super) fn next_to_send(&self) -> Option<Held> {
        self.lock().outgoing.pop_due(self.now())
    }

    /// Judges a datagram that came and keeps it for [`Faults::deliver`].
    pub(super) fn receive(&self, held: &Held) {
        let now = self.now();
        let mut state = self.lock();
        let Some((at, copies)) = self.judge(&mut state, now, Direction::In, held) else { return };
        for _ in 0..copies {
            let kept = state.incoming.push(at, held.clone());
            self.kept(kept, &state, at);
        }
    }

    /// Puts what has arrived by now into the buffers, one datagram each, and returns how many. With none, the reader is
    /// woken when there is one.
    pub(super) fn deliver(&self, cx: &Context<'_>, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
        let now = self.now();
        let mut state = self.lock();
        let mut filled = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            let Some(held) = state.incoming.pop_due(now) else { break };
            let length = held.bytes.len().min(buf.len());
            buf[..length].copy_from_slice(&held.bytes[..length]);
            *meta = RecvMeta::default();
            (meta.addr, meta.len, meta.stride) = (held.peer, length, length);
            (meta.ecn, meta.dst_ip) = (held.ecn, held.local);
            filled += 1;
        }
        if filled == 0 {
            state.reader = Some(cx.waker().clone());
        }
        filled
    }

    /// The timer's turn: takes away leases that have ended, wakes the reader where something has arrived for it, and
    /// returns when to look again.
    pub(super) fn tick(&self) -> Option<Uptime> {
        let now = self.now();
        let mut state = self.lock();
        let ended = state.plan.expire(now);
        if ended > 0 {
            tracing::warn!(ended, "faults have ended by themselves");
        }
        // What has arrived is the reader's, who has been told; only what comes later is waited for.
        let arrived = state.incoming.next().is_some_and(|at| at <= now);
        let reader = if arrived { state.reader.take() } else { None };
        let next = [state.plan.next_end(), state.outgoing.next(), state.incoming.next().filter(|at| *at > now)];
        let next = next.into_iter().flatten().min();
        state.timer = next;
        self.note(&state);
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        next
    }

    fn judge(&self, state: &mut State, now: Uptime, way: Direction, held: &Held) -> Option<(Uptime, u8)> {
        match state.plan.judge(now, way, held.peer, held.bytes.len()) {
            Fate::Dropped => {
                self.counters.dropped.increment(1);
                None
            }
            Fate::Delivered { at, copies } => {
                if at > now {
                    self.counters.delayed.increment(1);
                }
                if copies > 1 {
                    self.counters.duplicated.increment(1);
                }
                Some((at, copies))
            }
        }
    }

    fn kept(&self, kept: bool, state: &State, at: Uptime) {
        if !kept {
            self.counters.no_room.increment(1);
        } else if state.timer.is_none_or(|timer| at < timer) {
            self.sooner.notify_one();
        }
    }
}

fn find(plan: &FaultPlan, now: Uptime, id: u64) -> Result<FaultLease, LeaseError> {
    plan.leases(now).into_iter().find(|lease| lease.id == id).ok_or(LeaseError::NoSuchLease(id))
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("active", &self.is_active()).finish_non_exhaustive()
    }
}
