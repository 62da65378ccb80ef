//! The ties of this node with all others. Pure: told what happens, it says what is to be sent and who is to be told.
//!
//! # Invariants
//! - A tie of ours is told of exactly once, or was taken away before.
//! - A tie outlives its connection. It breaks when the other node has a later epoch, has left, or was held down for as long as
//!   its line's grace; never because a connection broke, and never because a sleeper sleeps.
//! - What says that a tie is over is kept, and said again over the next connection, until the other node has heard it.
//! - Each node asks for at most [`MONITORS_MAX`] ties with another.

use std::collections::BTreeMap;
use std::time::Duration;

use covenant_runtime::{DownReason, FarTie};
use covenant_types::{ActorPath, BootEpoch, Incarnation, LinkTier, NodeId, Uptime};

use super::frame::{Ask, End, TieFrame, Word};
use crate::member::MemberState;

/// The most monitors and links that the actors of one node have with those of another.
pub const MONITORS_MAX: usize = 4096;
/// The most ties that are held for another node: it may ask for new ones before it has said that it heard of the end of the old.
const HELD_MAX: usize = 2 * MONITORS_MAX;
/// How long after it was given up a node on a line such as LTE may still come back to its ties.
pub(crate) const GRACE_WAN: Duration = Duration::from_secs(60);
/// The same by way of space: two contacts of such a node.
pub(crate) const GRACE_SATELLITE: Duration = Duration::from_secs(20 * 60);

/// All ties. `N` is what is told here, `H` is this node's end of what another asked for.
#[derive(Debug)]
pub(crate) struct TieBook<N, H> {
    next: u64,
    peers: BTreeMap<NodeId, Peer<N, H>>,
}

/// The ties with one node.
#[derive(Debug)]
struct Peer<N, H> {
    epoch: BootEpoch,
    connected: bool,
    /// When it was first seen to be down, until it is not.
    down_since: Option<Uptime>,
    ours: BTreeMap<u64, Ours<N>>,
    theirs: BTreeMap<u64, Theirs<H>>,
}

/// A tie that an actor here asked for.
#[derive(Debug)]
struct Ours<N> {
    path: ActorPath,
    tie: FarTie,
    bound: Option<Incarnation>,
    state: OursState<N>,
}

#[derive(Debug)]
enum OursState<N> {
    Holds(N),
    /// The link's end here has ended, and the holder has not said that it heard.
    Ended(Option<Incarnation>, End),
}

/// A tie that an actor there asked for.
#[derive(Debug)]
struct Theirs<H> {
    tie: FarTie,
    /// It was said again over this connection.
    confirmed: bool,
    state: TheirsState<H>,
}

#[derive(Debug)]
enum TheirsState<H> {
    /// `None` until this node's end was made.
    Holds(Option<H>),
    /// It is over, and the asker has not said that it heard this.
    Over(Word),
}

/// What is to be done, in order.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Effect<N, H> {
    /// Send this to the node.
    Send(NodeId, TieFrame),
    /// Tell the asker here.
    Tell(N, Option<Incarnation>, End),
    /// Take the asker's link away, without a word.
    Untie(N),
    /// Make this node's end, and say how it went with [`TieBook::held`] or [`TieBook::not_held`].
    Hold(NodeId, u64, Ask),
    /// Tell this node's end that the other has ended.
    Fire(H, Option<Incarnation>, End),
    /// Take this node's end away.
    LetGo(H),
}

type Effects<N, H> = Vec<Effect<N, H>>;

/// How another node stands, as far as ties go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// `None` where membership knows nothing of it.
    pub(crate) state: Option<MemberState>,
    pub(crate) tier: LinkTier,
    /// The latest boot that is known of it.
    pub(crate) epoch: BootEpoch,
}

impl<N, H> Default for TieBook<N, H> {
    fn default() -> Self {
        Self { next: 1, peers: BTreeMap::new() }
    }
}

impl<N, H> TieBook<N, H> {
    /// An actor here ties itself to one of `node`, which is connected, or asleep in this epoch. Returns what the tie is known by.
    ///
    /// # Errors
    /// There are too many; `near` comes back.
    pub(crate) fn ask(
        &mut self,
        node: NodeId,
        epoch: BootEpoch,
        path: ActorPath,
        tie: FarTie,
        near: N,
    ) -> Result<(u64, Effects<N, H>), N> {
        let id = self.next;
        let peer = self.peers.entry(node).or_insert_with(|| Peer::new(epoch));
        if peer.ours.len() >= MONITORS_MAX {
            return Err(near);
        }
        self.next += 1;
        let ours = Ours { path, tie, bound: None, state: OursState::Holds(near) };
        let effects = if peer.connected { vec![Effect::Send(node, ours.ask(id, false))] } else { Vec::new() };
        peer.ours.insert(id, ours);
        Ok((id, effects))
    }

    /// A tie that was asked for here is taken away again.
    pub(crate) fn untie(&mut self, node: NodeId, id: u64) -> Effects<N, H> {
        let Some(peer) = self.peers.get_mut(&node) else { return Vec::new() };
        let is_known = peer.ours.remove(&id).is_some();
        let send = is_known && peer.connected;
        self.tidy(node);
        // Without a connection it is not said again over the next one, which says as much.
        if send { vec![Effect::Send(node, TieFrame { tie: id, word: Word::Untied })] } else { Vec::new() }
    }

    /// The end here of a tie that was asked for here has ended: of a monitor nobody need know more.
    pub(crate) fn exited(
        &mut self,
        node: NodeId,
        id: u64,
        incarnation: Option<Incarnation>,
        end: End,
    ) -> Effects<N, H> {
        let Some(peer) = self.peers.get_mut(&node) else { return Vec::new() };
        let Some(ours) = peer.ours.get_mut(&id) else { return Vec::new() };
        if ours.tie == FarTie::Monitor {
            return self.untie(node, id);
        }
        ours.state = OursState::Ended(incarnation, end.clone());
        peer.say(node, id, Word::Exited { incarnation, end }).into_iter().collect()
    }

    /// A connection to a node stands, with this boot of it.
    pub(crate) fn connected(&mut self, node: NodeId, epoch: BootEpoch) -> Effects<N, H> {
        let mut effects = self.epoch_known(node, epoch);
        let peer = self.peers.entry(node).or_insert_with(|| Peer::new(epoch));
        (peer.epoch, peer.connected, peer.down_since) = (epoch, true, None);
        peer.theirs.values_mut().for_each(|theirs| theirs.confirmed = false);
        for (id, ours) in &peer.ours {
            let frame = match &ours.state {
                OursState::Holds(_) => ours.ask(*id, true),
                OursState::Ended(incarnation, end) => {
                    TieFrame { tie: *id, word: Word::Exited { incarnation: *incarnation, end: end.clone() } }
                }
            };
            effects.push(Effect::Send(node, frame));
        }
        effects.push(Effect::Send(node, TieFrame { tie: 0, word: Word::Settled }));
        effects
    }

    /// The connection to a node is gone.
    pub(crate) fn disconnected(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.connected = false;
        }
        self.tidy(node);
    }

    /// A boot of a node is known. A later one than its ties are with has none of the actors they are about.
    pub(crate) fn epoch_known(&mut self, node: NodeId, epoch: BootEpoch) -> Effects<N, H> {
        match self.peers.get(&node) {
            Some(peer) if peer.epoch < epoch => self.give_up(node),
            Some(_) | None => Vec::new(),
        }
    }

    /// The nodes that there are ties with.
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        let is_tied = |peer: &Peer<N, H>| !(peer.ours.is_empty() && peer.theirs.is_empty());
        self.peers.iter().filter(|(_, peer)| is_tied(peer)).map(|(node, _)| *node).collect()
    }

    /// Looks at how a node stands. To be called when that changes, and from time to time while it is down.
    pub(crate) fn review(&mut self, node: NodeId, standing: Standing, now: Uptime) -> Effects<N, H> {
        let effects = self.epoch_known(node, standing.epoch);
        let Some(peer) = self.peers.get_mut(&node) else { return effects };
        let grace = match standing.state {
            Some(MemberState::Reachable | MemberState::Unreachable | MemberState::Asleep) => None,
            Some(MemberState::Down) => Some(grace(standing.tier)),
            Some(MemberState::Left | MemberState::Removed) => Some(Duration::ZERO),
            None => (!peer.connected).then_some(Duration::ZERO),
        };
        let Some(grace) = grace else {
            peer.down_since = None;
            return effects;
        };
        let since = *peer.down_since.get_or_insert(now);
        if now < since.after(grace) {
            return effects;
        }
        effects.into_iter().chain(self.give_up(node)).collect()
    }

    /// This node's part in the cluster ends.
    pub(crate) fn end(&mut self) -> Effects<N, H> {
        let nodes: Vec<_> = self.peers.keys().copied().collect();
        nodes.into_iter().for_each(|node| self.disconnected(node));
        self.nodes().into_iter().flat_map(|node| self.give_up(node)).collect()
    }

    /// What a node said.
    pub(crate) fn hear(&mut self, node: NodeId, frame: TieFrame) -> Effects<N, H> {
        let TieFrame { tie, word } = frame;
        let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.connected) else { return Vec::new() };
        let effects = match word {
            Word::Ask(ask) => peer.asked(node, tie, ask),
            Word::Untied => peer.theirs.remove(&tie).and_then(Theirs::held).map(Effect::LetGo).into_iter().collect(),
            Word::Exited { incarnation, end } => {
                let held = peer.theirs.remove(&tie).and_then(Theirs::held);
                let fire = held.map(|held| Effect::Fire(held, incarnation, end));
                fire.into_iter().chain(peer.say(node, tie, Word::LetGo)).collect()
            }
            Word::Settled => {
                // What is not said again was taken away while there was no connection.
                let gone = peer.theirs.extract_if(.., |_, theirs| !theirs.confirmed);
                gone.filter_map(|(_, theirs)| theirs.held().map(Effect::LetGo)).collect()
            }
            Word::Bound(incarnation) => {
                if let Some(ours) = peer.ours.get_mut(&tie) {
                    ours.bound = Some(incarnation);
                }
                Vec::new()
            }
            // That it was heard is said also of what is known no more: it was said before, and got lost.
            Word::Fired { incarnation, end } => {
                let near = peer.ours.remove(&tie).and_then(Ours::near);
                let tell = near.map(|near| Effect::Tell(near, incarnation, end));
                tell.into_iter().chain(peer.say(node, tie, Word::Untied)).collect()
            }
            Word::LetGo => {
                let near = peer.ours.remove(&tie).and_then(Ours::near);
                near.map(Effect::Untie).into_iter().chain(peer.say(node, tie, Word::Untied)).collect()
            }
            Word::Order { .. } => Vec::new(), // no tie
        };
        self.tidy(node);
        effects
    }

    /// This node's end of what another asked for was made, and is tied to this incarnation.
    pub(crate) fn held(
        &mut self,
        node: NodeId,
        id: u64,
        ask: &Ask,
        held: H,
        bound: Option<Incarnation>,
    ) -> Effects<N, H> {
        let Some(peer) = self.peers.get_mut(&node) else { return vec![Effect::LetGo(held)] };
        let Some(theirs) = peer.theirs.get_mut(&id) else { return vec![Effect::LetGo(held)] };
        let TheirsState::Holds(empty) = &mut theirs.state else { return vec![Effect::LetGo(held)] };
        if ask.expected.is_some() && bound != ask.expected {
            // What it was about has ended, and this node kept no word of how.
            let word = Word::Fired { incarnation: ask.expected, end: DownReason::NoProc };
            return [Effect::LetGo(held)].into_iter().chain(self.over(node, id, word)).collect();
        }
        *empty = Some(held);
        bound.and_then(|bound| peer.say(node, id, Word::Bound(bound))).into_iter().collect()
    }

    /// It was not made, and this is why.
    pub(crate) fn not_held(&mut self, node: NodeId, id: u64, end: End) -> Effects<N, H> {
        self.over(node, id, Word::Fired { incarnation: None, end })
    }

    /// An end that waited for its next incarnation has it.
    pub(crate) fn bound(&mut self, node: NodeId, id: u64, incarnation: Incarnation) -> Effects<N, H> {
        let Some(peer) = self.peers.get(&node).filter(|peer| peer.theirs.contains_key(&id)) else { return Vec::new() };
        peer.say(node, id, Word::Bound(incarnation)).into_iter().collect()
    }

    /// What another node's tie is about is over here: that is said now, or as soon as it can be.
    pub(crate) fn over(&mut self, node: NodeId, id: u64, word: Word) -> Effects<N, H> {
        let Some(peer) = self.peers.get_mut(&node) else { return Vec::new() };
        match peer.theirs.get_mut(&id) {
            Some(Theirs { state: state @ TheirsState::Holds(_), .. }) => *state = TheirsState::Over(word.clone()),
            Some(Theirs { state: TheirsState::Over(_), .. }) | None => return Vec::new(),
        }
        peer.say(node, id, word).into_iter().collect()
    }

    /// The actors of a node are gone, as far as their ties go.
    fn give_up(&mut self, node: NodeId) -> Effects<N, H> {
        let Some(peer) = self.peers.get_mut(&node) else { return Vec::new() };
        let mut effects = Vec::new();
        for (id, ours) in std::mem::take(&mut peer.ours) {
            effects.extend(peer.say(node, id, Word::Untied));
            effects.extend(ours.near().map(|near| Effect::Tell(near, None, DownReason::NoConnection)));
        }
        // Where the connection stands the other node goes by its own view of this one: it goes on to be told of what it
        // watches. A link is broken for both.
        let connected = peer.connected;
        let gone = peer.theirs.extract_if(.., |_, theirs| !connected || theirs.tie != FarTie::Monitor);
        for (id, theirs) in gone.collect::<Vec<_>>() {
            let is_link = theirs.tie != FarTie::Monitor;
            match theirs.held() {
                Some(held) if is_link => {
                    let end = DownReason::NoConnection;
                    effects.extend(peer.say(node, id, Word::Fired { incarnation: None, end: end.clone() }));
                    effects.push(Effect::Fire(held, None, end));
                }
                Some(held) => effects.push(Effect::LetGo(held)),
                None => {}
            }
        }
        self.tidy(node);
        effects
    }

    /// Forgets a node that there is nothing to know of.
    fn tidy(&mut self, node: NodeId) {
        let is_idle = |peer: &Peer<N, H>| !peer.connected && peer.ours.is_empty() && peer.theirs.is_empty();
        if self.peers.get(&node).is_some_and(is_idle) {
            self.peers.remove(&node);
        }
    }
}

impl<N, H> Peer<N, H> {
    fn new(epoch: BootEpoch) -> Self {
        Self { epoch, connected: false, down_since: None, ours: BTreeMap::new(), theirs: BTreeMap::new() }
    }

    fn asked(&mut self, node: NodeId, id: u64, ask: Ask) -> Effects<N, H> {
        if let Some(theirs) = self.theirs.get_mut(&id) {
            theirs.confirmed = true;
            let TheirsState::Over(word) = &theirs.state else { return Vec::new() };
            return vec![Effect::Send(node, TieFrame { tie: id, word: word.clone() })];
        }
        // It was broken here while its asker held on to it.
        let is_broken = ask.tie != FarTie::Monitor && ask.again && ask.expected.is_some();
        if is_broken || self.theirs.len() >= HELD_MAX {
            let word = Word::Fired { incarnation: None, end: DownReason::NoConnection };
            return vec![Effect::Send(node, TieFrame { tie: id, word })];
        }
        self.theirs.insert(id, Theirs { tie: ask.tie.clone(), confirmed: true, state: TheirsState::Holds(None) });
        vec![Effect::Hold(node, id, ask)]
    }

    fn say(&self, node: NodeId, tie: u64, word: Word) -> Option<Effect<N, H>> {
        self.connected.then_some(Effect::Send(node, TieFrame { tie, word }))
    }
}

impl<N> Ours<N> {
    fn near(self) -> Option<N> {
        match self.state {
            OursState::Holds(near) => Some(near),
            OursState::Ended(..) => None,
        }
    }

    fn ask(&self, id: u64, again: bool) -> TieFrame {
        let (path, tie, expected) = (self.path.clone(), self.tie.clone(), self.bound);
        TieFrame { tie: id, word: Word::Ask(Ask { path, tie, again, expected }) }
    }
}

impl<H> Theirs<H> {
    fn held(self) -> Option<H> {
        match self.state {
            TheirsState::Holds(held) => held,
            TheirsState::Over(_) => None,
        }
    }
}

/// How long a node of this tier that was given up may still come back to its ties.
fn grace(tier: LinkTier) -> Duration {
    match tier {
        LinkTier::Lan => Duration::ZERO,
        LinkTier::Wan => GRACE_WAN,
        LinkTier::Satellite => GRACE_SATELLITE,
    }
}

#[cfg(test)]
mod tests {
    use covenant_types::ExitReason;

    use super::*;

    type Book = TieBook<&'static str, &'static str>;

    const PEER: NodeId = NodeId([7; 16]);
    const FIRST: BootEpoch = BootEpoch(1);

    fn path() -> ActorPath {
        "/a".parse().unwrap()
    }

    fn link() -> FarTie {
        FarTie::Link { from: "/b".parse().unwrap(), incarnation: Incarnation(1) }
    }

    fn frame(tie: u64, word: Word) -> TieFrame {
        TieFrame { tie, word }
    }

    fn ask(tie: FarTie, again: bool, expected: Option<u32>) -> Ask {
        Ask { path: path(), tie, again, expected: expected.map(Incarnation) }
    }

    fn killed() -> End {
        DownReason::Exited(ExitReason::Killed)
    }

    /// A book with one tie of ours, bound to the first incarnation.
    fn tied(tie: FarTie) -> Book {
        let mut book = Book::default();
        let _settled = book.connected(PEER, FIRST);
        let (id, effects) = book.ask(PEER, FIRST, path(), tie.clone(), "near").unwrap();
        assert_eq!(effects, [Effect::Send(PEER, frame(id, Word::Ask(ask(tie, false, None))))]);
        assert_eq!(book.hear(PEER, frame(id, Word::Bound(Incarnation(1)))), []);
        book
    }

    /// A book that holds a tie of theirs, bound to the first incarnation.
    fn holding(tie: FarTie) -> Book {
        let mut book = Book::default();
        let _settled = book.connected(PEER, FIRST);
        let ask = ask(tie, false, None);
        assert_eq!(book.hear(PEER, frame(5, Word::Ask(ask.clone()))), [Effect::Hold(PEER, 5, ask.clone())]);
        let bound = book.held(PEER, 5, &ask, "held", Some(Incarnation(1)));
        assert_eq!(bound, [Effect::Send(PEER, frame(5, Word::Bound(Incarnation(1))))]);
        book
    }

    fn standing(state: MemberState, tier: LinkTier) -> Standing {
        Standing { state: Some(state), tier, epoch: FIRST }
    }

    fn at(secs: u64) -> Uptime {
        Uptime(Duration::from_secs(secs))
    }

    fn heard(tie: u64) -> Effect<&'static str, &'static str> {
        Effect::Send(PEER, frame(tie, Word::Untied))
    }

    const GONE: Effect<&str, &str> = Effect::Tell("near", None, DownReason::NoConnection);

    #[test]
    fn a_tie_fires_once_with_what_the_other_node_says() {
        let mut book = tied(FarTie::Monitor);
        let fired = Word::Fired { incarnation: Some(Incarnation(1)), end: killed() };
        let tell = Effect::Tell("near", Some(Incarnation(1)), killed());
        assert_eq!(book.hear(PEER, frame(1, fired.clone())), [tell, heard(1)]);
        assert_eq!(book.hear(PEER, frame(1, fired)), [heard(1)]);
        assert_eq!(book.review(PEER, standing(MemberState::Down, LinkTier::Lan), at(9)), []);
    }

    #[test]
    fn a_tie_survives_its_connection_and_is_said_again_with_what_it_was_bound_to() {
        let mut book = tied(FarTie::Monitor);
        book.disconnected(PEER);
        for state in [MemberState::Unreachable, MemberState::Asleep, MemberState::Reachable] {
            assert_eq!(book.review(PEER, standing(state, LinkTier::Lan), at(9999)), []);
        }
        let again = Effect::Send(PEER, frame(1, Word::Ask(ask(FarTie::Monitor, true, Some(1)))));
        assert_eq!(book.connected(PEER, FIRST), [again, Effect::Send(PEER, frame(0, Word::Settled))]);
    }

    #[test]
    fn a_node_that_is_given_up_breaks_its_ties_after_the_grace_of_its_line() {
        for (tier, grace) in [(LinkTier::Lan, 0), (LinkTier::Wan, 60), (LinkTier::Satellite, 1200)] {
            let mut book = tied(FarTie::Monitor);
            book.disconnected(PEER);
            let down = standing(MemberState::Down, tier);
            if grace > 0 {
                assert_eq!(book.review(PEER, down, at(100)), []);
                assert_eq!(book.review(PEER, down, at(100 + grace - 1)), [], "{tier}");
            }
            assert_eq!(book.review(PEER, down, at(100 + grace)), [GONE], "{tier}");
            assert_eq!(book.review(PEER, down, at(100 + grace)), [], "once");
        }
    }

    #[test]
    fn a_node_that_comes_back_within_its_grace_has_its_ties_and_the_next_grace_begins_anew() {
        let mut book = tied(FarTie::Monitor);
        book.disconnected(PEER);
        assert_eq!(book.review(PEER, standing(MemberState::Down, LinkTier::Wan), at(100)), []);
        assert_eq!(book.connected(PEER, FIRST).len(), 2);
        book.disconnected(PEER);
        assert_eq!(book.review(PEER, standing(MemberState::Down, LinkTier::Wan), at(159)), []);
        assert_eq!(book.review(PEER, standing(MemberState::Down, LinkTier::Wan), at(218)), []);
        assert_eq!(book.review(PEER, standing(MemberState::Down, LinkTier::Wan), at(219)), [GONE]);
    }

    #[test]
    fn one_that_left_or_was_never_a_member_and_went_is_given_up_at_once() {
        let unknown = Standing { state: None, ..standing(MemberState::Down, LinkTier::Satellite) };
        for standing in [standing(MemberState::Left, LinkTier::Satellite), unknown] {
            let mut book = tied(FarTie::Monitor);
            book.disconnected(PEER);
            assert_eq!(book.review(PEER, standing, at(1)), [GONE]);
        }
        let mut book = tied(FarTie::Monitor);
        assert_eq!(book.review(PEER, unknown, at(1)), [], "it is connected");
    }

    #[test]
    fn a_later_boot_breaks_all_ties_however_it_becomes_known() {
        let by_connection = |book: &mut Book| book.connected(PEER, BootEpoch(2));
        let by_record = |book: &mut Book| {
            let standing = Standing { epoch: BootEpoch(2), ..standing(MemberState::Reachable, LinkTier::Lan) };
            book.review(PEER, standing, at(1))
        };
        for later in [by_connection as fn(&mut Book) -> _, by_record] {
            let mut book = tied(FarTie::Monitor);
            book.disconnected(PEER);
            assert_eq!(later(&mut book).first(), Some(&GONE));
            let mut book = holding(link());
            book.disconnected(PEER);
            assert_eq!(later(&mut book).first(), Some(&Effect::Fire("held", None, DownReason::NoConnection)));
        }
    }

    #[test]
    fn what_ended_while_there_was_no_connection_is_said_over_the_next_one() {
        let mut book = holding(FarTie::Monitor);
        book.disconnected(PEER);
        let fired = Word::Fired { incarnation: Some(Incarnation(1)), end: killed() };
        assert_eq!(book.over(PEER, 5, fired.clone()), []);
        // It may get lost with the connection it is said over.
        let again = frame(5, Word::Ask(ask(FarTie::Monitor, true, Some(1))));
        for _ in 0..2 {
            let _settled = book.connected(PEER, FIRST);
            assert_eq!(book.hear(PEER, again.clone()), [Effect::Send(PEER, frame(5, fired.clone()))]);
            book.disconnected(PEER);
        }
        let _settled = book.connected(PEER, FIRST);
        assert_eq!(book.hear(PEER, frame(5, Word::Untied)), []);
        assert_eq!(book.nodes(), [], "it was heard");

        let mut book = tied(link());
        book.disconnected(PEER);
        assert_eq!(book.exited(PEER, 1, Some(Incarnation(1)), killed()), []);
        let exited = Effect::Send(PEER, frame(1, Word::Exited { incarnation: Some(Incarnation(1)), end: killed() }));
        for _ in 0..2 {
            assert_eq!(book.connected(PEER, FIRST).first(), Some(&exited));
        }
        assert_eq!(book.hear(PEER, frame(1, Word::LetGo)), [heard(1)]);
        assert_eq!(book.nodes(), [], "it was heard");
    }

    #[test]
    fn one_that_is_asked_again_for_an_incarnation_that_is_no_more_fires_at_once() {
        let mut book = Book::default();
        let _settled = book.connected(PEER, FIRST);
        let again = ask(FarTie::Monitor, true, Some(1));
        assert_eq!(book.hear(PEER, frame(5, Word::Ask(again.clone()))), [Effect::Hold(PEER, 5, again.clone())]);
        let fired = Word::Fired { incarnation: Some(Incarnation(1)), end: DownReason::NoProc };
        let over = [Effect::LetGo("held"), Effect::Send(PEER, frame(5, fired))];
        assert_eq!(book.held(PEER, 5, &again, "held", Some(Incarnation(2))), over);
    }

    #[test]
    fn what_is_not_said_again_is_let_go() {
        let mut book = holding(FarTie::Monitor);
        book.disconnected(PEER);
        let _settled = book.connected(PEER, FIRST);
        assert_eq!(book.hear(PEER, frame(0, Word::Settled)), [Effect::LetGo("held")]);

        let mut book = holding(FarTie::Monitor);
        book.disconnected(PEER);
        let _settled = book.connected(PEER, FIRST);
        assert_eq!(book.hear(PEER, frame(5, Word::Ask(ask(FarTie::Monitor, true, Some(1))))), []);
        assert_eq!(book.hear(PEER, frame(0, Word::Settled)), [], "this one was");
    }

    #[test]
    fn a_link_ends_this_side_when_the_other_has_ended_or_is_given_up() {
        let mut book = holding(link());
        let exited = Word::Exited { incarnation: Some(Incarnation(1)), end: killed() };
        let fire = Effect::Fire("held", Some(Incarnation(1)), killed());
        assert_eq!(book.hear(PEER, frame(5, exited)), [fire, Effect::Send(PEER, frame(5, Word::LetGo))]);

        let mut book = holding(link());
        let effects = book.review(PEER, standing(MemberState::Down, LinkTier::Lan), at(1));
        let fired = Word::Fired { incarnation: None, end: DownReason::NoConnection };
        let broken = [Effect::Send(PEER, frame(5, fired)), Effect::Fire("held", None, DownReason::NoConnection)];
        assert_eq!(effects, broken, "the connection stands, and the asker is told too");
    }

    #[test]
    fn a_link_that_was_broken_on_one_side_is_broken_on_the_other_when_they_meet_again() {
        let mut book = Book::default();
        let _settled = book.connected(PEER, FIRST);
        let fired = Word::Fired { incarnation: None, end: DownReason::NoConnection };
        let again = Word::Ask(ask(link(), true, Some(1)));
        assert_eq!(book.hear(PEER, frame(5, again)), [Effect::Send(PEER, frame(5, fired))]);
    }

    #[test]
    fn whoever_gives_a_node_up_over_a_connection_that_stands_lets_it_go_on_watching() {
        let mut book = holding(FarTie::Monitor);
        assert_eq!(book.review(PEER, standing(MemberState::Down, LinkTier::Lan), at(1)), []);
        let fired = Word::Fired { incarnation: Some(Incarnation(1)), end: killed() };
        assert_eq!(book.over(PEER, 5, fired.clone()), [Effect::Send(PEER, frame(5, fired))]);
    }

    #[test]
    fn there_is_a_bound_each_way() {
        let mut book = Book::default();
        let _settled = book.connected(PEER, FIRST);
        for _ in 0..MONITORS_MAX {
            assert!(book.ask(PEER, FIRST, path(), FarTie::Monitor, "near").is_ok());
        }
        assert_eq!(book.ask(PEER, FIRST, path(), FarTie::Monitor, "one more").err(), Some("one more"));
        for id in 0..HELD_MAX as u64 {
            let asked = book.hear(PEER, frame(id, Word::Ask(ask(FarTie::Monitor, false, None))));
            assert!(matches!(asked[..], [Effect::Hold(..)]));
        }
        let asked = book.hear(PEER, frame(u64::MAX, Word::Ask(ask(FarTie::Monitor, false, None))));
        assert!(matches!(asked[..], [Effect::Send(_, TieFrame { word: Word::Fired { .. }, .. })]));
    }

    #[test]
    fn nothing_is_kept_of_a_node_without_ties_or_connection() {
        let mut book = tied(FarTie::Monitor);
        book.disconnected(PEER);
        assert_eq!(book.untie(PEER, 1), [], "it is not said again");
        assert!(book.peers.is_empty());
    }
}
