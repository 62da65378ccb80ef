//! How far a sender may run ahead of one receiving actor, in bytes.
//!
//! The sender starts with [`CREDIT_START_BYTES`] per target and pays for each cast. The receiving side gives back what has
//! entered the mailbox, in pieces, and more than that to a sender that uses all it has while the mailbox keeps up, up to
//! [`CREDIT_BYTES`]. What it gave on top comes from a pool of [`CREDIT_POOL_BYTES`] for each node, and is taken back from
//! whom does not use it or whose actor does not keep up. A cast needs any credit at all, so that a large one is never stuck.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use covenant_runtime::Declared;
use covenant_types::{ActorPath, Fence};
use tokio::sync::Notify;

use crate::placement::StaleToken;

/// How far a sender may run ahead of an actor from the start.
pub const CREDIT_START_BYTES: u32 = 64 * 1024;
/// How far a sender may ever run ahead of one actor.
pub const CREDIT_BYTES: u32 = 4 * 1024 * 1024;
/// How much one node's senders may have beyond what they start with, over all actors of another node.
pub const CREDIT_POOL_BYTES: u64 = 32 * 1024 * 1024;
/// Credit beyond the start that was not used for so long is taken back.
pub(crate) const CREDIT_IDLE: Duration = Duration::from_secs(10);
/// What a message costs besides its bytes, because an empty one takes memory as well.
const MESSAGE_COST: usize = 64;

/// What the receiving side has let one sender have before one actor.
#[derive(Debug)]
pub(crate) struct Window {
    /// Credit given and not paid, messages that wait, and what is owed.
    bytes: u64,
    /// What has entered the mailbox and is not given back.
    owed: u64,
    /// What was given back since the window last grew.
    turned: u64,
    /// Whether it was used since the last look.
    used: bool,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self { bytes: u64::from(CREDIT_START_BYTES), owed: 0, turned: 0, used: false }
    }

    /// So much has entered the mailbox, and so much still waits for room. Returns what is to be given back now, if it is
    /// worth a frame.
    pub(crate) fn entered(&mut self, bytes: u64, waiting: u64, pool: &Pool) -> Option<u64> {
        self.used |= bytes > 0;
        self.owed += bytes;
        if self.owed < self.bytes / 8 {
            return None;
        }
        let mut give = std::mem::take(&mut self.owed);
        self.turned += give;
        let beyond_start = self.bytes - u64::from(CREDIT_START_BYTES);
        if waiting > self.bytes / 2 {
            let kept = give.min(beyond_start);
            self.bytes -= kept;
            pool.give_back(kept);
            give -= kept;
        } else if self.turned >= self.bytes && waiting == 0 {
            self.turned = 0;
            let more = pool.take(self.bytes.min(u64::from(CREDIT_BYTES) - self.bytes));
            self.bytes += more;
            give += more;
        }
        (give > 0).then_some(give)
    }

    /// Looked at from time to time: what is to be taken back, where the sender does not use it.
    pub(crate) fn take_back(&mut self, pool: &Pool) -> Option<u64> {
        let beyond_start = self.bytes - u64::from(CREDIT_START_BYTES);
        if std::mem::take(&mut self.used) || beyond_start == 0 {
            return None;
        }
        self.bytes -= beyond_start;
        pool.give_back(beyond_start);
        Some(beyond_start)
    }

    /// Whether there is anything to take back.
    pub(crate) fn has_more_than_start(&self) -> bool {
        self.bytes > u64::from(CREDIT_START_BYTES)
    }
}

/// What one node's senders have beyond what they start with.
#[derive(Debug, Default)]
pub(crate) struct Pool(AtomicU64);

impl Pool {
    /// As much of `bytes` as there is.
    fn take(&self, bytes: u64) -> u64 {
        let mut taken = 0;
        let take = |given: u64| {
            taken = bytes.min(CREDIT_POOL_BYTES - given);
            Some(given + taken)
        };
        let _always = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken
    }

    fn give_back(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What one cast with a frame of this length costs, on both sides.
pub(crate) fn cost(frame_bytes: usize) -> u64 {
    (frame_bytes + MESSAGE_COST) as u64
}

/// One actor on the other node, as a sender sees it.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) id: u32,
    pub(crate) path: ActorPath,
    pub(crate) message: Declared,
    /// Which lane carries its messages: always the same, so that they keep their order.
    pub(crate) lane: usize,
    /// Whose lease its messages are sent under.
    key: Option<ActorPath>,
    /// Whether the other side knows the id. Changes under the lane's lock only.
    named: AtomicBool,
    /// The token that the other side knows with it. As `named`.
    token: AtomicU64,
    credit: AtomicI64,
    available: Notify,
}

impl Target {
    pub(crate) fn new(id: u32, path: ActorPath, message: Declared, key: Option<ActorPath>, lane: usize) -> Self {
        let (named, token, available) = (AtomicBool::new(false), AtomicU64::new(0), Notify::new());
        let credit = AtomicI64::new(i64::from(CREDIT_START_BYTES));
        Self { id, path, message, lane, key, named, token, credit, available }
    }

    /// Whether the other side has to be told the id before a message that carries this token: the first time, and where it
    /// was told a lower token.
    ///
    /// # Errors
    /// It was told a higher token: this node has had the lease anew since, and what it sends under the old one is late.
    pub(crate) fn must_be_named(&self, token: Option<u64>) -> Result<bool, StaleToken> {
        let is_new = !self.named.load(Ordering::Relaxed) && !self.named.swap(true, Ordering::Relaxed);
        let (Some(token), Some(key)) = (token, &self.key) else { return Ok(is_new) };
        let seen = self.token.load(Ordering::Relaxed);
        if token < seen {
            return Err(StaleToken::Stale { fence: Fence { key: key.clone(), token }, seen });
        }
        self.token.store(token, Ordering::Relaxed);
        Ok(is_new || token > seen)
    }

    /// What its messages carry with this token.
    pub(crate) fn fence(&self, token: Option<u64>) -> Option<Fence> {
        Some(Fence { key: self.key.clone()?, token: token? })
    }

    pub(crate) fn has_credit(&self) -> bool {
        self.credit.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn pay(&self, frame_bytes: usize) {
        self.credit.fetch_sub(i64::try_from(cost(frame_bytes)).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// The receiver takes credit away that was not used. What was paid meanwhile makes it less than none for a while.
    pub(crate) fn take_away(&self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let less = |credit: i64| Some(credit.saturating_sub(bytes).max(-i64::from(CREDIT_BYTES)));
        let _always = self.credit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Takes credit in, never more than the bound: a peer cannot make us run ahead without end.
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
    use covenant_wire::SchemaHash;

    use super::*;

    fn target() -> Target {
        Target::new(0, "/a".parse().unwrap(), Declared { name: "t", schema: SchemaHash([0; 32]) }, None, 0)
    }

    #[test]
    fn the_other_side_is_told_an_id_once_and_again_with_each_higher_token() {
        let target = target();
        assert_eq!([target.must_be_named(None), target.must_be_named(None)], [Ok(true), Ok(false)]);
        let declared = Declared { name: "t", schema: SchemaHash([0; 32]) };
        let fenced = Target::new(0, "/a".parse().unwrap(), declared, Some("/k".parse().unwrap()), 0);
        let told = [0, 0, 5, 5, 6].map(|token| fenced.must_be_named(Some(token)));
        assert_eq!(told, [Ok(true), Ok(false), Ok(true), Ok(false), Ok(true)]);
        assert!(matches!(fenced.must_be_named(Some(5)), Err(StaleToken::Stale { seen: 6, .. })));
    }

    #[test]
    fn a_sender_runs_out_of_credit_and_gets_it_back() {
        let target = target();
        let mut sent = 0;
        while target.has_credit() {
            target.pay(1000);
            sent += 1;
        }
        assert_eq!(sent, CREDIT_START_BYTES.div_ceil(1064));
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
    fn a_peer_cannot_give_more_than_there_may_be() {
        let target = target();
        target.give_back(u64::MAX);
        target.pay(CREDIT_BYTES as usize);
        assert!(!target.has_credit());
    }

    /// A sender that uses all it has, before an actor that keeps up.
    fn turn_over(window: &mut Window, pool: &Pool, bytes: u64) -> u64 {
        (0..bytes / 1024).filter_map(|_| window.entered(1024, 0, pool)).sum()
    }

    #[test]
    fn a_busy_sender_gets_more_up_to_the_bound_and_what_it_does_not_use_is_taken_back() {
        let (mut window, pool) = (Window::new(), Pool::default());
        let turned = 4 * u64::from(CREDIT_BYTES);
        let given = turn_over(&mut window, &pool, turned);
        assert_eq!(window.bytes, u64::from(CREDIT_BYTES));
        let more = u64::from(CREDIT_BYTES - CREDIT_START_BYTES);
        assert_eq!(given + window.owed, turned + more, "what it paid and what it got more");
        assert_eq!(window.take_back(&pool), None, "it was used just now");
        assert_eq!(window.take_back(&pool), Some(more));
        assert!(!window.has_more_than_start());
        assert_eq!(pool.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_sender_whose_actor_does_not_keep_up_gets_less_until_it_has_what_it_started_with() {
        let (mut window, pool) = (Window::new(), Pool::default());
        turn_over(&mut window, &pool, 4 * u64::from(CREDIT_BYTES));
        while window.has_more_than_start() {
            let before = window.bytes;
            let _given = window.entered(before / 8, before, &pool);
            assert!(window.bytes < before);
        }
        assert_eq!(pool.0.load(Ordering::Relaxed), 0);
        assert!(window.entered(u64::from(CREDIT_START_BYTES), 1 << 20, &pool).is_some(), "the start stays");
    }

    #[test]
    fn all_senders_of_a_node_together_get_no_more_than_the_pool() {
        let pool = Pool::default();
        let mut windows: Vec<Window> = (0..64).map(|_| Window::new()).collect();
        for window in &mut windows {
            turn_over(window, &pool, 4 * u64::from(CREDIT_BYTES));
        }
        let more: u64 = windows.iter().map(|window| window.bytes - u64::from(CREDIT_START_BYTES)).sum();
        assert_eq!(more, CREDIT_POOL_BYTES);
    }
}
