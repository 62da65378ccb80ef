//! The ties of one path, kept in its record, and how they fire.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Weak};

use covenant_types::{ActorPath, CallError, ExitReason, Incarnation, NodeName, StartAttempt};
use tokio::sync::oneshot;

use super::far::{self, FarEnd, FarTie};
use super::{Down, DownReason, MonitorRef, TIES_MAX, TiesView, TooManyTies};
use crate::notice::Notice;
use crate::slot::Slot;

/// What a tie is known by in the books of both its ends.
pub(super) type TieId = u64;

/// The ties of one path.
#[derive(Default)]
pub(crate) struct Ties {
    /// What ties that others make now bind to; without it they bind to the next incarnation.
    up: Option<Bound>,
    /// There will be no next incarnation unless somebody starts it: this is what those hear who ask.
    closed: Option<Box<CallError>>,
    /// Made on first use: most actors have no ties.
    book: Option<Box<Book>>,
}

#[derive(Default)]
struct Book {
    ties: BTreeMap<TieId, Tie>,
    /// Told, and not handled yet.
    downs: VecDeque<(StartAttempt, Down)>,
    /// How many of `ties` the incarnation of this path asked for, or was linked with.
    own: usize,
    /// The attempt whose incarnation hears of exits instead of ending with them.
    trapping: Option<StartAttempt>,
}

/// One incarnation, as one end of a tie.
#[derive(Clone)]
pub(crate) struct Bound {
    pub(crate) attempt: StartAttempt,
    pub(crate) incarnation: Incarnation,
    pub(crate) notice: Weak<Notice>,
}

struct Tie {
    /// The incarnation of this path, or the next one.
    of: Option<Bound>,
    end: End,
}

/// What is at the other end.
pub(super) enum End {
    /// This path watches that one.
    Watches(Arc<Slot>),
    /// That one watches this path.
    WatchedBy(Watcher),
    /// Each ends with the other.
    Linked(Arc<Slot>),
    /// This path watches an actor of another node.
    WatchesFar(Far),
    /// Each ends with the other, which is of another node.
    LinkedFar(Far),
}

pub(super) enum Watcher {
    Actor(Arc<Slot>),
    Outside(oneshot::Sender<Down>),
    /// An actor of another node.
    Far(Arc<dyn FarEnd>),
}

/// An actor of another node, as one end of a tie.
pub(super) struct Far {
    pub(super) node: NodeName,
    pub(super) path: ActorPath,
    /// `None` until remoting has taken it up.
    pub(super) end: Option<Arc<dyn FarEnd>>,
}

/// The ties of an incarnation that has ended: they have left its book and are to be told.
#[must_use]
pub(crate) struct Ended(Vec<(TieId, Tie)>);

impl fmt::Display for Far {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.node, self.path)
    }
}

impl Ties {
    /// An incarnation runs: whoever waited for it is tied to it. Returns those of other nodes, who are to be told.
    #[must_use]
    pub(crate) fn started(&mut self, bound: &Bound) -> Vec<Arc<dyn FarEnd>> {
        let mut abroad = Vec::new();
        for tie in self.book.iter_mut().flat_map(|book| book.ties.values_mut()).filter(|tie| tie.of.is_none()) {
            tie.of = Some(bound.clone());
            abroad.extend(tie.end.far().cloned());
        }
        self.up = Some(bound.clone());
        abroad
    }

    /// `attempt` has ended, and with it what it was tied to.
    pub(crate) fn ended(&mut self, attempt: StartAttempt) -> Ended {
        self.fade(attempt);
        let Some(book) = &mut self.book else { return Ended(Vec::new()) };
        book.downs.retain(|(to, _)| *to != attempt);
        book.trapping.take_if(|trapping| *trapping == attempt);
        let ended = book.take(|tie| tie.of.as_ref().is_some_and(|of| of.attempt == attempt));
        if book.is_empty() {
            self.book = None;
        }
        ended
    }

    /// No incarnation follows. Returns the ties that waited for one.
    pub(crate) fn close(&mut self, error: &CallError) -> Ended {
        self.closed = Some(Box::new(error.clone()));
        self.book.as_mut().map_or(Ended(Vec::new()), |book| book.take(|tie| tie.of.is_none()))
    }

    /// An incarnation follows after all.
    pub(crate) fn reopen(&mut self) {
        self.closed = None;
    }

    /// Nothing more binds to `attempt`: it has ended, or is about to.
    fn fade(&mut self, attempt: StartAttempt) {
        self.up.take_if(|up| up.attempt == attempt);
    }

    /// The oldest of what `attempt` was not told yet.
    pub(crate) fn next_down(&mut self, attempt: StartAttempt) -> Option<Down> {
        let book = self.book.as_mut()?;
        let at = book.downs.iter().position(|(to, _)| *to == attempt)?;
        book.downs.remove(at).map(|(_, down)| down)
    }

    /// What can be seen of them.
    pub(super) fn view(&self) -> TiesView {
        let mut view = TiesView::default();
        let Some(book) = &self.book else { return view };
        view.traps_exits = book.trapping.is_some();
        for tie in book.ties.values() {
            match &tie.end {
                End::Watches(slot) => view.monitors.push(slot.path.clone()),
                End::WatchedBy(Watcher::Actor(slot)) => view.monitored_by.push(slot.path.clone()),
                End::WatchedBy(Watcher::Outside(_) | Watcher::Far(_)) => view.monitored_from_outside += 1,
                End::Linked(slot) => view.links.push(slot.path.clone()),
                End::WatchesFar(far) => view.monitors_abroad.push(far.to_string()),
                End::LinkedFar(far) => view.links_abroad.push(far.to_string()),
            }
        }
        view
    }

    pub(super) fn trap(&mut self, attempt: StartAttempt, trap: bool) {
        if trap {
            self.book().trapping = Some(attempt);
        } else if let Some(book) = &mut self.book {
            book.trapping.take_if(|trapping| *trapping == attempt);
        }
    }

    /// Whether the incarnation of this path may be tied once more.
    pub(super) fn has_room(&self) -> bool {
        self.book.as_ref().is_none_or(|book| book.own + book.downs.len() < TIES_MAX)
    }

    fn book(&mut self) -> &mut Book {
        self.book.get_or_insert_default()
    }

    /// Takes what `drop_it` names from what was told and not handled.
    pub(super) fn forget_downs(&mut self, drop_it: impl Fn(&Down) -> bool) {
        if let Some(book) = &mut self.book {
            book.downs.retain(|(_, down)| !drop_it(down));
        }
    }

    /// Takes a tie out. Whoever gets it is the one to tell; it is dropped outside the lock.
    pub(super) fn remove(&mut self, id: TieId) -> Option<End> {
        self.book.as_mut()?.remove(id).map(|tie| tie.end)
    }

    /// Takes a monitor out that this path made, and no other's.
    pub(super) fn remove_monitor(&mut self, monitor: MonitorRef) -> Option<End> {
        let book = self.book.as_mut()?;
        match book.ties.get(&monitor.0)?.end {
            End::Watches(_) | End::WatchesFar(_) => book.remove(monitor.0).map(|tie| tie.end),
            End::WatchedBy(_) | End::Linked(_) | End::LinkedFar(_) => None,
        }
    }

    /// Ties the incarnation of `attempt` to an actor of another node, once remoting takes it up.
    pub(super) fn insert_far(&mut self, id: TieId, me: Bound, end: End) -> Result<(), TooManyTies> {
        if !self.has_room() {
            return Err(TooManyTies);
        }
        self.book().insert(id, Some(me), end);
        Ok(())
    }

    /// Remoting has taken a tie up. False where it is over already.
    pub(super) fn set_far(&mut self, id: TieId, end: Arc<dyn FarEnd>) -> bool {
        let tie = self.book.as_mut().and_then(|book| book.ties.get_mut(&id));
        match tie.map(|tie| &mut tie.end) {
            Some(End::WatchesFar(far) | End::LinkedFar(far)) => {
                far.end = Some(end);
                true
            }
            Some(End::Watches(_) | End::WatchedBy(_) | End::Linked(_)) | None => false,
        }
    }

    /// The link between the incarnation of `attempt` and an actor of another node.
    pub(super) fn far_link_with(&self, attempt: StartAttempt, node: &NodeName, path: &ActorPath) -> Option<TieId> {
        let is_it = |tie: &Tie| {
            tie.of.as_ref().is_some_and(|of| of.attempt == attempt)
                && matches!(&tie.end, End::LinkedFar(far) if far.node == *node && far.path == *path)
        };
        self.book.as_ref()?.ties.iter().find(|(_, tie)| is_it(tie)).map(|(id, _)| *id)
    }

    /// The link between the incarnation of `attempt` and the path `other`.
    pub(super) fn link_with(&self, attempt: StartAttempt, other: &ActorPath) -> Option<TieId> {
        let is_it = |tie: &Tie| {
            tie.of.as_ref().is_some_and(|of| of.attempt == attempt)
                && matches!(&tie.end, End::Linked(slot) if slot.path == *other)
        };
        self.book.as_ref()?.ties.iter().find(|(_, tie)| is_it(tie)).map(|(id, _)| *id)
    }
}

impl Book {
    fn insert(&mut self, id: TieId, of: Option<Bound>, end: End) {
        self.own += usize::from(end.is_own());
        self.ties.insert(id, Tie { of, end });
    }

    fn remove(&mut self, id: TieId) -> Option<Tie> {
        let tie = self.ties.remove(&id)?;
        self.own -= usize::from(tie.end.is_own());
        Some(tie)
    }

    fn take(&mut self, which: impl Fn(&Tie) -> bool) -> Ended {
        let ids: Vec<TieId> = self.ties.iter().filter(|(_, tie)| which(tie)).map(|(id, _)| *id).collect();
        Ended(ids.into_iter().filter_map(|id| Some((id, self.remove(id)?))).collect())
    }

    fn is_empty(&self) -> bool {
        self.ties.is_empty() && self.downs.is_empty() && self.trapping.is_none()
    }
}

impl End {
    fn is_own(&self) -> bool {
        matches!(self, Self::Watches(_) | Self::Linked(_) | Self::WatchesFar(_) | Self::LinkedFar(_))
    }

    /// The other node's part in it, where it has one.
    pub(super) fn far(&self) -> Option<&Arc<dyn FarEnd>> {
        match self {
            Self::WatchedBy(Watcher::Far(end)) => Some(end),
            Self::WatchesFar(far) | Self::LinkedFar(far) => far.end.as_ref(),
            Self::Watches(_) | Self::Linked(_) | Self::WatchedBy(Watcher::Actor(_) | Watcher::Outside(_)) => None,
        }
    }
}

/// What became of a tie that was asked for.
pub(super) enum Tied {
    /// It holds.
    Holds,
    /// There is nothing to tie to, and this is why.
    AtOnce(DownReason),
}

/// Ties the incarnation `me` of `own` to `target`, so that it hears of its end.
pub(super) fn monitor(own: &Arc<Slot>, me: Bound, target: &Arc<Slot>, id: TieId) -> Result<Tied, TooManyTies> {
    own.with_both_ties(target, |ours, theirs| {
        if !ours.has_room() {
            return Err(TooManyTies);
        }
        if let Some(error) = &theirs.closed {
            return Ok(Tied::AtOnce(error.as_ref().into()));
        }
        ours.book().insert(id, Some(me), End::Watches(Arc::clone(target)));
        let of = theirs.up.clone();
        theirs.book().insert(id, of, End::WatchedBy(Watcher::Actor(Arc::clone(own))));
        Ok(Tied::Holds)
    })
}

/// Links the incarnation `me` of `own` with `target`. A second link between the two is the first.
pub(super) fn link(own: &Arc<Slot>, me: Bound, target: &Arc<Slot>, id: TieId) -> Result<Tied, TooManyTies> {
    own.with_both_ties(target, |ours, theirs| {
        if ours.link_with(me.attempt, &target.path).is_some() {
            return Ok(Tied::Holds);
        }
        if !(ours.has_room() && theirs.has_room()) {
            return Err(TooManyTies);
        }
        if let Some(error) = &theirs.closed {
            return Ok(Tied::AtOnce(error.as_ref().into()));
        }
        ours.book().insert(id, Some(me), End::Linked(Arc::clone(target)));
        let of = theirs.up.clone();
        theirs.book().insert(id, of, End::Linked(Arc::clone(own)));
        Ok(Tied::Holds)
    })
}

/// Ties somebody who is no actor to `target`, and says to which attempt if one runs. `Err` returns why there is nothing to
/// tie to.
pub(super) fn monitor_from_outside(
    sender: oneshot::Sender<Down>,
    target: &Arc<Slot>,
    id: TieId,
) -> Result<Option<StartAttempt>, (oneshot::Sender<Down>, DownReason)> {
    target.with_ties(|theirs| {
        if let Some(error) = &theirs.closed {
            return Err((sender, error.as_ref().into()));
        }
        let of = theirs.up.clone();
        let attempt = of.as_ref().map(|of| of.attempt);
        theirs.book().insert(id, of, End::WatchedBy(Watcher::Outside(sender)));
        Ok(attempt)
    })
}

/// Ties one of another node to `target`. `Err` says why there is nothing to tie to.
pub(super) fn tie_far(
    target: &Arc<Slot>,
    id: TieId,
    node: &NodeName,
    tie: FarTie,
    end: Arc<dyn FarEnd>,
) -> Result<Option<Incarnation>, DownReason> {
    target.with_ties(|theirs| {
        if let Some(error) = &theirs.closed {
            return Err(error.as_ref().into());
        }
        let of = theirs.up.clone();
        let end = match tie {
            FarTie::Monitor => End::WatchedBy(Watcher::Far(end)),
            FarTie::Link { .. } if !theirs.has_room() => {
                return Err(DownReason::Exited(ExitReason::Error(TooManyTies.to_string())));
            }
            FarTie::Link { from, .. } => End::LinkedFar(Far { node: node.clone(), path: from, end: Some(end) }),
        };
        let incarnation = of.as_ref().map(|of| of.incarnation);
        theirs.book().insert(id, of, end);
        Ok(incarnation)
    })
}

/// The other end of a tie with another node's actor has ended.
pub(super) fn fire_far(slot: &Slot, id: TieId, incarnation: Option<Incarnation>, reason: DownReason) {
    let Some(Tie { of: Some(bound), end }) = slot.with_ties(|ties| ties.book.as_mut()?.remove(id)) else { return };
    match end {
        End::WatchesFar(far) => {
            let down = far::down(Some(MonitorRef(id)), &far.node, &far.path, incarnation, reason);
            tell_at_once(slot, bound.attempt, down);
        }
        End::LinkedFar(far) => exit_signal(slot, &bound, far::down(None, &far.node, &far.path, incarnation, reason)),
        End::Watches(_) | End::WatchedBy(_) | End::Linked(_) => {} // these are told by their other end
    }
}

impl Ended {
    /// Tells everyone at the other ends that `path` has ended, and why.
    pub(crate) fn tell(self, path: &ActorPath, reason: &DownReason) {
        for (id, Tie { of, end }) in self.0 {
            let incarnation = of.map(|of| of.incarnation);
            let down = |monitor| Down { monitor, node: None, path: path.clone(), incarnation, reason: reason.clone() };
            match end {
                End::Watches(target) => drop(target.with_ties(|ties| ties.remove(id))),
                End::WatchedBy(Watcher::Actor(watcher)) => fire_monitor(&watcher, id, down(Some(MonitorRef(id)))),
                End::WatchedBy(Watcher::Outside(sender)) => drop(sender.send(down(Some(MonitorRef(id))))),
                End::WatchedBy(Watcher::Far(end)) => end.ended(incarnation, reason),
                End::Linked(other) => fire_link(&other, id, down(None)),
                End::LinkedFar(far) => far.end.into_iter().for_each(|end| end.ended(incarnation, reason)),
                End::WatchesFar(far) => far.end.into_iter().for_each(|end| end.untied()),
            }
        }
    }
}

fn fire_monitor(watcher: &Slot, id: TieId, down: Down) {
    let tie = watcher.with_ties(|ties| {
        let book = ties.book.as_mut()?;
        let tie = book.remove(id)?;
        book.downs.extend(tie.of.as_ref().map(|of| (of.attempt, down))); // who watches is bound from the start
        Some(tie) // to be dropped after the lock, with the record it holds
    });
    if tie.is_some() {
        watcher.signal();
    }
}

/// Lets the exit of one end reach the other.
fn fire_link(other: &Slot, id: TieId, down: Down) {
    // The record it holds is dropped after the lock.
    let tie = other.with_ties(|ties| ties.book.as_mut()?.remove(id));
    // Where it waited for the next incarnation there is nobody to tell.
    if let Some(Tie { of: Some(bound), .. }) = &tie {
        exit_signal(other, bound, down);
    }
}

/// What `down` does to the incarnation `bound` of `slot`, which is linked to who ended.
pub(super) fn exit_signal(slot: &Slot, bound: &Bound, down: Down) {
    let reason: ExitReason = down.reason.as_exit(&down.path);
    let ends = reason.passes_links();
    let traps = slot.with_ties(|ties| {
        if let Some(book) = ties.book.as_mut().filter(|book| book.trapping == Some(bound.attempt)) {
            book.downs.push_back((bound.attempt, down));
            return true;
        }
        if ends {
            ties.fade(bound.attempt);
        }
        false
    });
    if traps {
        slot.signal();
    } else if ends && let Some(notice) = bound.notice.upgrade() {
        notice.end_with(reason);
    }
}

/// Tells the incarnation `attempt` of `slot` something that no tie of it will.
pub(super) fn tell_at_once(slot: &Slot, attempt: StartAttempt, down: Down) {
    slot.with_ties(|ties| ties.book().downs.push_back((attempt, down)));
    slot.signal();
}
