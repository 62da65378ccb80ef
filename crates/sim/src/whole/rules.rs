//! What must hold, whatever befalls the nodes: told what happens, it says what is broken. Pure.
//!
//! What is true is known here from the outside: which process runs where, and when an actor ended. What nodes and callers
//! believe is held against it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use covenant_cluster::{MemberState, MemberView};
use covenant_runtime::{DownReason, RuntimeEvent};
use covenant_types::{BootEpoch, CallError, WallTime};

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
type Actor = (usize, String);

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
    broken: Vec<String>,
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
    /// Since when nothing befalls the nodes, and all have seen all again.
    quiet: Option<Duration>,
    /// How often members were seen asleep, actors ended, and calls were answered or not.
    pub(super) seen_asleep: u64,
    pub(super) seen_exits: u64,
    pub(super) answered: u64,
    pub(super) unanswered: u64,
    pub(super) fired: u64,
}

impl Rules {
    /// What is broken so far.
    pub(super) fn broken(&self) -> &[String] {
        &self.broken
    }

    /// Notes that a rule is broken.
    pub(super) fn broke(&mut self, now: Duration, what: &str) {
        if self.broken.len() < BROKEN_MAX {
            self.broken.push(format!("{:.3} s: {what}", now.as_secs_f64()));
        }
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
    }

    /// The process of a node has ended.
    pub(super) fn gone(&mut self, now: Duration, node: usize) {
        self.ended.insert(node, now);
        self.restarts.remove(&node);
        self.calls.retain(|_, call| call.caller != node);
        self.monitors.retain(|_, monitor| monitor.watcher != node);
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
                self.exits.insert((node, path.to_string()), now);
                let restarts = self.restarts.entry(node).or_default();
                if path.as_str() == LAB {
                    *restarts = Restarts::default();
                } else if path.as_str().starts_with(LAB) && reason.is_counted() {
                    restarts.crashed.push(path.to_string());
                }
            }
            RuntimeEvent::Started { path, .. } => {
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
        let late = |call: &Call| now > call.due + CALL_GRACE;
        let late: Vec<String> = self
            .calls
            .values()
            .filter(|call| late(call))
            .map(|call| format!("{} of node {} did not end within its deadline", call.what, call.caller))
            .collect();
        self.calls.retain(|_, call| now <= call.due + CALL_GRACE);
        late.iter().for_each(|late| self.broke(now, late));
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

#[cfg(test)]
mod tests {
    use covenant_types::{ActorPath, ExitReason, Incarnation};

    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn exited(path: &str) -> RuntimeEvent {
        let reason = ExitReason::Killed;
        RuntimeEvent::Exited { path: path.parse().unwrap(), incarnation: Incarnation(1), reason }
    }

    fn started(path: &str) -> RuntimeEvent {
        RuntimeEvent::Started { path: path.parse::<ActorPath>().unwrap(), incarnation: Incarnation(2) }
    }

    fn check(tell: impl FnOnce(&mut Rules), broken: &str) {
        let mut rules = Rules::default();
        tell(&mut rules);
        let found = rules.broken().join("\n");
        assert!(if broken.is_empty() { found.is_empty() } else { found.contains(broken) }, "found: {found}");
    }

    #[test]
    fn an_epoch_that_goes_back_is_found() {
        check(|rules| (1..=2).for_each(|epoch| rules.booted(at(epoch), 0, BootEpoch(epoch))), "");
        check(|rules| [2, 2].into_iter().for_each(|epoch| rules.booted(at(1), 0, BootEpoch(epoch))), "never go back");
    }

    #[test]
    fn a_call_that_does_not_end_is_found_unless_its_caller_died() {
        let call = |rules: &mut Rules| rules.call_began(at(1), 7, 0, "echo".to_owned(), at(2), true);
        check(|rules| (call(rules), rules.check(at(5))).1, "did not end");
        check(|rules| (call(rules), rules.gone(at(2), 0), rules.check(at(5))).2, "");
        check(|rules| (call(rules), rules.call_ended(at(2), 7, Ok(None)), rules.check(at(5))).2, "");
    }

    #[test]
    fn a_monitor_that_fires_for_a_living_actor_is_found() {
        let watch = |rules: &mut Rules| rules.monitor_began(at(10), 1, 0, (1, "/lab/w0".to_owned()));
        let fire = |rules: &mut Rules, reason| rules.monitor_fired(at(12), 1, &reason);
        let exit = || DownReason::Exited(ExitReason::Killed);
        check(|rules| (watch(rules), fire(rules, exit())).1, "which lives");
        check(|rules| (watch(rules), rules.runtime(at(11), 1, &exited("/lab/w0")), fire(rules, exit())).2, "");
        check(|rules| (watch(rules), fire(rules, DownReason::NoConnection)).1, "");
        let quiet = |rules: &mut Rules| rules.quiet_begins(at(9));
        check(|rules| (quiet(rules), watch(rules), fire(rules, DownReason::NoConnection)).2, "which lives");
    }

    #[test]
    fn a_monitor_that_is_never_told_is_found_in_the_quiet() {
        let untold = |rules: &mut Rules| {
            rules.monitor_began(at(10), 1, 0, (1, "/lab/w0".to_owned()));
            rules.runtime(at(40), 1, &exited("/lab/w0"));
            rules.check(at(100));
            assert!(rules.broken().is_empty(), "in the storm news may be late");
            rules.quiet_begins(at(100));
            rules.check(at(121));
        };
        check(untold, "never told");
    }

    #[test]
    fn a_restart_above_the_intensity_is_found_and_an_escalation_forgives() {
        let crashes = |rules: &mut Rules, count: u64| {
            for number in 0..count {
                rules.runtime(at(number), 1, &exited("/lab/w0"));
                rules.runtime(at(number), 1, &started("/lab/w0"));
            }
        };
        check(|rules| crashes(rules, 5), "");
        check(|rules| crashes(rules, 6), "restarted 6 children");
        check(|rules| (crashes(rules, 5), rules.runtime(at(6), 1, &exited(LAB)), crashes(rules, 5)).2, "");
    }
}
