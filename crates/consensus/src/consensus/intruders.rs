//! Who was refused: counted, and kept for whoever makes an incident of it.

use std::collections::BTreeMap;

use covenant_env::{Env, Metrics};
use covenant_types::{NodeId, Role, Uptime};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::gate::{Offence, Sender};

/// How many are kept. What comes past this is counted only.
pub const INTRUDERS_MAX: usize = 64;

/// A node that was refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intruder {
    /// The node, as its certificate has it.
    pub node: NodeId,
    /// The role in its certificate.
    pub role: Role,
    /// What it did.
    pub offence: Offence,
    /// How often.
    pub times: u64,
    /// When it did so first, and last.
    pub first: Uptime,
    /// When it did so last.
    pub last: Uptime,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Intruders {
    group: String,
    metrics: Metrics,
    known: Mutex<BTreeMap<(NodeId, Offence), Intruder>>,
    changes: watch::Sender<u64>,
}

impl Intruders {
    pub(super) fn new(env: &Env, group: &str) -> Self {
        let changes = watch::Sender::new(0);
        Self { group: group.to_owned(), metrics: env.metrics.clone(), known: Mutex::default(), changes }
    }

    pub(super) fn note(&self, now: Uptime, sender: Sender, offence: Offence) {
        let labels = [("group", self.group.as_str()), ("why", offence.as_str())];
        self.metrics.counter("covenant_consensus_refused_total", &labels).increment(1);
        {
            let mut known = self.known.lock();
            if let Some(intruder) = known.get_mut(&(sender.node, offence)) {
                (intruder.times, intruder.last) = (intruder.times + 1, now);
                return;
            }
            if known.len() >= INTRUDERS_MAX {
                return;
            }
            let Sender { node, role } = sender;
            known.insert((node, offence), Intruder { node, role, offence, times: 1, first: now, last: now });
        }
        tracing::error!(group = self.group, node = %sender.node, role = %sender.role, why = offence.explain(), "a node was refused by consensus");
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn list(&self) -> Vec<Intruder> {
        self.known.lock().values().cloned().collect()
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_refused_often_is_told_of_once_and_a_crowd_is_counted_only() {
        let intruders = Intruders::new(&Env::for_test(1), "test");
        for number in 0..100u8 {
            let sender = Sender { node: NodeId([number % 80; 16]), role: Role::Hub };
            intruders.note(Uptime::from_millis(number.into()), sender, Offence::Stranger);
        }
        let list = intruders.list();
        assert_eq!(list.len(), INTRUDERS_MAX);
        assert_eq!((list[3].times, list[3].last), (2, Uptime::from_millis(83)));
        assert_eq!(*intruders.changes().borrow(), INTRUDERS_MAX as u64);
    }
}
