//! How far a sender may run ahead of one receiving actor, in bytes.
//!
//! The sender starts with [`CREDIT_BYTES`] per target and pays for each cast. The receiving side gives back what it has
//! put into the mailbox, in pieces. A cast needs any credit at all, so that a large one is never stuck.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use covenant_types::ActorPath;
use tokio::sync::Notify;

/// How far a sender may run ahead of one actor.
pub const CREDIT_BYTES: u32 = 1024 * 1024;
/// What a message costs besides its bytes, because an empty one takes memory as well.
const MESSAGE_COST: usize = 64;
/// Credit is given back in pieces of at least this size.
pub(crate) const GIVE_BACK_BYTES: u64 = CREDIT_BYTES as u64 / 8;

/// What one cast with a frame of this length costs, on both sides.
pub(crate) fn cost(frame_bytes: usize) -> u64 {
    (frame_bytes + MESSAGE_COST) as u64
}

/// One actor on the other node, as a sender sees it.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) id: u32,
    pub(crate) path: ActorPath,
    pub(crate) type_name: &'static str,
    /// Which lane carries its messages: always the same, so that they keep their order.
    pub(crate) lane: usize,
    /// Whether the other side knows the id. Changes under the lane's lock only.
    named: AtomicBool,
    credit: AtomicI64,
    available: Notify,
}

impl Target {
    pub(crate) fn new(id: u32, path: ActorPath, type_name: &'static str, lane: usize) -> Self {
        let credit = AtomicI64::new(i64::from(CREDIT_BYTES));
        Self { id, path, type_name, lane, named: AtomicBool::new(false), credit, available: Notify::new() }
    }

    /// Returns true the first time.
    pub(crate) fn must_be_named(&self) -> bool {
        !self.named.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn has_credit(&self) -> bool {
        self.credit.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn pay(&self, frame_bytes: usize) {
        self.credit.fetch_sub(i64::try_from(cost(frame_bytes)).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Takes credit back, never above what there was at the start: a peer cannot make us run ahead without end.
    pub(crate) fn give_back(&self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let capped = |credit: i64| Some(credit.saturating_add(bytes).min(i64::from(CREDIT_BYTES)));
        let _always = self.credit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, capped);
        self.available.notify_one();
    }

    /// Waits until there may be credit. Who wakes must try, and call [`Target::pass_on`] whatever came of it.
    pub(crate) fn available(&self) -> impl Future<Output = ()> + '_ {
        self.available.notified()
    }

    /// Wakes the next waiting sender.
    pub(crate) fn pass_on(&self) {
        self.available.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target::new(0, "/a".parse().unwrap(), "t", 0)
    }

    #[test]
    fn a_sender_runs_out_of_credit_and_gets_it_back() {
        let target = target();
        let mut sent = 0;
        while target.has_credit() {
            target.pay(1000);
            sent += 1;
        }
        assert_eq!(sent, CREDIT_BYTES.div_ceil(1064));
        target.give_back(cost(1000) * 2);
        assert!(target.has_credit());
    }

    #[test]
    fn a_message_larger_than_all_credit_can_be_sent() {
        let target = target();
        target.pay(10 * CREDIT_BYTES as usize);
        assert!(!target.has_credit());
        target.give_back(cost(10 * CREDIT_BYTES as usize));
        assert!(target.has_credit());
    }

    #[test]
    fn a_peer_cannot_give_more_than_there_was() {
        let target = target();
        target.give_back(u64::MAX);
        target.pay(CREDIT_BYTES as usize);
        assert!(!target.has_credit());
    }
}
