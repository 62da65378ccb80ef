//! What a hub keeps for members that sleep, and what a member has of it already. Pure.
//!
//! Invariants:
//! - No more than [`MAIL_BYTES_MAX`] in all, [`MAIL_NODE_BYTES_MAX`] and [`MAIL_LETTERS_MAX`] for one node; nothing older than
//!   [`MAIL_AGE_MAX`]. The oldest go first.
//! - A letter leaves when the node it is for says that it has it.
//! - Of one sender's letters none is taken in twice, nor after a later one.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use covenant_types::{ActorPath, BootEpoch, Fence, NodeId, NodeName, Region, Role, Uptime};
use covenant_wire::SchemaHash;
use serde::{Deserialize, Serialize};

/// How many bytes of mail a hub keeps.
pub const MAIL_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How many of them for one node.
pub const MAIL_NODE_BYTES_MAX: usize = 1024 * 1024;
/// How many letters for one node.
pub const MAIL_LETTERS_MAX: usize = 4096;
/// How long a letter is kept.
pub const MAIL_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest message that is kept.
pub const LETTER_BYTES_MAX: usize = 64 * 1024;
/// What a letter costs besides its message.
const LETTER_COST: usize = 256;
/// How many letters may be on their way to one node.
const UNDER_WAY_MAX: usize = 16;

/// Which letter it is: the number rises from letter to letter of one boot of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct LetterId {
    pub(crate) sender: NodeId,
    pub(crate) epoch: BootEpoch,
    pub(crate) number: u64,
}

/// A cast that is kept until its receiver wakes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) to: NodeId,
    pub(crate) id: LetterId,
    /// The sender, as its certificate names it to the hub.
    pub(crate) name: NodeName,
    pub(crate) role: Role,
    pub(crate) region: Region,
    pub(crate) path: ActorPath,
    pub(crate) type_name: String,
    pub(crate) schema: SchemaHash,
    pub(crate) trace: Option<u64>,
    /// The lease it was sent under: looked at when it arrives.
    pub(crate) fence: Option<Fence>,
    pub(crate) request: Vec<u8>,
}

impl Letter {
    fn cost(&self) -> usize {
        let key = self.fence.as_ref().map_or(0, |fence| fence.key.as_str().len());
        LETTER_COST + self.request.len() + self.path.as_str().len() + self.type_name.len() + key
    }
}

/// The mail of one node.
#[derive(Debug, Default)]
struct Pigeonhole {
    letters: VecDeque<(Uptime, Letter)>,
    bytes: usize,
    /// So many of the first are on their way.
    under_way: usize,
}

impl Pigeonhole {
    fn drop_first(&mut self) -> usize {
        let Some((_, letter)) = self.letters.pop_front() else { return 0 };
        self.bytes -= letter.cost();
        self.under_way = self.under_way.saturating_sub(1);
        letter.cost()
    }
}

/// All mail that a hub keeps.
#[derive(Debug, Default)]
pub(crate) struct MailRoom {
    holes: BTreeMap<NodeId, Pigeonhole>,
    bytes: usize,
}

impl MailRoom {
    /// Keeps a letter. Returns how many older ones had to go for it.
    pub(crate) fn keep(&mut self, now: Uptime, letter: Letter) -> usize {
        let hole = self.holes.entry(letter.to).or_default();
        let cost = letter.cost();
        let to = letter.to;
        hole.letters.push_back((now, letter));
        hole.bytes += cost;
        self.bytes += cost;
        let mut dropped = 0;
        while hole.bytes > MAIL_NODE_BYTES_MAX || hole.letters.len() > MAIL_LETTERS_MAX {
            self.bytes -= hole.drop_first();
            dropped += 1;
        }
        while self.bytes > MAIL_BYTES_MAX {
            let oldest = self.holes.iter().filter_map(|(node, hole)| Some((hole.letters.front()?.0, *node))).min();
            let Some((_, node)) = oldest else { break };
            self.drop_first(node);
            dropped += 1;
        }
        self.forget_if_empty(to);
        dropped
    }

    /// Drops what is too old. Returns how many letters that were.
    pub(crate) fn expire(&mut self, now: Uptime) -> usize {
        let mut dropped = 0;
        let nodes: Vec<NodeId> = self.holes.keys().copied().collect();
        for node in nodes {
            while self
                .holes
                .get(&node)
                .and_then(|hole| hole.letters.front())
                .is_some_and(|(kept, _)| now.since(*kept) > MAIL_AGE_MAX)
            {
                self.drop_first(node);
                dropped += 1;
            }
        }
        dropped
    }

    /// Those for whom there is mail.
    pub(crate) fn receivers(&self) -> Vec<NodeId> {
        self.holes.keys().copied().collect()
    }

    /// How many letters there are.
    pub(crate) fn len(&self) -> usize {
        self.holes.values().map(|hole| hole.letters.len()).sum()
    }

    /// The next letter to send to a node: `send` says whether it was sent. Again and again, until it was not or enough are on
    /// their way.
    pub(crate) fn send(&mut self, to: NodeId, mut send: impl FnMut(&Letter) -> bool) {
        let Some(hole) = self.holes.get_mut(&to) else { return };
        while hole.under_way < UNDER_WAY_MAX {
            match hole.letters.get(hole.under_way) {
                Some((_, letter)) if send(letter) => hole.under_way += 1,
                Some(_) | None => return,
            }
        }
    }

    /// A connection to the node is new: what was on its way is not.
    pub(crate) fn connected(&mut self, to: NodeId) {
        if let Some(hole) = self.holes.get_mut(&to) {
            hole.under_way = 0;
        }
    }

    /// A node has a letter.
    pub(crate) fn delivered(&mut self, to: NodeId, id: LetterId) -> bool {
        let Some(hole) = self.holes.get_mut(&to) else { return false };
        let Some(at) = hole.letters.iter().take(hole.under_way).position(|(_, letter)| letter.id == id) else {
            return false;
        };
        if let Some((_, letter)) = hole.letters.remove(at) {
            hole.under_way -= 1;
            hole.bytes -= letter.cost();
            self.bytes -= letter.cost();
        }
        self.forget_if_empty(to);
        true
    }

    fn drop_first(&mut self, node: NodeId) {
        if let Some(hole) = self.holes.get_mut(&node) {
            self.bytes -= hole.drop_first();
        }
        self.forget_if_empty(node);
    }

    fn forget_if_empty(&mut self, node: NodeId) {
        if self.holes.get(&node).is_some_and(|hole| hole.letters.is_empty()) {
            self.holes.remove(&node);
        }
    }
}

/// The last letter taken in of each sender.
#[derive(Debug, Default)]
pub(crate) struct Taken(BTreeMap<NodeId, (BootEpoch, u64)>);

impl Taken {
    /// Whether a letter is the first of its kind; then it counts as taken. `senders_max` bounds what is remembered.
    pub(crate) fn take(&mut self, id: LetterId, senders_max: usize) -> bool {
        let stamp = (id.epoch, id.number);
        let last = self.0.get(&id.sender);
        let fresh = last.map_or(self.0.len() < senders_max, |last| stamp > *last);
        if fresh {
            self.0.insert(id.sender, stamp);
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(to: u8, number: u64, bytes: usize) -> Letter {
        Letter {
            to: NodeId([to; 16]),
            id: LetterId { sender: NodeId([9; 16]), epoch: BootEpoch(1), number },
            name: NodeName::new("sender").unwrap(),
            role: Role::Hub,
            region: Region::Africa,
            path: ActorPath::root(),
            type_name: "test".to_owned(),
            schema: SchemaHash([1; 32]),
            trace: None,
            fence: None,
            request: vec![0; bytes],
        }
    }

    fn sent(room: &mut MailRoom, to: u8) -> Vec<u64> {
        let mut sent = Vec::new();
        room.send(NodeId([to; 16]), |letter| {
            sent.push(letter.id.number);
            true
        });
        sent
    }

    #[test]
    fn letters_leave_in_order_and_stay_until_they_are_had() {
        let mut room = MailRoom::default();
        for number in 0..20 {
            assert_eq!(room.keep(Uptime::ZERO, letter(1, number, 10)), 0);
        }
        assert_eq!(sent(&mut room, 1), (0..16).collect::<Vec<_>>(), "so many are on their way at a time");
        assert!(sent(&mut room, 1).is_empty());
        let id = |number| letter(1, number, 10).id;
        assert!(room.delivered(NodeId([1; 16]), id(0)) && !room.delivered(NodeId([1; 16]), id(0)));
        assert!(!room.delivered(NodeId([1; 16]), id(19)), "it was not sent");
        assert_eq!(sent(&mut room, 1), [16]);
        room.connected(NodeId([1; 16]));
        assert_eq!(sent(&mut room, 1), (1..17).collect::<Vec<_>>(), "again over another connection");
        (1..20).for_each(|number| {
            let _ = sent(&mut room, 1);
            assert!(room.delivered(NodeId([1; 16]), id(number)));
        });
        assert_eq!((room.len(), room.bytes, room.receivers()), (0, 0, vec![]));
    }

    #[test]
    fn the_oldest_go_where_there_is_too_much_or_they_are_too_old() {
        let mut room = MailRoom::default();
        let dropped: usize = (0..40).map(|number| room.keep(Uptime::ZERO, letter(1, number, LETTER_BYTES_MAX))).sum();
        assert_eq!(dropped, 40 - MAIL_NODE_BYTES_MAX / (LETTER_BYTES_MAX + 512), "one node may not have more");
        assert_eq!(sent(&mut room, 1)[0], dropped as u64);
        let mut dropped = 0;
        for to in 2..60 {
            for number in 0..15 {
                dropped += room.keep(Uptime::from_millis(1), letter(to, number, LETTER_BYTES_MAX));
            }
        }
        assert!(dropped > 0 && room.bytes <= MAIL_BYTES_MAX);
        assert!(!room.receivers().contains(&NodeId([1; 16])), "its letters were the oldest");
        let mut room = MailRoom::default();
        let dropped: usize = (0..5000).map(|number| room.keep(Uptime::ZERO, letter(1, number, 0))).sum();
        assert!(dropped > 0 && room.len() <= MAIL_LETTERS_MAX);
        let rest = room.len();
        assert_eq!(room.expire(Uptime::ZERO.after(MAIL_AGE_MAX)), 0);
        assert_eq!(room.expire(Uptime::ZERO.after(MAIL_AGE_MAX + Duration::from_secs(1))), rest);
        assert_eq!((room.len(), room.bytes), (0, 0));
    }

    #[test]
    fn a_letter_that_two_hubs_bring_is_taken_once_and_none_after_a_later_one() {
        let mut taken = Taken::default();
        let id = |epoch, number| LetterId { sender: NodeId([9; 16]), epoch: BootEpoch(epoch), number };
        let answers = [(1, 1), (1, 1), (1, 3), (1, 2), (1, 3), (2, 1), (1, 4)].map(|(e, n)| taken.take(id(e, n), 1));
        assert_eq!(answers, [true, false, true, false, false, true, false]);
        assert!(!taken.take(LetterId { sender: NodeId([8; 16]), ..id(1, 1) }, 1), "senders are bounded");
    }
}
