//! Nodes to which this one keeps no connection, and that somebody here wants to reach.
//!
//! Their records say where they are, so they are dialled. Those who cannot be dialled, behind a carrier's address
//! translation, are asked by way of a hub that has a connection to them: they dial then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covenant_types::{NodeId, NodeName, Role, Uptime};

use crate::feed;
use crate::member::MemberState;
use crate::session::{Session, Standing};
use crate::shared::Shared;

/// The most nodes that are dialled on demand at a time. Further demands find no connection.
pub const DEMANDS_MAX: usize = 64;
/// How long a message waits for a connection, at most: less where its deadline is nearer.
pub const DEMAND_WAIT_MAX: Duration = Duration::from_secs(10);

/// Who is wanted, and until when.
#[derive(Debug, Default)]
pub(crate) struct Demands(Mutex<BTreeMap<NodeId, Uptime>>);

impl Demands {
    /// Wants a node until then. False where too many are wanted.
    fn add(&self, now: Uptime, node: NodeId, until: Uptime) -> bool {
        let mut demands = self.lock();
        demands.retain(|_, until| *until > now);
        if !demands.contains_key(&node) && demands.len() >= DEMANDS_MAX {
            return false;
        }
        let wanted = demands.entry(node).or_insert(until);
        *wanted = (*wanted).max(until);
        true
    }

    /// Those that are wanted.
    pub(crate) fn wanted(&self, now: Uptime) -> Vec<NodeId> {
        self.lock().iter().filter(|(_, until)| **until > now).map(|(node, _)| *node).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Uptime>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The node of this name if a connection to it can be had by asking: hubs answer for it, and it is not known to be gone.
pub(crate) fn can_be_reached(shared: &Shared, name: &NodeName) -> Option<NodeId> {
    let directory = shared.directory();
    let view = directory.view(directory.named(name)?)?;
    let there = matches!(view.state, MemberState::Reachable | MemberState::Unreachable);
    (there && directory.is_vouched_for(view.id)).then_some(view.id)
}

/// Has a node dialled, and asks hubs to ask it to dial. False where too many are wanted.
pub(crate) fn demand(shared: &Shared, node: NodeId, within: Duration) -> bool {
    let now = shared.env.now();
    if !shared.demands.add(now, node, now.after(within)) {
        shared.counters.demands_refused.increment(1);
        return false;
    }
    shared.counters.demands.increment(1);
    shared.wanted_changed.notify_one();
    for session in shared.sessions().iter().filter(|session| session.sender.role == Role::Hub) {
        let _full = session.send_feed(feed::seek(node, shared.me));
    }
    true
}

/// Waits for a connection to a node that is wanted.
pub(crate) async fn reach(shared: &Shared, node: NodeId, within: Duration) -> Option<Arc<Session>> {
    let waiting = async {
        loop {
            let arrival = shared.arrived.notified();
            tokio::pin!(arrival);
            arrival.as_mut().enable();
            if let Some(session) = shared.session(node).filter(|session| session.standing() == Standing::Open) {
                return session;
            }
            arrival.await;
        }
    };
    tokio::time::timeout(within, waiting).await.ok()
}

/// A node asks, by way of hubs, to be dialled. `vouchers` are hubs that hold `target` for alive.
pub(crate) fn sought(shared: &Shared, from: &Session, target: NodeId, asker: NodeId, vouchers: &[NodeId]) {
    let by_hub = from.sender.role == Role::Hub;
    if target == shared.me {
        if by_hub && asker != shared.me && shared.session(asker).is_none() {
            let now = shared.env.now();
            let _full = shared.demands.add(now, asker, now.after(DEMAND_WAIT_MAX));
            shared.wanted_changed.notify_one();
        }
        return;
    }
    if shared.own_record().role != Role::Hub {
        return;
    }
    let direct = shared.session(target);
    // Passed from hub to hub once.
    let hops: Vec<NodeId> = match direct {
        Some(_) if asker == from.sender.node || by_hub => vec![target],
        None if asker == from.sender.node => vouchers.to_vec(),
        Some(_) | None => Vec::new(),
    };
    for session in hops.into_iter().filter_map(|hop| shared.session(hop)) {
        let _full = session.send_feed(feed::seek(target, asker));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demands_are_bounded_and_pass() {
        let demands = Demands::default();
        let (now, later) = (Uptime::ZERO, Uptime::from_millis(10));
        let node = |number: usize| NodeId([u8::try_from(number).unwrap(); 16]);
        for number in 0..DEMANDS_MAX {
            assert!(demands.add(now, node(number), later));
        }
        assert!(!demands.add(now, node(200), later));
        assert!(demands.add(now, node(3), Uptime::from_millis(30)), "it is wanted already");
        assert_eq!(demands.wanted(later), [node(3)]);
        assert!(demands.add(later, node(200), Uptime::from_millis(20)));
    }
}
