//! The lane: a bounded mailbox that outlives the actor reading it.
//!
//! Senders append under a lock and ring a bell only when nobody is about to look. The reader takes the whole queue in
//! one step, handles it as a [`Batch`] and gives back what it did not get to. The lane lives as long as its child's
//! spec: a crash loses the message in hand and nothing else, and the next incarnation attaches to the same lane.
//!
//! # Invariants
//! - Never more than `capacity` messages, those of the running batch included; while a reader that was given up still has
//!   a batch, not counting that.
//! - `scheduled` is true from the ring of a bell until the batch that answers it found nothing more, and that check and
//!   the change of `scheduled` happen under one lock: a message is never left without a bell.
//! - A batch returns what it did not hand out when it is dropped, however the reader ended.
//! - One sender's messages keep their order.
//! - A reader that was replaced while it held a batch is handed nothing more, and what it gives back comes first again.

mod batch;

use std::collections::VecDeque;
use std::mem;
use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;

use covenant_supervision::Overflow;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

pub(crate) use batch::Batch;

/// Wakes the reader of a lane. It may be rung at any time, also when the reader has gone.
pub(crate) trait Bell: Clone + Send + Sync + 'static {
    /// Makes the reader take a batch.
    fn ring(self);
}

/// A bounded queue between many senders and one incarnation at a time.
pub(crate) struct Lane<M, K> {
    /// The most messages; small, as are the counts below, because there are lanes in large numbers.
    capacity: u32,
    pub(crate) overflow: Overflow,
    /// The reader that may go on with its batch; [`NOBODY`] from when somebody stops it: the rest stays in the lane.
    may_read: AtomicU32,
    inner: Mutex<Inner<M, K>>,
    /// Made when somebody first waits for room.
    space: OnceLock<Box<Space>>,
}

/// Those who wait for room.
#[derive(Default)]
struct Space {
    /// One is woken for each place that is free.
    senders: Notify,
    /// All are woken when half of the lane is free: each brings many messages.
    carriers: Mutex<Vec<Waker>>,
}

impl Space {
    fn wake_carriers(&self) {
        let wakers = mem::take(&mut *self.carriers.lock());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The lane is closed: nobody need wait any more.
    fn wake_all(&self) {
        self.senders.notify_waiters();
        self.wake_carriers();
    }
}

struct Inner<M, K> {
    /// Newest; senders append.
    queue: VecDeque<M>,
    /// Oldest; left over from the last batch.
    front: VecDeque<M>,
    /// How many the running batch has, counted against the capacity.
    held: u32,
    /// Senders waiting for space.
    blocked: u32,
    /// A bell was rung or a batch is running.
    scheduled: bool,
    gate: Gate,
    /// The reader that attached last.
    reader: Reader,
    /// `None` while no incarnation is attached.
    bell: Option<K>,
}

/// What becomes of messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// They are taken.
    Open,
    /// None is taken; those that wait are handled.
    Draining,
    /// None is taken, and those that the reader gives back are for nobody: it is to look after them.
    Discarding,
    /// None is taken, and none waits.
    Closed,
}

/// One attachment to a lane, counted from 1.
pub(crate) type Reader = u32;

const NOBODY: Reader = 0;

/// A message the lane did not take.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused<M> {
    Full(M),
    Closed(M),
}

/// An emptied queue with room for more than this many messages gives its memory back.
const IDLE_CAPACITY_MAX: usize = 64;

impl<M, K: Bell> Lane<M, K> {
    /// An open lane with no reader.
    pub(crate) fn new(capacity: usize, overflow: Overflow) -> Self {
        Self {
            capacity: u32::try_from(capacity).unwrap_or(u32::MAX).max(1),
            overflow,
            may_read: AtomicU32::new(NOBODY),
            inner: Mutex::new(Inner {
                queue: VecDeque::new(),
                front: VecDeque::new(),
                held: 0,
                blocked: 0,
                scheduled: false,
                gate: Gate::Open,
                reader: NOBODY,
                bell: None,
            }),
            space: OnceLock::new(),
        }
    }

    /// No foreign code runs under the lock. It is not std's: with several senders this one hands over faster, and it is a
    /// byte.
    fn lock(&self) -> MutexGuard<'_, Inner<M, K>> {
        self.inner.lock()
    }

    /// Appends a message if there is room.
    pub(crate) fn try_send(&self, message: M) -> Result<(), Refused<M>> {
        let bell = {
            let mut inner = self.lock();
            if inner.gate != Gate::Open {
                return Err(Refused::Closed(message));
            }
            if inner.len() >= self.capacity() {
                return Err(Refused::Full(message));
            }
            inner.append(message)
        };
        if let Some(bell) = bell {
            bell.ring();
        }
        Ok(())
    }

    /// Appends the first of `messages`, as many as there is room for, in one step. Returns how many; `None` where the lane is
    /// closed.
    pub(crate) fn try_send_many(&self, messages: &mut VecDeque<M>) -> Option<usize> {
        let (bell, sent) = {
            let mut inner = self.lock();
            if inner.gate != Gate::Open {
                return None;
            }
            let sent = self.capacity().saturating_sub(inner.len()).min(messages.len());
            if sent == 0 {
                return Some(0);
            }
            if sent == messages.len() && inner.queue.is_empty() {
                mem::swap(&mut inner.queue, messages);
            } else {
                inner.queue.extend(messages.drain(..sent));
            }
            (inner.bell_to_ring(), sent)
        };
        if let Some(bell) = bell {
            bell.ring();
        }
        Some(sent)
    }

    /// Wakes `carrier` once, when half of the lane is free or it closes. Whoever asks for this tries once more afterwards, as
    /// that may have been so already.
    pub(crate) fn wake_when_half_free(&self, carrier: &Waker) {
        let mut carriers = self.space.get_or_init(Box::default).carriers.lock();
        if !carriers.iter().any(|waiting| waiting.will_wake(carrier)) {
            carriers.push(carrier.clone());
        }
    }

    /// Appends a message; in a full lane, which must be an evicting one, the oldest makes room and is returned.
    pub(crate) fn send_evicting(&self, message: M) -> Result<Option<M>, Refused<M>> {
        let (bell, evicted) = {
            let mut inner = self.lock();
            if inner.gate != Gate::Open {
                return Err(Refused::Closed(message));
            }
            let mut evicted = None;
            if inner.len() >= self.capacity() {
                evicted = inner.front.pop_front();
                if evicted.is_none() {
                    evicted = inner.queue.pop_front();
                }
                if evicted.is_none() {
                    return Err(Refused::Full(message));
                }
            }
            (inner.append(message), evicted)
        };
        if let Some(bell) = bell {
            bell.ring();
        }
        Ok(evicted)
    }

    /// Appends a message, waiting for room. `Err` returns it: the lane is closed.
    ///
    /// # Cancel safety
    /// Dropping the future sends nothing and passes a wake-up it had received on to the next sender.
    pub(crate) async fn send_slow(&self, mut message: M) -> Result<(), M> {
        self.lock().blocked += 1;
        let _one_less = Blocked(self);
        loop {
            let mut space = pin!(self.space.get_or_init(Box::default).senders.notified());
            space.as_mut().enable(); // before the check, or a wake-up between the two is lost
            match self.try_send(message) {
                Ok(()) => return Ok(()),
                Err(Refused::Closed(back)) => return Err(back),
                Err(Refused::Full(back)) => message = back,
            }
            space.await;
        }
    }

    /// A new incarnation takes over, and is woken if messages wait.
    pub(crate) fn attach(&self, bell: K) -> Reader {
        let (ring, reader) = {
            let mut inner = self.lock();
            inner.reader += 1;
            inner.held = 0; // a batch of a reader before, if there is one, is that reader's
            inner.scheduled = !(inner.queue.is_empty() && inner.front.is_empty());
            inner.bell = Some(bell.clone());
            self.may_read.store(inner.reader, Ordering::Relaxed);
            (inner.scheduled, inner.reader)
        };
        if ring {
            bell.ring();
        }
        reader
    }

    /// This reader has ended; messages wait for the next, or for the one that has taken over already.
    pub(crate) fn detach(&self, reader: Reader) {
        let mut inner = self.lock();
        if inner.reader == reader {
            inner.bell = None;
            inner.scheduled = false;
        }
    }

    /// Refuses senders from now on, also those who wait for room. What waits is handled.
    pub(crate) fn drain(&self) {
        {
            let mut inner = self.lock();
            if inner.gate != Gate::Open {
                return;
            }
            inner.gate = Gate::Draining;
        }
        if let Some(space) = self.space.get() {
            space.wake_all();
        }
    }

    /// Nothing of what waits in a draining lane is to be handled any more. Returns it, to be dropped outside the lock; what
    /// the reader has not got to is returned when this is called again after its end.
    pub(crate) fn discard(&self) -> (VecDeque<M>, VecDeque<M>) {
        let mut inner = self.lock();
        if inner.gate == Gate::Draining {
            inner.gate = Gate::Discarding;
        }
        match inner.gate {
            Gate::Discarding => (mem::take(&mut inner.front), mem::take(&mut inner.queue)),
            Gate::Open | Gate::Draining | Gate::Closed => Default::default(),
        }
    }

    /// Whether it takes nothing new, and what waits is handled.
    pub(crate) fn is_draining(&self) -> bool {
        self.lock().gate == Gate::Draining
    }

    /// Whether what waits is for nobody.
    pub(crate) fn is_discarding(&self) -> bool {
        self.lock().gate == Gate::Discarding
    }

    /// Ends the lane: senders are refused. Returns what was waiting, to be dropped outside the lock.
    pub(crate) fn close(&self) -> (VecDeque<M>, VecDeque<M>) {
        let waiting = {
            let mut inner = self.lock();
            inner.gate = Gate::Closed;
            (mem::take(&mut inner.front), mem::take(&mut inner.queue))
        };
        if let Some(space) = self.space.get() {
            space.wake_all();
        }
        waiting
    }

    /// Takes messages again after [`Lane::close`] or [`Lane::drain`].
    pub(crate) fn reopen(&self) {
        self.lock().gate = Gate::Open;
    }

    /// Lets the running batch end after the message in hand.
    pub(crate) fn interrupt(&self) {
        self.may_read.store(NOBODY, Ordering::Relaxed);
    }

    /// Whether `reader` may go on: nobody stops it, and no other has taken over.
    pub(crate) fn may_read(&self, reader: Reader) -> bool {
        self.may_read.load(Ordering::Relaxed) == reader
    }

    /// Wakes the reader, if one is attached, whether or not messages wait.
    pub(crate) fn ring(&self) {
        let bell = self.lock().bell.clone();
        if let Some(bell) = bell {
            bell.ring();
        }
    }

    /// How many messages wait or are in the running batch.
    pub(crate) fn depth(&self) -> usize {
        self.lock().len()
    }

    /// The most messages there can be.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Readers take one message at a time, so that the oldest can still be evicted.
    fn is_evicting(&self) -> bool {
        self.overflow == Overflow::DropOldest
    }

    /// Everything that waits; in an evicting lane nothing yet, but [`Batch::next`] takes one at a time.
    pub(crate) fn take(&self) -> Batch<'_, M, K> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let reader = inner.reader;
        if self.is_evicting() {
            return Batch { lane: self, reader, buffer: Some(VecDeque::new()) };
        }
        if inner.front.is_empty() {
            mem::swap(&mut inner.front, &mut inner.queue); // the whole queue in one step
        }
        let buffer = mem::take(&mut inner.front);
        inner.held = u32::try_from(buffer.len()).unwrap_or(u32::MAX); // not more than the capacity
        Batch { lane: self, reader, buffer: Some(buffer) }
    }

    /// The oldest message of an evicting lane.
    fn take_one(&self) -> Option<M> {
        let mut inner = self.lock();
        inner.front.pop_front().or_else(|| inner.queue.pop_front())
    }

    /// Takes back the rest of a batch. True when messages wait for this reader.
    fn give_back(&self, reader: Reader, mut rest: VecDeque<M>) -> bool {
        let (more, wake, half_free, _surplus) = {
            let mut inner = self.lock();
            if inner.reader != reader {
                let bell = inner.put_first(&mut rest);
                drop(inner);
                bell.into_iter().for_each(Bell::ring);
                return false;
            }
            let inner = &mut *inner;
            let freed = inner.held as usize - rest.len();
            inner.held = 0;
            if inner.gate != Gate::Closed && !rest.is_empty() {
                // `take` left `front` empty. Only a reader that was replaced may have given something back since.
                rest.append(&mut inner.front);
                mem::swap(&mut inner.front, &mut rest);
            }
            let more = !(inner.front.is_empty() && inner.queue.is_empty());
            let mut surplus = None;
            if !more {
                inner.scheduled = false;
                if inner.queue.capacity() > IDLE_CAPACITY_MAX {
                    surplus = Some(mem::take(&mut inner.queue));
                }
                if rest.is_empty() && rest.capacity() <= IDLE_CAPACITY_MAX {
                    mem::swap(&mut inner.front, &mut rest); // the small buffer is kept for the next batch
                }
            }
            let half_free = inner.len() <= self.capacity() / 2;
            // What is left in `rest` now, after a close, is dropped outside the lock.
            (more, freed.min(inner.blocked as usize), half_free, (surplus, rest))
        };
        // Whoever waits and has not made this yet looks for room once more before it does.
        if let Some(space) = self.space.get() {
            (0..wake).for_each(|_| space.senders.notify_one());
            if half_free {
                space.wake_carriers();
            }
        }
        more
    }
}

impl<M, K: Bell> Inner<M, K> {
    /// What a reader that was replaced had not got to comes before what waits. Returns the bell to ring, as `append` does.
    fn put_first(&mut self, rest: &mut VecDeque<M>) -> Option<K> {
        if self.gate == Gate::Closed || rest.is_empty() {
            return None; // dropped by the caller, outside the lock
        }
        rest.append(&mut self.front);
        mem::swap(&mut self.front, rest);
        if self.scheduled {
            return None;
        }
        let bell = self.bell.clone()?;
        self.scheduled = true;
        Some(bell)
    }

    fn len(&self) -> usize {
        self.queue.len() + self.front.len() + self.held as usize
    }

    /// Appends and returns the bell to ring.
    fn append(&mut self, message: M) -> Option<K> {
        self.queue.push_back(message);
        self.bell_to_ring()
    }

    /// After something was appended: the bell, if nobody is about to look. Without a reader, `attach` will ring.
    fn bell_to_ring(&mut self) -> Option<K> {
        if self.scheduled {
            return None;
        }
        let bell = self.bell.clone()?;
        self.scheduled = true;
        Some(bell)
    }
}

/// Counts one sender less when it stops waiting, however it does.
struct Blocked<'a, M, K: Bell>(&'a Lane<M, K>);

impl<M, K: Bell> Drop for Blocked<'_, M, K> {
    fn drop(&mut self) {
        self.0.lock().blocked -= 1;
    }
}

#[cfg(test)]
mod tests;
