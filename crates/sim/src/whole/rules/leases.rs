//! Leases: who was granted what, who acts under it, and who has given it up.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Actor, Broken};

/// How long after it should a holder may still have a lease, or not have been told that it is over: it looks twice a second.
const GRACE: Duration = Duration::from_secs(1);

/// A lease as its holder has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::whole) struct Holding {
    /// A number of its own.
    pub(in crate::whole) id: u64,
    pub(in crate::whole) key: String,
    pub(in crate::whole) token: u64,
    /// For how long it is granted and renewed each time.
    pub(in crate::whole) span: Duration,
    /// When it was granted.
    pub(in crate::whole) at: Duration,
    /// Whether it is held.
    pub(in crate::whole) is_held: bool,
}

/// Something that was done under a lease.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::whole) struct Act {
    pub(in crate::whole) key: String,
    pub(in crate::whole) token: u64,
    /// Who did it.
    pub(in crate::whole) by: usize,
}

/// What is known of leases.
#[derive(Debug, Default)]
pub(super) struct Leases {
    granted: BTreeMap<(String, u64), usize>,
    last: BTreeMap<String, u64>,
    /// The highest token that an actor let in, in the present life of its node.
    let_in: BTreeMap<(Actor, String), u64>,
    holdings: BTreeMap<usize, Vec<Holding>>,
    /// Since when nothing of a node arrives at the source.
    cut_off: BTreeMap<usize, Duration>,
    /// When a node last woke up that had been suspended.
    woke: BTreeMap<usize, Duration>,
    /// Since when a lease is no longer held and nobody was told.
    untold: BTreeMap<u64, Duration>,
    /// Acts that were let in, and those that were refused because another one had acted.
    pub(super) acted: u64,
    pub(super) refused: u64,
}

impl Leases {
    /// The source granted a lease.
    pub(super) fn granted(&mut self, now: Duration, key: &str, token: u64, to: usize, broken: &mut Broken) {
        let last = self.last.insert(key.to_owned(), token);
        if last.is_some_and(|last| last >= token) {
            broken.note(now, &format!("{key} was granted under {token} after {last:?}: tokens only rise"));
        }
        self.granted.insert((key.to_owned(), token), to);
    }

    /// An actor has let an act in.
    pub(super) fn acted(&mut self, now: Duration, at: Actor, act: &Act, broken: &mut Broken) {
        self.acted += 1;
        let Act { key, token, by } = act;
        let holder = self.granted.get(&(key.clone(), *token));
        if holder != Some(by) {
            broken.note(now, &format!("node {by} acted under {key}#{token}, which was granted to {holder:?}"));
        }
        let highest = self.let_in.entry((at.clone(), key.clone())).or_default();
        if token < highest {
            let (node, path) = &at;
            let text = format!("{path} of node {node} let {key}#{token} of node {by} in after {highest}");
            broken.note(now, &text);
        }
        *highest = (*highest).max(*token);
    }

    /// An act was refused because another one came after it.
    pub(super) fn refused(&mut self) {
        self.refused += 1;
    }

    /// The leases that a node has, held or not.
    pub(super) fn holds(&mut self, now: Duration, node: usize, holdings: Vec<Holding>, broken: &mut Broken) {
        for Holding { id, key, span, at, is_held, .. } in &holdings {
            if !is_held {
                self.untold.entry(*id).or_insert(now);
                continue;
            }
            if self.cut_off.get(&node).is_some_and(|since| now > *since.max(at) + *span + GRACE) {
                broken.note(now, &format!("node {node} still has {key}, and nothing of it has reached the source"));
            }
            if self.woke.get(&node).is_some_and(|woke| at < woke && now > *woke) {
                broken.note(now, &format!("node {node} still has {key}, which it had before it was suspended"));
            }
        }
        self.holdings.insert(node, holdings);
    }

    /// A node was told that a lease of its is over, or lets go of it.
    pub(super) fn over(&mut self, id: u64) {
        self.untold.remove(&id);
        self.holdings.values_mut().for_each(|holdings| holdings.retain(|holding| holding.id != id));
    }

    /// Whether anything of a node arrives at the source.
    pub(super) fn cut_off(&mut self, now: Duration, node: usize, is_cut: bool) {
        if is_cut {
            self.cut_off.entry(node).or_insert(now);
        } else {
            self.cut_off.remove(&node);
        }
    }

    /// A node goes on after it was suspended.
    pub(super) fn woke(&mut self, now: Duration, node: usize) {
        self.woke.insert(node, now);
    }

    /// A node does nothing for now, and is not told anything.
    pub(super) fn out_of_sight(&mut self, node: usize) {
        for holding in self.holdings.remove(&node).unwrap_or_default() {
            self.untold.remove(&holding.id);
        }
    }

    /// The process of a node has ended.
    pub(super) fn gone(&mut self, node: usize) {
        self.out_of_sight(node);
        self.let_in.retain(|((at, _), _), _| *at != node);
        self.woke.remove(&node);
    }

    /// What must hold at any moment.
    pub(super) fn check(&mut self, now: Duration, broken: &mut Broken) {
        let mut held: BTreeMap<&str, usize> = BTreeMap::new();
        for (node, holdings) in &self.holdings {
            for Holding { key, .. } in holdings.iter().filter(|holding| holding.is_held) {
                if let Some(other) = held.insert(key, *node).filter(|other| other != node) {
                    broken.note(now, &format!("node {other} and node {node} hold {key} at one time"));
                }
            }
        }
        let late = |since: &Duration| now.saturating_sub(*since) > GRACE;
        for id in self.untold.iter().filter(|(_, since)| late(since)).map(|(id, _)| id) {
            broken.note(now, &format!("the holder of lease {id} was never told that it is over"));
        }
        self.untold.retain(|_, since| !late(since));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(3);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn holding(granted: u64, is_held: bool) -> Vec<Holding> {
        vec![Holding { id: 1, key: "/k".to_owned(), token: 1, span: SPAN, at: at(granted), is_held }]
    }

    fn act(leases: &mut Leases, broken: &mut Broken, token: u64, by: usize) {
        let act = Act { key: "/k".to_owned(), token, by };
        leases.acted(at(1), (9, "/lab/c0".to_owned()), &act, broken);
    }

    fn check(tell: impl FnOnce(&mut Leases, &mut Broken), expected: &str) {
        let (mut leases, mut broken) = (Leases::default(), Broken::default());
        leases.granted(at(0), "/k", 1, 1, &mut broken);
        leases.granted(at(0), "/k", 2, 2, &mut broken);
        tell(&mut leases, &mut broken);
        let found = broken.all().join("\n");
        assert!(if expected.is_empty() { found.is_empty() } else { found.contains(expected) }, "found: {found}");
    }

    #[test]
    fn an_act_under_an_older_token_than_was_let_in_is_found() {
        let acts = |leases: &mut Leases, broken: &mut Broken, first: (u64, usize), second: (u64, usize)| {
            act(leases, broken, first.0, first.1);
            act(leases, broken, second.0, second.1);
        };
        check(|leases, broken| acts(leases, broken, (1, 1), (2, 2)), "");
        check(|leases, broken| acts(leases, broken, (2, 2), (1, 1)), "in after 2");
        check(|leases, broken| (act(leases, broken, 2, 2), leases.gone(9), act(leases, broken, 1, 1)).2, "");
    }

    #[test]
    fn an_act_of_one_that_was_granted_nothing_is_found_and_so_is_a_token_that_does_not_rise() {
        check(|leases, broken| act(leases, broken, 2, 1), "was granted to Some(2)");
        check(|leases, broken| act(leases, broken, 3, 1), "was granted to None");
        check(|leases, broken| leases.granted(at(1), "/k", 2, 1, broken), "tokens only rise");
    }

    #[test]
    fn two_holders_at_one_time_are_found() {
        let hold = |leases: &mut Leases, broken: &mut Broken, other: bool| {
            leases.holds(at(1), 1, holding(0, true), broken);
            leases.holds(at(1), 2, holding(0, other), broken);
            leases.check(at(1), broken);
        };
        check(|leases, broken| hold(leases, broken, true), "at one time");
        check(|leases, broken| hold(leases, broken, false), "");
    }

    #[test]
    fn a_holder_that_is_cut_off_and_keeps_its_lease_is_found() {
        let keep = |leases: &mut Leases, broken: &mut Broken, now: u64| {
            leases.cut_off(at(1), 1, true);
            leases.holds(at(now), 1, holding(0, true), broken);
        };
        check(|leases, broken| keep(leases, broken, 5), "");
        check(|leases, broken| keep(leases, broken, 6), "nothing of it has reached the source");
        let mended = |leases: &mut Leases, broken: &mut Broken| {
            leases.cut_off(at(1), 1, true);
            leases.cut_off(at(2), 1, false);
            leases.holds(at(6), 1, holding(0, true), broken);
        };
        check(mended, "");
    }

    #[test]
    fn a_holder_that_woke_and_keeps_its_lease_is_found() {
        let wake = |leases: &mut Leases, broken: &mut Broken, granted: u64| {
            leases.woke(at(4), 1);
            leases.holds(at(5), 1, holding(granted, true), broken);
        };
        check(|leases, broken| wake(leases, broken, 3), "before it was suspended");
        check(|leases, broken| wake(leases, broken, 4), "");
    }

    #[test]
    fn a_holder_that_is_never_told_is_found() {
        let lose = |leases: &mut Leases, broken: &mut Broken, told: bool| {
            leases.holds(at(1), 1, holding(0, false), broken);
            if told {
                leases.over(1);
            }
            leases.check(at(3), broken);
        };
        check(|leases, broken| lose(leases, broken, false), "was never told");
        check(|leases, broken| lose(leases, broken, true), "");
    }
}
