//! Replicas: all have the state that the book adds up to.

use std::collections::BTreeSet;

use super::{States, get};
use crate::record::{Account, History, Replica};
use crate::verdict::{Fault, Verdict};

pub(super) fn check(history: &History, states: &States, verdict: &mut Verdict) {
    let closing = states.closing();
    for replica in &history.replicas {
        for problem in &replica.problems {
            verdict.add(Fault::Check { node: replica.node.clone(), problem: problem.clone() });
        }
        if !replica.balances.is_empty() {
            balances(history, states, &closing, replica, verdict);
        }
    }
    let Some((first, others)) = history.replicas.split_first() else { return };
    for other in others {
        if (&other.state, other.position) != (&first.state, first.position) {
            verdict.add(Fault::Diverged { one: first.node.clone(), other: other.node.clone() });
        }
    }
}

fn balances(history: &History, states: &States, closing: &[i128], replica: &Replica, verdict: &mut Verdict) {
    let accounts: BTreeSet<&Account> = states.numbers.keys().chain(replica.balances.keys()).collect();
    let wanted = |account: &Account| states.number(account).map_or(0, |number| get(closing, number));
    let held = |account: &Account| replica.balances.get(account).copied().unwrap_or(0);
    let off: Vec<(&Account, i128)> = accounts
        .into_iter()
        .map(|account| (account, held(account).saturating_sub(wanted(account))))
        .filter(|(_, by)| *by != 0)
        .collect();
    let node = replica.node.clone();
    // One transfer too few or too many has two accounts that are off by the same.
    if let [(one, by), (other, opposite)] = off[..]
        && by == opposite.saturating_neg()
    {
        let (gained, gave, amount) = if by > 0 { (one, other, by) } else { (other, one, opposite) };
        let find = |from: &Account, to: &Account| {
            let entry =
                history.book.iter().find(|entry| entry.from == *from && entry.to == *to && entry.amount == amount);
            entry.map(|entry| entry.id)
        };
        if let Some(id) = find(gave, gained) {
            return verdict.add(Fault::EffectTwice { id, node });
        }
        if let Some(id) = find(gained, gave) {
            return verdict.add(Fault::EffectMissing { id, node });
        }
    }
    for (account, _) in off {
        let (held, wanted) = (held(account), wanted(account));
        verdict.add(Fault::Balance { node: node.clone(), account: account.clone(), held, wanted });
    }
}
