use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// A driver that says how often it was polled, and by whom it wants to be woken.
#[derive(Default)]
struct Seen {
    polls: AtomicUsize,
    waker: Mutex<Option<Waker>>,
    ends: AtomicBool,
    panics: AtomicBool,
    /// Told at the beginning of a poll, which then waits for a word.
    stops: Mutex<Option<(Sender<()>, Receiver<()>)>>,
}

impl Seen {
    fn driver(self: &Arc<Self>) -> Arc<Driver> {
        let seen = Arc::clone(self);
        let driver: Running = Box::pin(std::future::poll_fn(move |cx| {
            seen.polls.fetch_add(1, Ordering::SeqCst);
            *seen.waker.lock().unwrap() = Some(cx.waker().clone());
            if let Some((begun, go_on)) = seen.stops.lock().unwrap().take() {
                begun.send(()).unwrap();
                go_on.recv().unwrap();
            }
            assert!(!seen.panics.load(Ordering::SeqCst), "told to");
            if seen.ends.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        }));
        Driver::new(driver, Arc::new(quinn::TokioRuntime))
    }

    fn polls(&self) -> usize {
        self.polls.load(Ordering::SeqCst)
    }

    /// As a write does.
    fn wake(&self) {
        let waker = self.waker.lock().unwrap().take();
        waker.into_iter().for_each(Waker::wake);
    }
}

/// Counts how often the task was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Writes come one at a time, far from each other.
fn alone() -> Duration {
    static WRITES: AtomicU64 = AtomicU64::new(1);
    Duration::from_secs(WRITES.fetch_add(1, Ordering::SeqCst))
}

/// A driver and its task, polled once.
struct Stage {
    seen: Arc<Seen>,
    driver: Arc<Driver>,
    own: Own,
    woken: Arc<Woken>,
}

impl Stage {
    fn new() -> Self {
        let seen = Arc::new(Seen::default());
        let driver = seen.driver();
        let mut stage = Self { seen, own: Own(Arc::clone(&driver)), driver, woken: Arc::default() };
        assert!(stage.poll().is_pending());
        stage
    }

    fn poll(&mut self) -> Poll<()> {
        let waker = Waker::from(Arc::clone(&self.woken));
        Pin::new(&mut self.own).poll(&mut Context::from_waker(&waker))
    }

    fn woken(&self) -> usize {
        self.woken.0.load(Ordering::SeqCst)
    }
}

#[test]
fn who_writes_runs_the_driver_and_wakes_nobody() {
    let stage = Stage::new();
    assert_eq!(stage.driver.after_at(alone(), || stage.seen.wake()), ());
    assert_eq!((stage.seen.polls(), stage.woken()), (2, 0));
    assert_eq!(stage.driver.after_at(alone(), || 7), 7, "a write that woke nobody");
    assert_eq!((stage.seen.polls(), stage.woken()), (2, 0));
    stage.seen.wake();
    assert_eq!((stage.seen.polls(), stage.woken()), (2, 1), "elsewhere a wake-up is the task's");
}

#[test]
fn in_a_crowd_the_task_gathers_what_is_written() {
    let mut stage = Stage::new();
    let write_at =
        |stage: &Stage, micros: u64| stage.driver.after_at(Duration::from_micros(micros), || stage.seen.wake());
    write_at(&stage, 1000);
    assert_eq!((stage.seen.polls(), stage.woken()), (2, 0), "alone");
    write_at(&stage, 1049);
    assert_eq!((stage.seen.polls(), stage.woken()), (2, 1), "too soon after another one");
    assert!(stage.poll().is_pending());
    write_at(&stage, 1099);
    assert_eq!((stage.seen.polls(), stage.woken()), (4, 1), "alone again");
}

#[test]
fn a_driver_takes_no_wake_up_of_another() {
    let (one, two) = (Stage::new(), Stage::new());
    one.driver.after_at(alone(), || two.driver.after_at(alone(), || one.seen.wake()));
    assert_eq!((one.seen.polls(), one.woken()), (1, 1), "inside the write of another one it is the task's");
    one.driver.after_at(alone(), || two.seen.wake());
    assert_eq!((two.seen.polls(), two.woken()), (1, 1));
}

#[test]
fn who_finds_the_driver_busy_has_its_task_woken_and_does_not_wait() {
    let mut stage = Stage::new();
    let (begun, has_begun) = channel();
    let (go_on, may_go_on) = channel();
    *stage.seen.stops.lock().unwrap() = Some((begun, may_go_on));
    std::thread::scope(|threads| {
        let (driver, seen) = (&stage.driver, &stage.seen);
        threads.spawn(move || driver.after_at(alone(), || seen.wake()));
        has_begun.recv().unwrap();
        stage.driver.after_at(alone(), || stage.seen.wake());
        assert_eq!(stage.woken(), 1);
        go_on.send(()).unwrap();
    });
    assert!(stage.poll().is_pending());
    assert_eq!(stage.seen.polls(), 3);
}

#[test]
fn a_task_that_finds_the_driver_busy_is_woken_when_it_is_free() {
    let mut stage = Stage::new();
    let (begun, has_begun) = channel();
    let (go_on, may_go_on) = channel();
    *stage.seen.stops.lock().unwrap() = Some((begun, may_go_on));
    std::thread::scope(|threads| {
        let (driver, seen) = (Arc::clone(&stage.driver), Arc::clone(&stage.seen));
        threads.spawn(move || driver.after_at(alone(), || seen.wake()));
        has_begun.recv().unwrap();
        assert!(stage.poll().is_pending());
        assert_eq!(stage.woken(), 0);
        go_on.send(()).unwrap();
    });
    assert_eq!((stage.seen.polls(), stage.woken()), (2, 1));
}

#[test]
fn a_driver_that_ends_or_breaks_off_elsewhere_ends_its_task() {
    let mut ended = Stage::new();
    ended.seen.ends.store(true, Ordering::SeqCst);
    ended.driver.after_at(alone(), || ended.seen.wake());
    assert_eq!((ended.woken(), ended.poll()), (1, Poll::Ready(())));
    assert_eq!(ended.seen.polls(), 2, "what has ended is not run again");

    let mut broken = Stage::new();
    broken.seen.panics.store(true, Ordering::SeqCst);
    assert!(catch_unwind(AssertUnwindSafe(|| broken.driver.after_at(alone(), || broken.seen.wake()))).is_err());
    assert_eq!((broken.woken(), broken.poll()), (1, Poll::Ready(())));
    assert_eq!(broken.seen.polls(), 2, "what broke off is not gone on with");
}

#[test]
fn a_write_that_panics_leaves_the_wake_up_to_the_task() {
    let stage = Stage::new();
    let write = || {
        stage.seen.wake();
        panic!("told to");
    };
    assert!(catch_unwind(AssertUnwindSafe(|| stage.driver.after_at(alone(), write))).is_err());
    assert_eq!((stage.seen.polls(), stage.woken()), (1, 1));
    stage.driver.after_at(alone(), || ());
    assert_eq!(stage.seen.polls(), 1, "nothing is left of it");
}

#[test]
fn a_task_that_is_ended_lets_go_of_what_it_ran() {
    let stage = Stage::new();
    let held = Arc::downgrade(&stage.driver);
    let Stage { seen, driver, own, .. } = stage;
    drop(own);
    driver.after_at(alone(), || seen.wake());
    assert_eq!(seen.polls(), 1);
    drop((driver, seen.waker.lock().unwrap().take()));
    assert!(held.upgrade().is_none(), "nothing points at itself");
}

#[test]
fn a_timer_is_of_the_system_whoever_asks_for_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (system, work) = (runtime(), runtime());
    let drivers = DriverRuntime::new(Arc::new(quinn::TokioRuntime), system.handle().clone());
    let mut timer = work.block_on(async { drivers.new_timer(drivers.now() + Duration::from_millis(10)) });
    drop(work);
    system.block_on(std::future::poll_fn(|cx| timer.as_mut().poll(cx)));
}

#[tokio::test]
async fn the_driver_of_what_was_begun_is_found_where_there_is_one() {
    let runtime = DriverRuntime::new(Arc::new(quinn::TokioRuntime), Handle::current());
    let begin = |count: usize| with_driver(|| (0..count).for_each(|_| runtime.spawn(Box::pin(async {})))).1;
    assert!(begin(1).is_some());
    assert!(begin(0).is_none() && begin(2).is_none());
}
