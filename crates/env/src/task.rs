//! Tasks with an owner.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};

/// Starts tasks on one runtime.
#[derive(Clone, Debug)]
pub struct Spawner {
    handle: Handle,
    blocking: Blocking,
}

/// Where blocking work runs.
#[derive(Clone, Copy, Debug)]
enum Blocking {
    /// On threads of its own.
    Threads,
    /// In the task that asks for it.
    Inline,
}

impl Spawner {
    /// Starts tasks on the runtime of `handle`.
    pub fn new(handle: Handle) -> Self {
        Self { handle, blocking: Blocking::Threads }
    }

    /// The same for a simulation: blocking work runs in the task that asks for it. A thread of its own would hold virtual
    /// time up, and end at another moment in each run.
    pub fn inline(handle: Handle) -> Self {
        Self { handle, blocking: Blocking::Inline }
    }

    /// Starts `future`. It ends with the [`Task`] that is returned: keep it.
    pub fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        Task(self.handle.spawn(future))
    }

    /// Runs blocking work on this runtime's blocking threads, or where the spawner is [`inline`](Self::inline), here.
    ///
    /// # Errors
    /// The work panicked or the runtime is shutting down.
    #[expect(clippy::disallowed_methods, reason = "the seam itself")]
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        match self.blocking {
            Blocking::Threads => self.handle.spawn_blocking(work).await.map_err(io::Error::other),
            Blocking::Inline => {
                // Others go on meanwhile, as they do beside a thread.
                tokio::task::yield_now().await;
                catch_unwind(AssertUnwindSafe(work)).map_err(|_| io::Error::other("the blocking work panicked"))
            }
        }
    }

    /// How many tasks this runtime has that have not ended, whoever started them.
    pub fn alive(&self) -> usize {
        self.handle.metrics().num_alive_tasks()
    }

    /// The runtime, for libraries that start tasks of their own. Prefer [`Spawner::spawn`].
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// A running task. Dropping this ends the task at its next `.await`.
#[derive(Debug)]
#[must_use = "a task ends when its handle is dropped"]
pub struct Task<T = ()>(JoinHandle<T>);

impl<T> Task<T> {
    /// Ends the task at its next `.await`.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map_err(|error| if error.is_panic() { TaskError::Panicked } else { TaskError::Aborted })
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a task gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskError {
    /// It panicked.
    Panicked,
    /// It was ended.
    Aborted,
}

/// Tasks of one owner, at most `limit` at a time. Dropping this ends them all.
#[derive(Debug)]
pub struct Tasks {
    set: JoinSet<()>,
    spawner: Spawner,
    limit: usize,
}

impl Tasks {
    /// No tasks yet, and never more than `limit`.
    pub fn new(spawner: Spawner, limit: usize) -> Self {
        Self { set: JoinSet::new(), spawner, limit }
    }

    /// Starts `future` and returns true, or returns false where `limit` tasks are running.
    #[must_use]
    pub fn spawn(&mut self, future: impl Future<Output = ()> + Send + 'static) -> bool {
        while self.set.try_join_next().is_some() {}
        if self.set.len() >= self.limit {
            return false;
        }
        self.set.spawn_on(future, self.spawner.handle());
        true
    }

    /// How many run.
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether none runs.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Waits until all have ended.
    pub async fn join_all(&mut self) {
        while self.set.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_ends_with_its_owner() {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let task = Spawner::new(Handle::current()).spawn(async move {
            let _held = sender;
            std::future::pending::<()>().await;
        });
        drop(task);
        assert!(receiver.await.is_err(), "the task dropped what it held");
    }

    #[tokio::test(start_paused = true)]
    async fn inline_work_takes_no_time_keeps_the_thread_and_a_panic_in_it_is_an_error() {
        let spawner = Spawner::inline(Handle::current());
        let here = std::thread::current().id();
        assert_eq!(spawner.blocking(|| std::thread::current().id()).await.unwrap(), here);
        let threads = Spawner::new(Handle::current());
        assert_ne!(threads.blocking(|| std::thread::current().id()).await.unwrap(), here);
        assert!(spawner.blocking(|| panic!("in blocking work")).await.is_err());
    }

    #[tokio::test]
    async fn a_set_of_tasks_has_a_bound() {
        let mut tasks = Tasks::new(Spawner::new(Handle::current()), 1);
        assert!(tasks.spawn(std::future::pending()));
        assert!(!tasks.spawn(std::future::pending()));
    }
}
