//! The light host: runs a [`Behaviour`] on a task of ours, for children in large numbers.
//!
//! There is no actor of ractor's, and so none of its queues: an idle one is its task, its lane and its record. A kill
//! aborts the task, which drops its future at the next `.await`; a stop is a flag and a ring at the lane's bell.
//!
//! # Invariants
//! - A flag is raised before the bell is rung, and the flags are looked at after the bell was hung up and before each
//!   wait: no stop is missed.
//! - After a kill nothing of the behaviour's code begins: neither the next message nor its `stop`.

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use covenant_env::Task;

use super::incarnation::{Incarnation, Turn};
use super::{Birth, Doorbell};
use crate::Behaviour;

const STOP: u8 = 1;
const KILL: u8 = 2;

/// One light incarnation, for those who end it.
#[derive(Default)]
pub(crate) struct Life {
    flags: AtomicU8,
    task: OnceLock<Task>,
}

impl Life {
    /// Whoever calls this rings the bell afterwards.
    pub(super) fn ask_to_stop(&self) {
        self.flags.fetch_or(STOP, Ordering::Release);
    }

    pub(super) fn kill(&self) {
        self.flags.fetch_or(KILL, Ordering::Release);
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    fn has(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }
}

pub(super) fn spawn<B: Behaviour>(birth: Birth<B>) -> Arc<Life> {
    let life = Arc::new(Life::default());
    let work = birth.notice.system().env().work.clone();
    // In a box, which goes when the start is over: the task keeps no room for it.
    let task = work.spawn(live(Box::pin(begin(birth)), Arc::clone(&life)));
    // Nobody else has `life` to set its task, or to kill it before it has one.
    let _ = life.task.set(task);
    life
}

async fn begin<B: Behaviour>(birth: Birth<B>) -> Option<Incarnation<B>> {
    let bell = poll_fn(|cx| Poll::Ready(Doorbell::Light(cx.waker().clone()))).await;
    Incarnation::begin(birth, bell).await
}

#[expect(clippy::manual_async_fn, reason = "it would keep its arguments twice, in every light actor")]
fn live<B: Behaviour>(
    begin: impl Future<Output = Option<Incarnation<B>>> + Send,
    life: Arc<Life>,
) -> impl Future<Output = ()> + Send {
    async move {
        let Some(incarnation) = begin.await else { return };
        if !incarnation.is_stopping() && !life.has(STOP | KILL) {
            rung().await;
        }
        // In a box that comes with the first ring: most light actors wait for it, and the task keeps no room for more.
        Box::pin(awake(incarnation, life)).await;
    }
}

async fn awake<B: Behaviour>(mut incarnation: Incarnation<B>, life: Arc<Life>) {
    let mut turn = if incarnation.is_stopping() { Turn::Stop } else { Turn::Idle };
    loop {
        if matches!(turn, Turn::Idle | Turn::More) && !life.has(STOP | KILL) {
            turn = incarnation.turn().await;
        }
        match turn {
            _ if life.has(KILL) => return,
            Turn::Crashed => return,
            Turn::Stop => return incarnation.stop().await,
            _ if life.has(STOP) => return incarnation.stop().await,
            Turn::Idle => rung().await,
            Turn::More => tokio::task::yield_now().await,
        }
    }
}

/// Waits until the task is woken, by its bell or by anything else.
///
/// A ring between the last look and this wait has marked the task: then it is polled again at once.
async fn rung() {
    let mut waited = false;
    poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}
