//! Calls under way to one node, each with what to do with its answer.
//!
//! Invariants:
//! - At most [`PENDING_CALLS_MAX`].
//! - Every answer runs exactly once, and never under the lock.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use covenant_runtime::Answered;
use covenant_types::{CallError, Uptime};

/// The most calls that may be under way to one node.
pub const PENDING_CALLS_MAX: usize = 16_384;

/// The calls under way to one node.
#[derive(Debug, Default)]
pub(crate) struct Pending(Mutex<Table>);

#[derive(Default)]
struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    /// Counts the calls that used this slot, so that a late answer to one never answers another.
    generation: u32,
    waiting: Option<Waiting>,
}

struct Waiting {
    expires: Uptime,
    answer: Answered,
}

impl Pending {
    /// Takes in a call and returns its id.
    ///
    /// # Errors
    /// There are too many; the answer comes back.
    pub(crate) fn insert(&self, expires: Uptime, answer: Answered) -> Result<u64, Answered> {
        let mut table = self.lock();
        let index = match table.free.pop() {
            Some(index) => index,
            None if table.slots.len() < PENDING_CALLS_MAX => {
                table.slots.push(Slot::default());
                u32::try_from(table.slots.len() - 1).expect("the bound fits in 32 bits")
            }
            None => return Err(answer),
        };
        let slot = &mut table.slots[index as usize];
        slot.waiting = Some(Waiting { expires, answer });
        Ok(u64::from(slot.generation) << 32 | u64::from(index))
    }

    /// Takes out a call; `None` if it has been answered, has expired or never was.
    pub(crate) fn take(&self, call: u64) -> Option<Answered> {
        let (generation, index) = (call >> 32, call & u64::from(u32::MAX));
        let index = usize::try_from(index).ok()?;
        let mut table = self.lock();
        let slot = table.slots.get(index)?;
        if u64::from(slot.generation) != generation {
            return None;
        }
        table.release(index).map(|waiting| waiting.answer)
    }

    /// Whether none is under way.
    pub(crate) fn is_empty(&self) -> bool {
        let table = self.lock();
        table.slots.len() == table.free.len()
    }

    /// Ends the calls whose deadline has passed. Their callers have given up by themselves.
    pub(crate) fn expire(&self, now: Uptime) {
        self.end(CallError::Timeout, |waiting| waiting.expires <= now);
    }

    /// Ends all calls.
    pub(crate) fn fail_all(&self, error: CallError) {
        self.end(error, |_| true);
    }

    fn end(&self, error: CallError, condition: impl Fn(&Waiting) -> bool) {
        let mut table = self.lock();
        let ended: Vec<usize> = (0..table.slots.len())
            .filter(|index| table.slots[*index].waiting.as_ref().is_some_and(&condition))
            .collect();
        let answers: Vec<Waiting> = ended.into_iter().filter_map(|index| table.release(index)).collect();
        drop(table);
        for waiting in answers {
            (waiting.answer)(Err(error.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn release(&mut self, index: usize) -> Option<Waiting> {
        let slot = &mut self.slots[index];
        let waiting = slot.waiting.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(u32::try_from(index).expect("the bound fits in 32 bits"));
        Some(waiting)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("waiting", &(self.slots.len() - self.free.len())).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    type Heard = Arc<Mutex<Vec<Result<Vec<u8>, CallError>>>>;

    fn answer(heard: &Heard) -> Answered {
        let heard = Arc::clone(heard);
        Box::new(move |result| heard.lock().unwrap().push(result.map(<[u8]>::to_vec)))
    }

    #[test]
    fn a_call_is_answered_once() {
        let (pending, heard) = (Pending::default(), Heard::default());
        let call = pending.insert(Uptime::ZERO, answer(&heard)).ok().unwrap();
        pending.take(call).unwrap()(Ok(b"yes"));
        assert!(pending.take(call).is_none());
        assert_eq!(*heard.lock().unwrap(), [Ok(b"yes".to_vec())]);
    }

    #[test]
    fn a_late_answer_never_reaches_the_next_call_in_the_slot() {
        let (pending, heard) = (Pending::default(), Heard::default());
        let first = pending.insert(Uptime::ZERO, answer(&heard)).ok().unwrap();
        pending.expire(Uptime::ZERO);
        let second = pending.insert(Uptime::ZERO, answer(&heard)).ok().unwrap();
        assert!(pending.take(first).is_none());
        assert!(pending.take(second).is_some());
    }

    #[test]
    fn only_what_is_overdue_expires() {
        let (pending, heard) = (Pending::default(), Heard::default());
        let _ = pending.insert(Uptime::from_millis(5), answer(&heard));
        let kept = pending.insert(Uptime::from_millis(6), answer(&heard)).ok().unwrap();
        pending.expire(Uptime::from_millis(5));
        assert_eq!(*heard.lock().unwrap(), [Err(CallError::Timeout)]);
        assert!(pending.take(kept).is_some());
    }

    #[test]
    fn there_is_a_bound_and_a_lost_connection_clears_the_table() {
        let (pending, heard) = (Pending::default(), Heard::default());
        for _ in 0..PENDING_CALLS_MAX {
            assert!(pending.insert(Uptime::ZERO, answer(&heard)).is_ok());
        }
        assert!(pending.insert(Uptime::ZERO, answer(&heard)).is_err());
        pending.fail_all(CallError::NoConnection);
        assert_eq!(heard.lock().unwrap().len(), PENDING_CALLS_MAX);
        assert!(pending.insert(Uptime::ZERO, answer(&heard)).is_ok());
    }
}
