//! The boards of a node: what it tells, what it was told, and whom to tell of changes when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use covenant_types::{NodeId, Uptime};

use crate::Paces;
use crate::board::{Board, Word};

/// More news than this is not sent: what the board comes to is, and who lacks much asks for it.
const NEWS_MAX: usize = 64;

/// Who hears a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Another hub: it hears of those whom this hub watches or leases itself.
    Hub,
    /// A node of the region: it hears of all.
    Region,
    /// A node that renews a lease: it hears of all, and compares when it renews.
    Leased,
}

/// All boards of a node.
#[derive(Debug)]
pub(crate) struct Boards {
    /// Whether anybody hears these.
    speaks: bool,
    /// Those this hub watches or leases itself, but hubs.
    own: Board,
    /// Everybody, as told upward.
    pub(crate) all: Board,
    /// What hubs told.
    pub(crate) heard: BTreeMap<NodeId, Board>,
    fresh_own: BTreeSet<NodeId>,
    fresh_all: BTreeSet<NodeId>,
    /// When to send news.
    push: Option<Uptime>,
    /// How long news is gathered.
    gather: Duration,
    hubs: Round,
    region: Round,
}

/// When boards are compared.
#[derive(Clone, Copy, Debug)]
struct Round {
    next: Uptime,
    period: Duration,
}

impl Round {
    fn is_due(&mut self, now: Uptime) -> bool {
        let due = self.next <= now;
        if due {
            self.next = now.after(self.period);
        }
        due
    }
}

/// What is to be told now.
#[derive(Debug, Default)]
pub(crate) struct Due {
    own: Vec<(NodeId, Word)>,
    all: Vec<(NodeId, Word)>,
    hubs: bool,
    region: bool,
    /// There is more news than is sent as such.
    own_anew: bool,
    all_anew: bool,
}

impl Due {
    /// The news for these, if there is any and not too much.
    pub(crate) fn news(&self, audience: Audience) -> Option<Vec<(NodeId, Word)>> {
        let news = if audience == Audience::Hub { &self.own } else { &self.all };
        (!news.is_empty()).then(|| news.clone())
    }

    /// Whether these are to compare the board with what they have of it.
    pub(crate) fn compares(&self, audience: Audience) -> bool {
        match audience {
            Audience::Hub => self.hubs || self.own_anew,
            Audience::Region => self.region || self.all_anew,
            Audience::Leased => self.all_anew,
        }
    }
}

impl Boards {
    pub(crate) fn new(speaks: bool, paces: &Paces, now: Uptime) -> Self {
        let round = |period: Duration| Round { next: now.after(period), period };
        Self {
            speaks,
            own: Board::default(),
            all: Board::default(),
            heard: BTreeMap::new(),
            fresh_own: BTreeSet::new(),
            fresh_all: BTreeSet::new(),
            push: None,
            gather: paces.pool.sweep,
            hubs: round(paces.hubs.push_pull),
            region: round(paces.pool.push_pull),
        }
    }

    /// The board that these hear.
    pub(crate) fn for_whom(&self, audience: Audience) -> &Board {
        if audience == Audience::Hub { &self.own } else { &self.all }
    }

    /// A node that this hub watches or leases itself is in this state.
    pub(crate) fn tell_own(&mut self, now: Uptime, node: NodeId, word: Word) {
        if self.speaks && self.own.set(node, word) {
            self.fresh_own.insert(node);
            self.push.get_or_insert(now.after(self.gather));
        }
    }

    /// A node is in this state, all told. Returns whether that is news.
    pub(crate) fn tell_all(&mut self, now: Uptime, node: NodeId, word: Word) -> bool {
        let news = self.all.set(node, word);
        if self.speaks && news {
            self.fresh_all.insert(node);
            self.push.get_or_insert(now.after(self.gather));
        }
        news
    }

    /// When something is to be told.
    pub(crate) fn next(&self) -> Option<Uptime> {
        let rounds = self.speaks.then(|| self.hubs.next.min(self.region.next));
        self.push.into_iter().chain(rounds).min()
    }

    /// Takes what is to be told now.
    pub(crate) fn due(&mut self, now: Uptime) -> Due {
        let mut due = Due::default();
        if !self.speaks {
            return due;
        }
        if self.push.is_some_and(|push| push <= now) {
            self.push = None;
            let own = std::mem::take(&mut self.fresh_own);
            let all = std::mem::take(&mut self.fresh_all);
            (due.own, due.own_anew) = gathered(&self.own, own);
            (due.all, due.all_anew) = gathered(&self.all, all);
        }
        (due.hubs, due.region) = (self.hubs.is_due(now), self.region.is_due(now));
        due
    }
}

fn gathered(board: &Board, fresh: BTreeSet<NodeId>) -> (Vec<(NodeId, Word)>, bool) {
    if fresh.len() > NEWS_MAX {
        return (Vec::new(), true);
    }
    (fresh.into_iter().filter_map(|node| Some((node, board.get(&node)?))).collect(), false)
}
