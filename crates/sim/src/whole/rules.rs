//! What must hold, whatever befalls the nodes: told what happens, it says what is broken. Pure.
//!
//! What is true is known here from the outside: which process runs where, and when an actor ended. What nodes and callers
//! believe is held against it.

mod leases;
mod mail;
mod names;
mod shards;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use covenant_cluster::{HeldShard, MemberState, MemberView};
use covenant_runtime::{DownReason, RuntimeEvent};
use covenant_types::{BootEpoch, CallError, ExitReason, NodeId, WallTime};

use self::leases::Leases;
pub(super) use self::leases::{Act, Holding};
pub(super) use self::mail::LetterId;
use self::mail::Mail;
use self::names::Names;
pub(super) use self::names::{Has, Sees};
use self::shards::Shards;
use super::identity::region;
use super::worker::{INTENSITY, LAB, PERIOD};

/// How late a call may end: the clock of deadlines is coarse.
const CALL_GRACE: Duration = Duration::from_secs(1);
/// How long the end of an actor may travel to whoever watches it, in the quiet.
const NEWS_MAX: Duration = Duration::from_secs(20);
/// How long after its start a node may not know its own actors.
const BOOT_MAX: Duration = Duration::from_secs(5);
/// How many broken rules are kept.
const BROKEN_MAX: usize = 20;

/// An actor of a node.
pub(super) type Actor = (usize, String);

/// What is broken so far.
#[derive(Debug, Default)]
struct Broken(Vec<String>);

impl Broken {
    /// Notes that a rule is broken.
    fn note(&mut self, now: Duration, what: &str) {
        if self.0.len() < BROKEN_MAX {
            self.0.push(format!("{:.3} s: {what}", now.as_secs_f64()));
        }
    }

    fn all(&self) -> &[String] {
        &self.0
    }
}

/// What a node is asked to tell: when an actor has ended.
#[derive(Clone, Debug)]
struct Monitor {
    watcher: usize,
    of: Actor,
    at: Duration,
}

#[derive(Clone, Debug)]
struct Call {
    caller: usize,
    what: String,
    at: Duration,
    due: Duration,
    /// Whether it asks for something that nothing stands in the way of.
    plain: bool,
}

/// The restarts below one supervisor.
#[derive(Clone, Debug, Default)]
struct Restarts {
    /// Children that crashed and were not started again yet.
    crashed: Vec<String>,
    at: VecDeque<Duration>,
}

/// The rules, and what is known of the nodes.
#[derive(Debug, Default)]
pub(super) struct Rules {
    broken: Broken,
    names: Names,
    shards: Shards,
    leases: Leases,
    mail: Mail,
    /// Each node's present epoch, also after its end.
    epochs: BTreeMap<usize, BootEpoch>,
    /// When each node's last process began and ended.
    began: BTreeMap<usize, Duration>,
    ended: BTreeMap<usize, Duration>,
    /// The last epoch of the second that the first believed in, in its present life.
    believed: BTreeMap<(usize, usize), BootEpoch>,
    exits: BTreeMap<Actor, Duration>,
    restarts: BTreeMap<usize, Restarts>,
    calls: BTreeMap<u64, Call>,
    monitors: BTreeMap<u64, Monitor>,
    /// Those whose machine is suspended.
    suspended: BTreeSet<usize>,
    /// Since when nothing befalls the nodes, and all have seen all again.
    quiet: Option<Duration>,
    /// How often members were seen asleep, actors ended, and calls were answered or not.
    pub(super) seen_asleep: u64,
    pub(super) seen_exits: u64,
    pub(super) answered: u64,
    pub(super) unanswered: u64,
    pub(super) fired: u64,
    /// How often machines were seen suspended.
    pub(super) seen_suspended: u64,
}

impl Rules {
    /// What is broken so far.
    pub(super) fn broken(&self) -> &[String] {
        self.broken.all()
    }

    /// Notes that a rule is broken.
    pub(super) fn broke(&mut self, now: Duration, what: &str) {
        self.broken.note(now, what);
    }

    /// Nothing befalls the nodes from now on, and all have seen all again.
    pub(super) fn quiet_begins(&mut self, now: Duration) {
        self.quiet = Some(now);
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.quiet.is_some()
    }

    /// The present epoch of a node.
    pub(super) fn epoch(&self, node: usize) -> Option<BootEpoch> {
        self.epochs.get(&node).copied()
    }

    /// A process of a node begins. Each has a higher epoch than all before.
    pub(super) fn booted(&mut self, now: Duration, node: usize, epoch: BootEpoch) {
        let last = self.epochs.insert(node, epoch);
        if last.is_some_and(|last| last >= epoch) {
            self.broke(now, &format!("node {node} began with epoch {epoch} after {last:?}: epochs never go back"));
        }
        self.began.insert(node, now);
        self.believed.retain(|(viewer, _), _| *viewer != node);
    }

    /// A node begins to stop in order: its actors end, and what it asked of others still has to.
    pub(super) fn stopping(&mut self, now: Duration, node: usize) {
        self.ended.insert(node, now);
        self.names.stopping(node);
        self.shards.gone(node);
    }

    /// The process of a node has ended.
    pub(super) fn gone(&mut self, now: Duration, node: usize) {
        self.ended.insert(node, now);
        self.restarts.remove(&node);
        self.suspended.remove(&node);
        self.calls.retain(|_, call| call.caller != node);
        self.monitors.retain(|_, monitor| monitor.watcher != node);
        self.names.gone(node);
        self.shards.gone(node);
        self.leases.gone(node);
    }

    /// For how long nothing has befallen the nodes.
    pub(super) fn quiet_for(&self, now: Duration) -> Option<Duration> {
        self.quiet.map(|quiet| now.saturating_sub(quiet))
    }

    /// An actor took a name, as it was told.
    pub(super) fn took(&mut self, of: &Actor, name: &str) {
        self.names.took(of, name);
    }

    /// An actor gave a name up.
    pub(super) fn gave_up(&mut self, now: Duration, of: Actor) {
        self.names.stirred(now, of);
    }

    /// What the actors of a node have, and what it holds of others. To be told of all nodes before [`Rules::sees`].
    pub(super) fn has(&mut self, now: Duration, node: usize, has: &Has, (me, shards): (NodeId, &[HeldShard])) {
        self.names.has(now, node, has);
        self.shards.holds(now, node, me, shards, &mut self.broken);
    }

    /// What a node sees of names and groups.
    pub(super) fn sees(&mut self, now: Duration, viewer: usize, sees: &Sees) {
        self.names.sees(now, self.quiet, viewer, sees, &mut self.broken);
    }

    /// The machine of a node is suspended: nothing there runs, and nothing of it can be looked at.
    pub(super) fn suspended(&mut self, node: usize) {
        self.suspended.insert(node);
        self.names.stopping(node);
        self.shards.gone(node);
        self.leases.out_of_sight(node);
    }

    /// The machine of a node was suspended for so long, and goes on. Its calls have that much longer.
    pub(super) fn woke(&mut self, now: Duration, node: usize, span: Duration) {
        self.suspended.remove(&node);
        self.calls.values_mut().filter(|call| call.caller == node).for_each(|call| call.due += span);
        self.leases.woke(now, node);
    }

    /// The source granted a lease.
    pub(super) fn granted(&mut self, now: Duration, key: &str, token: u64, to: usize) {
        self.leases.granted(now, key, token, to, &mut self.broken);
    }

    /// Whether anything of a node arrives at the source of leases.
    pub(super) fn cut_off(&mut self, now: Duration, node: usize, is_cut: bool) {
        self.leases.cut_off(now, node, is_cut);
    }

    /// An actor has let in what was done under a lease.
    pub(super) fn acted(&mut self, now: Duration, at: Actor, act: &Act) {
        self.leases.acted(now, at, act, &mut self.broken);
    }

    /// What was done under a lease was refused for a later one.
    pub(super) fn act_refused(&mut self) {
        self.leases.refused();
    }

    /// The leases that a node has.
    pub(super) fn holds(&mut self, now: Duration, node: usize, holdings: Vec<Holding>) {
        self.leases.holds(now, node, holdings, &mut self.broken);
    }

    /// A holder knows that a lease is over, or lets go of it.
    pub(super) fn lease_over(&mut self, id: u64) {
        self.leases.over(id);
    }

    /// From now on what is posted to a sleeper arrives.
    pub(super) fn promise_mail(&mut self) {
        self.mail.promise();
    }

    /// All who slept are awake.
    pub(super) fn all_awake(&mut self, now: Duration) {
        self.mail.awake(now);
    }

    /// A letter is posted to a sleeper.
    pub(super) fn posted(&mut self, id: LetterId, to: Actor) {
        self.mail.posted(id, to);
    }

    /// What came of posting a letter. `sure` says that its receiver slept all the while.
    pub(super) fn kept(&mut self, id: LetterId, is_kept: bool, sure: bool) {
        self.mail.kept(id, is_kept, sure);
    }

    /// A letter has arrived.
    pub(super) fn letter_arrived(&mut self, now: Duration, at: &Actor, id: LetterId) {
        self.mail.arrived(now, at, id, &mut self.broken);
    }

    /// How many letters arrived, and how many were promised to.
    pub(super) fn letters(&self) -> (u64, u64) {
        (self.mail.arrived, self.mail.promised)
    }

    /// How many acts under leases were let in, and how many refused.
    pub(super) fn acts(&self) -> (u64, u64) {
        (self.leases.acted, self.leases.refused)
    }

    /// How often an actor was told that another one has its name.
    pub(super) fn conflicts(&self) -> u64 {
        self.names.conflicts
    }

    /// What a node believes of all members.
    pub(super) fn views(&mut self, now: Duration, date: WallTime, viewer: usize, views: &[(usize, MemberView)]) {
        for (place, (subject, view)) in views.iter().enumerate() {
            let others = &views[..place];
            let twice = others.iter().any(|(_, other)| {
                (other.id == view.id || other.name == view.name)
                    && other.state == MemberState::Reachable
                    && view.state == MemberState::Reachable
            });
            if twice {
                self.broke(now, &format!("node {viewer} holds two identities of {} for reachable", view.name));
            }
            let truth = self.epochs.get(subject).copied();
            if truth.is_none_or(|truth| view.epoch > truth) {
                let epoch = view.epoch;
                self.broke(now, &format!("node {viewer} believes in epoch {epoch} of node {subject}, it is {truth:?}"));
            }
            let last = self.believed.insert((viewer, *subject), view.epoch);
            if last.is_some_and(|last| last > view.epoch) {
                let epoch = view.epoch;
                self.broke(now, &format!("node {viewer} went back from epoch {last:?} of node {subject} to {epoch}"));
            }
            if view.phase.is_asleep() {
                self.seen_asleep += 1;
                if view.state == MemberState::Down && view.phase.excuses_silence(date) {
                    self.broke(now, &format!("node {viewer} takes node {subject} for down, which sleeps"));
                }
            }
            if self.quiet.is_some() && viewer != *subject && view.state != MemberState::Reachable {
                let state = view.state;
                self.broke(now, &format!("in the quiet node {viewer} holds node {subject} for {state}"));
            }
        }
    }

    /// Something happened to an actor of a node.
    pub(super) fn runtime(&mut self, now: Duration, node: usize, event: &RuntimeEvent) {
        match event {
            RuntimeEvent::Exited { path, reason, .. } => {
                self.seen_exits += 1;
                let of = (node, path.to_string());
                self.exits.insert(of.clone(), now);
                if let ExitReason::NameConflict(winner) = reason {
                    self.names.conflict(now, &of, winner, &mut self.broken);
                }
                self.names.stirred(now, of);
                let restarts = self.restarts.entry(node).or_default();
                if path.as_str() == LAB {
                    *restarts = Restarts::default();
                } else if path.as_str().starts_with(LAB) && reason.is_counted() {
                    restarts.crashed.push(path.to_string());
                }
            }
            RuntimeEvent::Started { path, .. } => {
                self.names.stirred(now, (node, path.to_string()));
                let restarts = self.restarts.entry(node).or_default();
                let Some(place) = restarts.crashed.iter().position(|crashed| crashed == path.as_str()) else { return };
                restarts.crashed.remove(place);
                restarts.at.push_back(now);
                while restarts.at.front().is_some_and(|at| now.saturating_sub(*at) > PERIOD) {
                    restarts.at.pop_front();
                }
                let count = restarts.at.len();
                if count > INTENSITY {
                    self.broke(now, &format!("{LAB} of node {node} restarted {count} children within {PERIOD:?}"));
                }
            }
            RuntimeEvent::Escalated { path, .. } if path.as_str() == LAB => {
                self.restarts.remove(&node);
            }
            RuntimeEvent::Unkillable { path, .. } => {
                self.broke(now, &format!("{path} of node {node} cannot be killed"))
            }
            RuntimeEvent::StartFailed { .. } | RuntimeEvent::Escalated { .. } => {}
        }
    }

    /// A call begins and must end within its deadline. `plain` is one that nothing but the weather can keep from an answer.
    pub(super) fn call_began(
        &mut self,
        now: Duration,
        id: u64,
        caller: usize,
        what: String,
        within: Duration,
        plain: bool,
    ) {
        self.calls.insert(id, Call { caller, what, at: now, due: now + within, plain });
    }

    /// A call has ended: in its answer, which says what was wrong with what came before, or in an error.
    pub(super) fn call_ended(&mut self, now: Duration, id: u64, result: Result<Option<&str>, &CallError>) {
        let Some(call) = self.calls.remove(&id) else {
            return self.broke(now, &format!("call {id} ended twice"));
        };
        match result {
            Ok(None) => self.answered += 1,
            Ok(Some(complaint)) => self.broke(now, &format!("{}: {complaint}", call.what)),
            Err(error) => {
                self.unanswered += 1;
                if call.plain && self.quiet.is_some_and(|quiet| call.at >= quiet) {
                    self.broke(now, &format!("in the quiet {} ended in: {error}", call.what));
                }
            }
        }
    }

    /// A call that nobody waits for any more.
    pub(super) fn call_dropped(&mut self, id: u64) {
        self.calls.remove(&id);
    }

    /// A node begins to watch an actor of another one.
    pub(super) fn monitor_began(&mut self, now: Duration, id: u64, watcher: usize, of: Actor) {
        self.monitors.insert(id, Monitor { watcher, of, at: now });
    }

    /// A monitor that owes nothing: it was refused, or dropped.
    pub(super) fn monitor_refused(&mut self, id: u64) {
        self.monitors.remove(&id);
    }

    /// A monitor has fired.
    pub(super) fn monitor_fired(&mut self, now: Duration, id: u64, reason: &DownReason) {
        let Some(monitor) = self.monitors.remove(&id) else {
            return self.broke(now, &format!("monitor {id} fired twice"));
        };
        self.fired += 1;
        let Monitor { watcher, of, at } = monitor;
        let ended = self.last_end(&of).is_some_and(|end| end >= at);
        let true_end = match reason {
            DownReason::Exited(_) => ended,
            DownReason::NoProc => ended || self.began.get(&of.0).is_none_or(|began| *began + BOOT_MAX >= at),
            DownReason::NoConnection => self.quiet.is_none_or(|quiet| at < quiet),
        };
        if !true_end {
            let (node, path) = of;
            self.broke(
                now,
                &format!("a monitor of node {watcher} fired for {path} of node {node}, which lives: {reason}"),
            );
        }
    }

    /// When an actor last ended: by itself, with its supervisor, or with its node.
    fn last_end(&self, of: &Actor) -> Option<Duration> {
        let with_its_supervisor = self.exits.get(&(of.0, LAB.to_owned()));
        self.exits.get(of).max(with_its_supervisor).max(self.ended.get(&of.0)).copied()
    }

    /// What must hold at any moment.
    pub(super) fn check(&mut self, now: Duration) {
        self.seen_suspended += self.suspended.len() as u64;
        let suspended = &self.suspended;
        let late = |call: &Call| now > call.due + CALL_GRACE && !suspended.contains(&call.caller);
        let told: Vec<String> = self
            .calls
            .values()
            .filter(|call| late(call))
            .map(|call| format!("{} of node {} did not end within its deadline", call.what, call.caller))
            .collect();
        self.calls.retain(|_, call| !late(call));
        told.iter().for_each(|late| self.broke(now, late));
        self.leases.check(now, &mut self.broken);
        self.mail.check(now, &mut self.broken);
        self.names.check(now, self.quiet, &mut self.broken);
        self.shards.check(now, self.quiet, region, &mut self.broken);
        let Some(quiet) = self.quiet else { return };
        let untold = |monitor: &Monitor| {
            let end = self.last_end(&monitor.of);
            // A watch that was on its way when the actor ended is of the next incarnation.
            end.is_some_and(|end| end > monitor.at + NEWS_MAX && now > end.max(quiet) + NEWS_MAX)
        };
        let untold: Vec<String> = self
            .monitors
            .values()
            .filter(|monitor| untold(monitor))
            .map(|Monitor { watcher, of: (node, path), .. }| {
                format!("a monitor of node {watcher} never told of the end of {path} of node {node}")
            })
            .collect();
        untold.iter().for_each(|untold| self.broke(now, untold));
    }
}
