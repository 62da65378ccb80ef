//! The last things that happened to members, for whoever asks later.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use covenant_cluster::{Cluster, MemberEvent};
use covenant_env::Env;
use covenant_types::WallTime;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use crate::api::part::EventLine;

/// How many events are kept.
pub(crate) const EVENTS_KEPT: usize = 1024;

/// The last events, numbered.
#[derive(Debug)]
pub(crate) struct EventLog {
    lines: Mutex<VecDeque<EventLine>>,
    /// The number of the newest.
    newest: watch::Sender<u64>,
}

impl EventLog {
    pub(crate) fn new() -> Self {
        Self { lines: Mutex::default(), newest: watch::Sender::new(0) }
    }

    /// Takes down what the cluster tells until it ends.
    pub(crate) async fn run(self: Arc<Self>, cluster: Arc<Cluster>, env: Env) {
        let mut told: broadcast::Receiver<MemberEvent> = cluster.events();
        // The subscription alone: whoever holds the cluster decides when it ends.
        drop(cluster);
        loop {
            match told.recv().await {
                Ok(event) => self.push(env.wall(), Some(event), 1),
                // Their numbers are missing, which says how many there were.
                Err(RecvError::Lagged(lost)) => self.push(env.wall(), None, lost),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn push(&self, at: WallTime, event: Option<MemberEvent>, numbers: u64) {
        let number = *self.newest.borrow() + numbers;
        if let Some(event) = event {
            let mut lines = self.lock();
            if lines.len() == EVENTS_KEPT {
                lines.pop_front();
            }
            lines.push_back(EventLine { number, at, event });
        }
        self.newest.send_replace(number);
    }

    /// Those after a number.
    pub(crate) fn after(&self, number: u64) -> Vec<EventLine> {
        self.lock().iter().filter(|line| line.number > number).cloned().collect()
    }

    /// Waits until there is one after this number.
    pub(crate) async fn wait_after(&self, number: u64) {
        let mut newest = self.newest.subscribe();
        // The sender lives as long as this.
        let _closed = newest.wait_for(|newest| *newest > number).await;
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<EventLine>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use covenant_types::BootEpoch;

    use super::*;

    fn event(known: u64) -> MemberEvent {
        MemberEvent::OwnEpochBehind { ours: BootEpoch(1), known: BootEpoch(known) }
    }

    #[test]
    fn events_are_numbered_bounded_and_what_was_lost_shows_in_the_numbers() {
        let log = EventLog::new();
        for known in 0..EVENTS_KEPT as u64 + 5 {
            log.push(WallTime(known), Some(event(known)), 1);
        }
        let all = log.after(0);
        assert_eq!((all.len(), all[0].number), (EVENTS_KEPT, 6));
        log.push(WallTime(9), None, 7);
        log.push(WallTime(9), Some(event(9)), 1);
        let newest = log.after(EVENTS_KEPT as u64 + 5);
        assert_eq!(newest.iter().map(|line| line.number).collect::<Vec<_>>(), [EVENTS_KEPT as u64 + 13]);
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_the_next_event() {
        let log = Arc::new(EventLog::new());
        log.push(WallTime(1), Some(event(1)), 1);
        log.wait_after(0).await;
        let waiting = {
            let log = Arc::clone(&log);
            async move { log.wait_after(1).await }
        };
        tokio::join!(waiting, async { log.push(WallTime(2), Some(event(2)), 1) });
    }
}
