//! What a reader takes from its lane in one step.

use std::collections::VecDeque;

use super::{Bell, Lane, Reader};

/// Messages taken from a lane. What is not handed out goes back when this is dropped.
pub(crate) struct Batch<'a, M, K: Bell> {
    pub(super) lane: &'a Lane<M, K>,
    pub(super) reader: Reader,
    /// `None` once it was given back.
    pub(super) buffer: Option<VecDeque<M>>,
}

impl<M, K: Bell> Batch<'_, M, K> {
    /// The next message; `None` at the end, or when the reader is to stop.
    pub(crate) fn next(&mut self) -> Option<M> {
        if !self.lane.may_read(self.reader) {
            return None;
        }
        if self.lane.is_evicting() { self.lane.take_one() } else { self.buffer.as_mut()?.pop_front() }
    }

    /// Whether more than one message was taken, so that a bound on the batch's time is worth a clock.
    pub(crate) fn is_long(&self) -> bool {
        self.lane.is_evicting() || self.buffer.as_ref().is_some_and(|buffer| buffer.len() > 1)
    }

    /// Ends the batch. True when messages wait: the reader must come again by itself.
    pub(crate) fn finish(mut self) -> bool {
        self.buffer.take().is_some_and(|rest| self.lane.give_back(self.reader, rest))
    }
}

impl<M, K: Bell> Drop for Batch<'_, M, K> {
    fn drop(&mut self) {
        if let Some(rest) = self.buffer.take() {
            self.lane.give_back(self.reader, rest);
        }
    }
}
