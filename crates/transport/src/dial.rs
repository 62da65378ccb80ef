//! Which dials are under way: at most one per address, at most [`DIALS_MAX`] in all.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use covenant_types::NodeId;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The dials of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Dials {
    under_way: Arc<Mutex<BTreeMap<SocketAddr, Entry>>>,
    count: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    turn: Arc<AsyncMutex<()>>,
    callers: usize,
    expect: Option<NodeId>,
}

/// The right to dial one address. Whoever else wants to waits, and finds the connection made.
#[derive(Debug)]
pub(crate) struct Turn {
    address: SocketAddr,
    under_way: Arc<Mutex<BTreeMap<SocketAddr, Entry>>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Dials {
    /// The number of the next dial, beginning with 1.
    pub(crate) fn next_number(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Waits for the turn to dial `address`. `None` where too many dials are under way.
    ///
    /// # Cancel safety
    /// Dropping the future or the turn lets the next one go.
    pub(crate) async fn turn(&self, address: SocketAddr, expect: Option<NodeId>) -> Option<Turn> {
        let lock = {
            let mut under_way = lock(&self.under_way);
            let full = under_way.values().map(|entry| entry.callers).sum::<usize>() >= CALLERS_MAX
                || (under_way.len() >= DIALS_MAX && !under_way.contains_key(&address));
            if full {
                return None;
            }
            let entry = under_way.entry(address).or_insert_with(|| Entry { turn: Arc::default(), callers: 0, expect });
            entry.callers += 1;
            entry.expect = entry.expect.or(expect);
            Arc::clone(&entry.turn)
        };
        let mut turn = Turn { address, under_way: Arc::clone(&self.under_way), guard: None };
        turn.guard = Some(lock.lock_owned().await);
        Some(turn)
    }

    /// Whether this node is dialling the node `id` at one of these addresses.
    ///
    /// A dial of the same node at an address it has left does not count: it leads nowhere, and whoever calls from the new
    /// address must not be turned away for it.
    pub(crate) fn is_dialling(&self, id: NodeId, addresses: [SocketAddr; 2]) -> bool {
        let under_way = lock(&self.under_way);
        under_way
            .iter()
            .any(|(address, entry)| addresses.contains(address) && entry.expect.is_none_or(|expected| expected == id))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.guard.take());
        let mut under_way = lock(&self.under_way);
        if let Some(entry) = under_way.get_mut(&self.address) {
            entry.callers -= 1;
            if entry.callers == 0 {
                under_way.remove(&self.address);
            }
        }
    }
}

fn lock(under_way: &Mutex<BTreeMap<SocketAddr, Entry>>) -> MutexGuard<'_, BTreeMap<SocketAddr, Entry>> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The most addresses dialled at a time. A failed dial costs memory until its handshake is given up.
const DIALS_MAX: usize = 32;
/// The most callers that wait for dials.
const CALLERS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[tokio::test]
    async fn an_address_is_dialled_by_one_at_a_time() {
        let dials = Dials::default();
        let first = dials.turn(address(1), None).await.unwrap();
        let mut second = Box::pin(dials.turn(address(1), None));
        tokio::select! {
            biased;
            _ = &mut second => panic!("two at a time"),
            () = std::future::ready(()) => {}
        }
        drop(first);
        assert!(second.await.is_some());
        assert!(lock(&dials.under_way).is_empty());
    }

    #[tokio::test]
    async fn dials_have_a_bound() {
        let dials = Dials::default();
        let mut turns = Vec::new();
        for port in 1..=32 {
            turns.push(dials.turn(address(port), None).await.unwrap());
        }
        assert!(dials.turn(address(33), None).await.is_none());
        turns.pop();
        assert!(dials.turn(address(33), None).await.is_some());
    }

    #[tokio::test]
    async fn a_node_is_being_dialled_where_it_is_and_not_where_it_was() {
        let dials = Dials::default();
        let (one, other) = (NodeId([1; 16]), NodeId([2; 16]));
        let _by_id = dials.turn(address(1), Some(one)).await.unwrap();
        let _by_address = dials.turn(address(2), None).await.unwrap();
        assert!(dials.is_dialling(one, [address(9), address(1)]));
        assert!(!dials.is_dialling(one, [address(9), address(9)]), "a dial to where it was leads nowhere");
        assert!(!dials.is_dialling(other, [address(1), address(9)]), "another node is expected there");
        assert!(dials.is_dialling(other, [address(9), address(2)]));
        assert!(!dials.is_dialling(other, [address(9), address(9)]));
    }
}
