//! Which of two connections between the same two nodes stays. Pure; both ends come to the same answer on their own.
//!
//! # Intuition
//! Two nodes that dial each other at once make two connections. A node that restarts leaves a ghost of its former
//! connection behind. In both cases one must go, and both ends must pick the same one without asking.
//!
//! # Invariants
//! - [`Precedence`] is a total order over all connections two running nodes can ever have, and both ends know all of it.
//! - Of two processes that run with one key in one boot, whichever came first stays.

use std::cmp::Ordering;

use covenant_types::{BootEpoch, NodeId};

/// What decides which connection stays: the greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Precedence {
    /// The boot of the node at the other end. A newer boot makes older connections ghosts.
    pub(crate) peer_epoch: BootEpoch,
    /// Its process. One boot has one; where there are two, the order between them is that of their arrival.
    pub(crate) peer_instance: u64,
    /// Who dialled. Of two that dialled at once the smaller id wins.
    pub(crate) client: NodeId,
    /// The client's count of dials in its boot. It dials again only because it lost the connection before.
    pub(crate) dial: u64,
}

impl Precedence {
    fn order(&self, other: &Self) -> Ordering {
        self.peer_epoch.cmp(&other.peer_epoch).then(other.client.cmp(&self.client)).then(self.dial.cmp(&other.dial))
    }
}

/// What becomes of a new connection to a node that already has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It takes the place of the old one.
    Replaces,
    /// It goes: the peer restarted since, this is from its former boot.
    Stale,
    /// It goes: the other one stays.
    Duplicate,
    /// It goes: it is to another process with the key and the boot of the one that is connected.
    Doubled,
}

/// Decides between the connection that is there and a new one.
pub(crate) fn judge(existing: &Precedence, new: &Precedence) -> Verdict {
    if new.peer_epoch == existing.peer_epoch && new.peer_instance != existing.peer_instance {
        return Verdict::Doubled;
    }
    match new.order(existing) {
        Ordering::Greater => Verdict::Replaces,
        Ordering::Equal | Ordering::Less if new.peer_epoch < existing.peer_epoch => Verdict::Stale,
        Ordering::Equal | Ordering::Less => Verdict::Duplicate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(peer_epoch: u64, client: u8, dial: u64) -> Precedence {
        Precedence { peer_epoch: BootEpoch(peer_epoch), peer_instance: 5, client: NodeId([client; 16]), dial }
    }

    #[test]
    fn a_newer_boot_replaces_the_ghost_whoever_dialled() {
        assert_eq!(judge(&link(1, 1, 9), &link(2, 2, 1)), Verdict::Replaces);
        assert_eq!(judge(&link(2, 2, 1), &link(1, 1, 9)), Verdict::Stale);
    }

    #[test]
    fn of_two_that_dialled_at_once_the_smaller_id_stays_in_either_order_of_arrival() {
        assert_eq!(judge(&link(1, 2, 1), &link(1, 1, 1)), Verdict::Replaces);
        assert_eq!(judge(&link(1, 1, 1), &link(1, 2, 1)), Verdict::Duplicate);
    }

    #[test]
    fn a_later_dial_of_the_same_client_replaces_the_one_it_lost() {
        assert_eq!(judge(&link(1, 1, 1), &link(1, 1, 2)), Verdict::Replaces);
        assert_eq!(judge(&link(1, 1, 2), &link(1, 1, 1)), Verdict::Duplicate);
        assert_eq!(judge(&link(1, 1, 1), &link(1, 1, 1)), Verdict::Duplicate);
    }

    #[test]
    fn of_two_processes_of_one_boot_the_later_goes_and_a_later_boot_is_another_matter() {
        let twin = |epoch, client, dial| Precedence { peer_instance: 6, ..link(epoch, client, dial) };
        assert_eq!(judge(&link(1, 2, 1), &twin(1, 1, 9)), Verdict::Doubled);
        assert_eq!(judge(&twin(1, 1, 9), &link(1, 2, 1)), Verdict::Doubled);
        assert_eq!(judge(&link(1, 2, 1), &twin(2, 2, 1)), Verdict::Replaces);
        assert_eq!(judge(&twin(2, 2, 1), &link(1, 1, 1)), Verdict::Stale);
    }

    #[test]
    fn both_ends_agree_on_every_pair_of_connections() {
        // Seen from either end the epoch of the other is the same for both connections while both nodes run.
        for (one, two) in [(link(1, 1, 1), link(1, 2, 1)), (link(1, 1, 1), link(1, 1, 2))] {
            let first_then_second = judge(&one, &two) == Verdict::Replaces;
            let second_then_first = judge(&two, &one) == Verdict::Replaces;
            assert_ne!(first_then_second, second_then_first);
        }
    }
}
