//! What a reader takes from its lane in one step.

use std::collections::VecDeque;
use std::mem;

use super::{Bell, Lane, Reader};

/// Messages taken from a lane. What is not handed out goes back when this is dropped.
pub(crate) struct Batch<'a, M, K: Bell> {
    pub(super) lane: &'a Lane<M, K>,
    pub(super) reader: Reader,
    pub(super) buffer: VecDeque<M>,
    pub(super) done: bool,
}

impl<M, K: Bell> Batch<'_, M, K> {
    /// The next message; `None` at the end, or when the reader is to stop.
    pub(crate) fn next(&mut self) -> Option<M> {
        if !self.lane.may_read(self.reader) {
            return None;
        }
        if self.lane.evicting { self.lane.take_one() } else { self.buffer.pop_front() }
    }

    /// Whether more than one message was taken, so that a bound on the batch's time is worth a clock.
    pub(crate) fn is_long(&self) -> bool {
        self.lane.evicting || self.buffer.len() > 1
    }

    /// Ends the batch. True when messages wait: the reader must come again by itself.
    pub(crate) fn finish(mut self) -> bool {
        self.done = true;
        self.lane.give_back(self.reader, mem::take(&mut self.buffer))
    }
}

impl<M, K: Bell> Drop for Batch<'_, M, K> {
    fn drop(&mut self) {
        if !self.done {
            self.lane.give_back(self.reader, mem::take(&mut self.buffer));
        }
    }
}
