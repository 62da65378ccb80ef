//! Leases of nodes, from a source in memory, in virtual time.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use covenant_cluster::{Fences, LeaseError, LeaseSource, Leases, SimulatedLeases, StaleToken};
use covenant_env::{Clock, Env, RealClock};
use covenant_types::{ActorPath, NodeId, Uptime, WallTime};

const SPAN: Duration = Duration::from_secs(9);
const ONE: NodeId = NodeId([1; 16]);
const TWO: NodeId = NodeId([2; 16]);

fn key() -> ActorPath {
    "/placed".parse().unwrap()
}

/// The clock of a machine that a test can suspend.
#[derive(Debug)]
struct Suspendable {
    clock: RealClock,
    suspended: AtomicU64,
}

impl Suspendable {
    fn new() -> Arc<Self> {
        Arc::new(Self { clock: RealClock::new(), suspended: AtomicU64::new(0) })
    }

    fn suspend(&self, span: Duration) {
        self.suspended.fetch_add(u64::try_from(span.as_millis()).unwrap(), Ordering::AcqRel);
    }
}

impl Clock for Suspendable {
    fn now(&self) -> Uptime {
        self.clock.now()
    }
    fn wall(&self) -> WallTime {
        self.clock.wall()
    }
    fn suspended(&self) -> Duration {
        Duration::from_millis(self.suspended.load(Ordering::Acquire))
    }
}

/// A source whose clock never stands still, and the leases of two nodes that it grants.
struct Rig {
    source: Arc<SimulatedLeases>,
    clock: Arc<Suspendable>,
    one: Leases,
    two: Leases,
}

impl Rig {
    fn new() -> Self {
        let source = Arc::new(SimulatedLeases::new(Arc::new(RealClock::new())));
        let clock = Suspendable::new();
        let leases = |me, clock: Arc<dyn Clock>| {
            let env = Env { clock, ..Env::for_test(7) };
            Leases::new(Arc::clone(&source) as Arc<dyn LeaseSource>, me, env)
        };
        let one = leases(ONE, Arc::clone(&clock) as Arc<dyn Clock>);
        let two = leases(TWO, Arc::new(RealClock::new()));
        Self { source, clock, one, two }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_as_long_as_its_holder_lives_and_goes_to_the_next_one_after() {
    let rig = Rig::new();
    let lease = rig.one.acquire(&key(), SPAN).await.unwrap();
    tokio::time::sleep(SPAN * 10).await;
    assert!(lease.is_held());
    assert!(matches!(rig.two.acquire(&key(), SPAN).await, Err(LeaseError::Held { by: ONE, .. })));
    let before = lease.fence().clone();
    lease.release().await.unwrap();
    let next = rig.two.acquire(&key(), SPAN).await.unwrap();
    assert!(next.fence().token > before.token);
    // One that is only let go of ends by itself.
    drop(next);
    assert!(matches!(rig.one.acquire(&key(), SPAN).await, Err(LeaseError::Held { by: TWO, .. })));
    tokio::time::sleep(SPAN).await;
    assert!(rig.one.acquire(&key(), SPAN).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_is_cut_off_gives_up_before_another_has_it_and_what_it_still_does_is_refused() {
    let rig = Rig::new();
    let old = rig.one.acquire(&key(), SPAN).await.unwrap();
    rig.source.cut_off(ONE);
    let began = tokio::time::Instant::now();
    old.lost().await;
    assert!(began.elapsed() <= SPAN);
    let new = loop {
        match rig.two.acquire(&key(), SPAN).await {
            Ok(lease) => break lease,
            Err(error) => assert!(matches!(error, LeaseError::Held { by: ONE, .. }), "{error}"),
        }
        assert!(!old.is_held());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let receiver = Fences::new();
    assert_eq!(receiver.check(old.fence()), Ok(()), "nobody else has acted here yet");
    assert_eq!(receiver.check(new.fence()), Ok(()));
    assert!(matches!(receiver.check(old.fence()), Err(StaleToken::Stale { .. })));
    rig.source.mend(ONE);
    assert!(!old.is_held(), "what is lost does not come back");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_was_suspended_holds_nothing_however_short_it_was() {
    let rig = Rig::new();
    let lease = rig.one.acquire(&key(), SPAN).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(lease.is_held());
    rig.clock.suspend(Duration::from_millis(100));
    assert!(!lease.is_held());
    lease.lost().await;
    // It asks again, under a new token.
    let again = rig.one.acquire(&key(), SPAN).await.unwrap();
    assert!(again.is_held() && again.fence().token > lease.fence().token);
    assert!(!lease.is_held());
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_for_a_moment_loses_nothing() {
    let rig = Rig::new();
    let lease = rig.one.acquire(&key(), SPAN).await.unwrap();
    for _ in 0..5 {
        rig.source.cut_off(ONE);
        tokio::time::sleep(SPAN / 2).await;
        rig.source.mend(ONE);
        tokio::time::sleep(SPAN / 2).await;
    }
    assert!(lease.is_held());
}
