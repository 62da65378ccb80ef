//! Mail for members that sleep: who posted what to whom, and what arrived.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Actor, Broken};

/// How long after its receiver woke a letter may arrive that was promised.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);

/// One letter: the number rises from one to the next of one sender in one life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::whole) struct LetterId {
    /// Its sender, and which of its lives.
    pub(in crate::whole) from: usize,
    pub(in crate::whole) boot: u64,
    pub(in crate::whole) number: u64,
}

#[derive(Clone, Debug)]
struct Letter {
    to: Actor,
    /// Nothing befalls the nodes since before it was posted: it arrives, in its order.
    is_promised: bool,
    is_refused: bool,
    arrived: bool,
}

/// What is known of mail.
#[derive(Debug, Default)]
pub(super) struct Mail {
    letters: BTreeMap<LetterId, Letter>,
    /// The last promised letter of a sender's life that came to an actor. Two actors may come to theirs in any order.
    last: BTreeMap<(Actor, usize, u64), u64>,
    /// Whether what is posted now is promised, and since when all promised letters could have been brought.
    promises: bool,
    due: Option<Duration>,
    /// Letters that arrived.
    pub(super) arrived: u64,
    /// Letters that were promised.
    pub(super) promised: u64,
}

impl Mail {
    /// From now on what is posted arrives.
    pub(super) fn promise(&mut self) {
        self.promises = true;
    }

    /// All who slept are awake.
    pub(super) fn awake(&mut self, now: Duration) {
        self.promises = false;
        self.due = Some(now + ARRIVES_WITHIN);
    }

    /// A letter is posted.
    pub(super) fn posted(&mut self, id: LetterId, to: Actor) {
        self.letters.insert(id, Letter { to, is_promised: false, is_refused: false, arrived: false });
    }

    /// What came of posting it: it is kept, or it was refused. `sure` says that its receiver slept all the while.
    pub(super) fn kept(&mut self, id: LetterId, is_kept: bool, sure: bool) {
        let Some(letter) = self.letters.get_mut(&id) else { return };
        letter.is_refused = !is_kept && sure;
        letter.is_promised = is_kept && sure && self.promises;
        self.promised += u64::from(letter.is_promised);
    }

    /// A letter arrived.
    pub(super) fn arrived(&mut self, now: Duration, at: &Actor, id: LetterId, broken: &mut Broken) {
        self.arrived += 1;
        let Some(letter) = self.letters.get_mut(&id) else {
            return broken.note(now, &format!("{at:?} got {id:?}, which nobody posted"));
        };
        if std::mem::replace(&mut letter.arrived, true) {
            broken.note(now, &format!("{at:?} got {id:?} twice"));
        }
        if letter.to != *at {
            broken.note(now, &format!("{at:?} got {id:?}, which is for {:?}", letter.to));
        }
        if letter.is_refused {
            broken.note(now, &format!("{at:?} got {id:?}, which was not kept, as its sender was told"));
        }
        if letter.is_promised {
            let last = self.last.insert((at.clone(), id.from, id.boot), id.number);
            if last.is_some_and(|last| last > id.number) {
                broken.note(now, &format!("{at:?} got {id:?} after {last:?}"));
            }
        }
    }

    /// What must hold at any moment.
    pub(super) fn check(&mut self, now: Duration, broken: &mut Broken) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        self.due = None;
        for (id, letter) in self.letters.iter().filter(|(_, letter)| letter.is_promised && !letter.arrived) {
            broken.note(now, &format!("{id:?} was kept for {:?} and has not arrived", letter.to));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> LetterId {
        LetterId { from: 1, boot: 1, number }
    }

    fn clerk(node: usize) -> Actor {
        (node, "/lab/c0".to_owned())
    }

    /// Letters 1 and 2 are posted, `kept` and promised; then these arrive at these nodes.
    fn check(is_kept: bool, arrive: &[(u64, usize)], expected: &str) {
        let (mut mail, mut broken) = (Mail::default(), Broken::default());
        mail.promise();
        for number in 1..3 {
            mail.posted(id(number), clerk(2));
            mail.kept(id(number), is_kept, true);
        }
        mail.awake(Duration::from_secs(5));
        for (number, at) in arrive {
            mail.arrived(Duration::from_secs(6), &clerk(*at), id(*number), &mut broken);
        }
        for second in [14, 15, 16] {
            mail.check(Duration::from_secs(second), &mut broken);
        }
        let found = broken.all().join("\n");
        assert!(if expected.is_empty() { found.is_empty() } else { found.contains(expected) }, "found: {found}");
    }

    #[test]
    fn a_letter_that_does_not_arrive_is_found_and_so_is_one_that_comes_twice() {
        check(true, &[(1, 2), (2, 2)], "");
        check(true, &[(1, 2)], "has not arrived");
        check(true, &[(1, 2), (2, 2), (2, 2)], "twice");
    }

    #[test]
    fn a_letter_that_comes_after_a_later_one_or_to_another_is_found() {
        check(true, &[(2, 2), (1, 2)], "after Some(2)");
        check(true, &[(1, 2), (2, 3)], "which is for");
    }

    #[test]
    fn a_letter_that_was_refused_or_never_posted_and_arrives_is_found() {
        check(false, &[], "");
        check(false, &[(1, 2)], "was not kept");
        check(true, &[(1, 2), (2, 2), (3, 2)], "nobody posted");
    }
}
