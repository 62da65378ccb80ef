//! Connections that whoever writes has sent at once.
//!
//! quinn gives each connection a task that makes and sends its packets, and a write wakes that task. Where the writer runs on
//! another thread, and behaviours do, the packet waits until that thread has woken. So the driver of a connection lies behind
//! a lock here. Its task runs it, as ever, and a writer that cannot wait runs it as well, on its own thread.
//!
//! A packet that its writer sends carries what that one wrote. The task gathers what many write, so that in a crowd it is
//! left to it: only a write that comes alone is sent by its writer.
//!
//! Invariants:
//! - The driver is run by one at a time. Who finds it busy has its task woken, and never waits for it.
//! - A wake is swallowed only by a thread that runs the driver right after.
//! - Timers belong to the runtime of the endpoint, whichever thread asks for them: they must not depend on behaviours.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use quinn::{AsyncTimer, AsyncUdpSocket, Connection, Runtime};
use tokio::runtime::Handle;

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection and its driver.
#[derive(Clone, Debug)]
pub(crate) struct Driven {
    connection: Connection,
    driver: Option<Arc<Driver>>,
}

impl Driven {
    pub(crate) fn new(connection: Connection, driver: Option<Arc<Driver>>) -> Self {
        Self { connection, driver }
    }

    /// The connection, for whoever writes nothing that cannot wait.
    pub(crate) fn into_connection(self) -> Connection {
        self.connection
    }

    pub(crate) fn driver(&self) -> Option<&Arc<Driver>> {
        self.driver.as_ref()
    }
}

impl Deref for Driven {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// Writes that follow each other faster than this are a crowd's. Less than any round trip of one caller after the other.
const CROWDED: Duration = Duration::from_micros(50);

/// The task of a connection, or of an endpoint, which nobody else runs.
pub(crate) struct Driver {
    clock: Arc<dyn Runtime>,
    born: Instant,
    /// When the last writer came who could not wait, in nanoseconds since `born`.
    written: AtomicU64,
    /// `None` once it has ended.
    running: Mutex<Option<Running>>,
    /// Of its task.
    task: AtomicWaker,
    /// The task came while another thread had the lock.
    missed: AtomicBool,
}

thread_local! {
    /// Whose wake-ups this thread takes upon itself.
    static TAKES: Cell<*const Driver> = const { Cell::new(ptr::null()) };
    /// Whether it took one.
    static TOOK: Cell<bool> = const { Cell::new(false) };
    /// The drivers that were started, while somebody wants to know.
    static STARTED: RefCell<Option<Vec<Arc<Driver>>>> = const { RefCell::new(None) };
}

impl Driver {
    fn new(running: Running, clock: Arc<dyn Runtime>) -> Arc<Self> {
        Arc::new(Self {
            born: clock.now(),
            clock,
            written: AtomicU64::new(0),
            running: Mutex::new(Some(running)),
            task: AtomicWaker::new(),
            missed: AtomicBool::new(false),
        })
    }

    /// Runs `write`, and then the driver if `write` woke it and comes alone.
    pub(crate) fn after<T>(self: &Arc<Self>, write: impl FnOnce() -> T) -> T {
        self.after_at(self.clock.now().saturating_duration_since(self.born), write)
    }

    fn after_at<T>(self: &Arc<Self>, now: Duration, write: impl FnOnce() -> T) -> T {
        let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let before = self.written.swap(nanos, Ordering::Relaxed);
        if Duration::from_nanos(nanos.saturating_sub(before)) < CROWDED {
            return write();
        }
        let taking = Taking::of(self);
        let written = write();
        if taking.end() {
            self.run_here();
        }
        written
    }

    /// Runs the driver on this thread, or leaves it to its task where that is not possible.
    fn run_here(self: &Arc<Self>) {
        let task = WokenUnlessKept { driver: self, keep: Cell::new(false) };
        task.keep.set(self.poll().is_some_and(|polled| polled.is_pending()));
    }

    /// Polls the driver once. `None` where another thread has it, which then sees to it that the task runs again.
    fn poll(self: &Arc<Self>) -> Option<Poll<()>> {
        let waker = Waker::from(Arc::clone(self));
        let mut again = true;
        loop {
            let polled = match self.running.try_lock() {
                Ok(mut running) => match running.as_mut() {
                    Some(driver) => {
                        let polled = driver.as_mut().poll(&mut Context::from_waker(&waker));
                        if polled.is_ready() {
                            *running = None;
                        }
                        polled
                    }
                    None => Poll::Ready(()),
                },
                // It broke off in the middle: nothing can be said of the state it is in.
                Err(TryLockError::Poisoned(broken)) => {
                    *broken.into_inner() = None;
                    Poll::Ready(())
                }
                Err(TryLockError::WouldBlock) => {
                    self.missed.store(true, Ordering::SeqCst);
                    // Whoever had it may have let go before it could see that.
                    if std::mem::take(&mut again) {
                        continue;
                    }
                    return None;
                }
            };
            if self.missed.swap(false, Ordering::SeqCst) {
                self.task.wake();
            }
            return Some(polled);
        }
    }
}

impl Wake for Driver {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if TAKES.get() == Arc::as_ptr(self) {
            TOOK.set(true);
        } else {
            self.task.wake();
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Driver")
    }
}

/// Wakes the task of a driver that ended, is busy, or broke off with a panic.
struct WokenUnlessKept<'a> {
    driver: &'a Arc<Driver>,
    keep: Cell<bool>,
}

impl Drop for WokenUnlessKept<'_> {
    fn drop(&mut self) {
        if !self.keep.get() {
            self.driver.task.wake();
        }
    }
}

/// This thread takes the wake-ups of one driver upon itself, until this is dropped or ended.
struct Taking<'a> {
    driver: &'a Arc<Driver>,
    before: (*const Driver, bool),
}

impl<'a> Taking<'a> {
    fn of(driver: &'a Arc<Driver>) -> Self {
        Self { driver, before: (TAKES.replace(Arc::as_ptr(driver)), TOOK.replace(false)) }
    }

    /// Whether there was one.
    fn end(self) -> bool {
        let took = self.restore();
        std::mem::forget(self);
        took
    }

    fn restore(&self) -> bool {
        TAKES.set(self.before.0);
        TOOK.replace(self.before.1)
    }
}

impl Drop for Taking<'_> {
    /// What was written panicked: the task does what this thread will not come to.
    fn drop(&mut self) {
        if self.restore() {
            self.driver.task.wake();
        }
    }
}

/// The task of a driver. Ending it ends the driver, whoever else holds it.
struct Own(Arc<Driver>);

impl Future for Own {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.task.register(cx.waker());
        self.0.poll().unwrap_or(Poll::Pending)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Whoever runs it at this moment holds the lock for no longer than one poll. What is in there points back at it.
        let running = match self.0.running.lock() {
            Ok(mut running) => running.take(),
            Err(broken) => broken.into_inner().take(),
        };
        drop(running);
    }
}

/// quinn's tasks and timers, as [`Driver`]s.
#[derive(Debug)]
pub(crate) struct DriverRuntime {
    inner: Arc<dyn Runtime>,
    system: Handle,
}

impl DriverRuntime {
    /// Tasks and timers of `inner`, all of them on `system`.
    pub(crate) fn new(inner: Arc<dyn Runtime>, system: Handle) -> Self {
        Self { inner, system }
    }
}

impl Runtime for DriverRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        let _inside = self.system.enter();
        self.inner.new_timer(at)
    }

    fn spawn(&self, future: Running) {
        let driver = Driver::new(future, Arc::clone(&self.inner));
        STARTED.with_borrow_mut(|started| started.iter_mut().for_each(|all| all.push(Arc::clone(&driver))));
        let _inside = self.system.enter();
        self.inner.spawn(Box::pin(Own(driver)));
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let _inside = self.system.enter();
        self.inner.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        self.inner.now()
    }
}

/// Runs `begin`, which begins a connection, and returns the driver that was started for it.
pub(crate) fn with_driver<T>(begin: impl FnOnce() -> T) -> (T, Option<Arc<Driver>>) {
    let before = STARTED.replace(Some(Vec::new()));
    let begun = begin();
    let started = STARTED.replace(before).unwrap_or_default();
    // One connection has one. With more it would be a guess which.
    let driver = <[_; 1]>::try_from(started).ok().map(|[driver]| driver);
    (begun, driver)
}

#[cfg(test)]
mod tests;
