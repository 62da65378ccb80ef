//! Random children, random events, a world that takes its time: what is true all the same.
//!
//! Starts, stops and kills are answered late, in any order, or by another end than asked for. After each run the world
//! comes to rest, and then nobody may be left waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use covenant_types::{ExitReason, StartAttempt, StartAttempts, Uptime};
use proptest::prelude::{Just, ProptestConfig, any, proptest};
use proptest::strategy::Strategy as Generator;
use proptest::{collection, prop_oneof};

use super::script::id;
use crate::{
    AdminRequest, Backoff, ChildId, ChildKind, ChildSpec, ChildState, Effect, Event, ReportContext, Restart, Shutdown,
    Strategy, Supervisor, SupervisorSpec, Timer,
};

const IDS: [&str; 6] = ["c", "a", "e", "b", "f", "d"];
const PERIOD: Duration = Duration::from_secs(5);

/// What the driver knows of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Starting,
    Running,
    /// It was asked to stop, or killed.
    Ending,
    /// The core has reported that it does not end.
    GivenUp,
}

#[derive(Clone, Debug)]
enum Act {
    /// The start under way is answered: 0 ignored, 1 failed, else started.
    Answer(u8),
    /// A child ends, by itself or because it was told to.
    End(usize, ExitReason),
    Kill(usize),
    Terminate(usize),
    Restart(usize),
    Delete(usize),
    Add(usize, Traits),
    /// Time passes, up to the next timer or beyond some.
    Pass(u64),
    /// An event of the past comes once more.
    Echo(usize),
    ShutDown,
}

type Traits = (u8, u8, bool, bool);

fn spec(child: usize, (restart, shutdown, backoff, supervisor): Traits) -> ChildSpec {
    let kind = if supervisor { ChildKind::Supervisor } else { ChildKind::Worker };
    let mut spec = ChildSpec::new(id(IDS[child]), kind);
    spec.restart = [Restart::Permanent, Restart::Transient, Restart::Temporary][usize::from(restart % 3)];
    spec.shutdown = match shutdown % 3 {
        0 => Shutdown::BrutalKill,
        1 => Shutdown::Timeout(Duration::from_millis(700)),
        _ => Shutdown::Infinity,
    };
    let (min, max) = (Duration::from_millis(300), Duration::from_secs(2));
    spec.backoff = backoff.then_some(Backoff { min, max, jitter: 0.3, reset_after: max });
    spec
}

struct World {
    core: Supervisor,
    now: Uptime,
    strategy: Strategy,
    intensity: usize,
    lives: BTreeMap<ChildId, (StartAttempt, Life)>,
    newest: StartAttempt,
    timers: Vec<(Uptime, Timer)>,
    history: Vec<Event>,
    waiting_calls: BTreeSet<u64>,
    calls: u64,
    /// When each child was started, boots and operators' starts included.
    starts: BTreeMap<ChildId, Vec<Uptime>>,
    /// Starts that are not policy's, or come late: one for the boot, one for each operator's call, and one for each child
    /// that did not end.
    free_starts: BTreeMap<ChildId, usize>,
    /// Who may rest: stopped by an operator, or had nothing to run.
    may_rest: bool,
    booted: bool,
    stopping: bool,
    /// The place of the child that was told to stop last since the end began.
    last_stopped: Option<usize>,
    ended: bool,
}

impl World {
    fn new(strategy: Strategy, intensity: u32, traits: &[Traits]) -> Self {
        let children: Vec<ChildSpec> = traits.iter().enumerate().map(|(child, traits)| spec(child, *traits)).collect();
        let free_starts = children.iter().map(|child| (child.id.clone(), 1)).collect();
        let spec = SupervisorSpec { intensity, period: PERIOD, ..SupervisorSpec::new(strategy, children) };
        Self {
            core: Supervisor::new(spec, StartAttempts::default(), 7).unwrap(),
            now: Uptime::ZERO,
            strategy,
            intensity: usize::try_from(intensity).unwrap(),
            lives: BTreeMap::new(),
            newest: StartAttempt(0),
            timers: Vec::new(),
            history: Vec::new(),
            waiting_calls: BTreeSet::new(),
            calls: 0,
            starts: BTreeMap::new(),
            free_starts,
            may_rest: false,
            booted: false,
            stopping: false,
            last_stopped: None,
            ended: false,
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Answer(how) => self.answer_start(how),
            Act::End(child, reason) => {
                let child = id(IDS[child]);
                if let Some((attempt, life)) = self.lives.get(&child).copied()
                    && life != Life::Starting
                {
                    self.lives.remove(&child);
                    self.give(Event::ChildExited { child, attempt, reason });
                }
            }
            Act::Kill(child) => self.give(Event::KillRequested(id(IDS[child]))),
            Act::Terminate(child) => {
                self.may_rest = true;
                self.ask(AdminRequest::Terminate(id(IDS[child])));
            }
            Act::Restart(child) => {
                *self.free_starts.entry(id(IDS[child])).or_default() += 1;
                self.ask(AdminRequest::Restart(id(IDS[child])));
            }
            Act::Delete(child) => self.ask(AdminRequest::Delete(id(IDS[child]))),
            Act::Add(child, traits) => {
                *self.free_starts.entry(id(IDS[child])).or_default() += 1;
                self.ask(AdminRequest::Start(spec(child, traits)));
            }
            Act::Pass(millis) => self.pass(Duration::from_millis(millis)),
            Act::Echo(which) => self.echo(which),
            Act::ShutDown => {
                self.stopping = true;
                self.give(Event::ShutdownRequested);
            }
        }
    }

    fn answer_start(&mut self, how: u8) {
        let starting = self.lives.iter().find(|(_, (_, life))| *life == Life::Starting);
        let Some((child, attempt)) = starting.map(|(child, (attempt, _))| (child.clone(), *attempt)) else { return };
        match how {
            0 => {
                self.may_rest = true;
                self.lives.remove(&child);
                self.give(Event::ChildIgnored { child, attempt });
            }
            1 => {
                if !self.booted {
                    self.stopping = true; // a boot that fails stops what it started
                }
                self.may_rest |= self.calls > 0; // an operator's start that fails leaves the child stopped
                self.lives.remove(&child);
                self.give(Event::ChildStartFailed { child, attempt, reason: ExitReason::Error("no".into()) });
            }
            _ => {
                self.lives.insert(child.clone(), (attempt, Life::Running));
                self.give(Event::ChildStarted { child, attempt, info: None });
            }
        }
    }

    /// What was said once and is over means nothing when it is said again.
    fn echo(&mut self, which: usize) {
        let Some(event) = self.history.get(which % self.history.len().max(1)).cloned() else { return };
        let before = format!("{:?}", self.core.children().collect::<Vec<_>>());
        assert_eq!(self.core.handle(self.now, event.clone()), [], "{event:?} came again");
        assert_eq!(before, format!("{:?}", self.core.children().collect::<Vec<_>>()));
    }

    fn ask(&mut self, request: AdminRequest) {
        self.calls += 1;
        self.waiting_calls.insert(self.calls);
        self.give(Event::Admin { call: self.calls, request });
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now.after(span);
        while let Some(at) = (0..self.timers.len()).min_by_key(|at| self.timers[*at].0)
            && self.timers[at].0 <= end
        {
            let (due, timer) = self.timers.remove(at);
            self.now = self.now.max(due).after(Duration::from_micros(1));
            self.give(Event::TimerFired(timer));
        }
        self.now = self.now.max(end);
    }

    fn give(&mut self, event: Event) {
        let tells_an_end = |event: &Event| {
            matches!(event, Event::ChildExited { .. } | Event::ChildStartFailed { .. } | Event::ChildIgnored { .. })
        };
        let places: Vec<ChildId> = self.core.children().map(|child| child.id.clone()).collect();
        let effects = self.core.handle(self.now, event.clone());
        for effect in effects {
            self.check(effect, &places);
        }
        if tells_an_end(&event) {
            self.history.push(event);
        }
    }

    fn check(&mut self, effect: Effect, places: &[ChildId]) {
        assert!(!self.ended || matches!(effect, Effect::Answer { .. }), "{effect:?} after the end");
        match effect {
            Effect::Start { child, attempt } => {
                assert!(!self.lives.contains_key(&child), "{child} is started while it runs");
                assert!(attempt > self.newest, "an attempt's number came before");
                assert!(!self.stopping, "{child} is started on the way out");
                let busy = |life: &Life| matches!(life, Life::Starting | Life::Ending);
                assert!(
                    !self.lives.values().any(|(_, life)| busy(life)),
                    "{child} is started while others are awaited"
                );
                self.newest = attempt;
                self.lives.insert(child.clone(), (attempt, Life::Starting));
                self.note_start(child);
            }
            Effect::Stop { child, attempt } | Effect::Kill { child, attempt } => {
                let Some((runs, life)) = self.lives.get(&child).copied() else { panic!("nothing runs of {child}") };
                assert_eq!(runs, attempt, "another attempt of {child} runs");
                // By an operator's kill a child is not awaited to end, and no place in the order is taken.
                let by_core = self.core.child(&child).is_none_or(|view| view.state != ChildState::Running);
                if by_core && life != Life::Starting && life != Life::Ending {
                    self.note_stop(&child, places);
                }
                if by_core {
                    self.lives.insert(child, (attempt, Life::Ending));
                }
            }
            Effect::Drain { .. } | Effect::Discard { .. } => unreachable!("nobody asks for it here"),
            Effect::SetTimer { timer, after } => {
                assert!(self.timers.iter().all(|(_, set)| *set != timer), "{timer:?} is set already");
                assert!(after <= Duration::from_secs(2), "no pause is longer than its maximum");
                self.timers.push((self.now.after(after), timer));
            }
            Effect::CancelTimer(timer) => self.timers.retain(|(_, set)| *set != timer),
            Effect::Forget(child) | Effect::ChildEnded { child } => {
                assert!(!self.lives.contains_key(&child), "{child} has not ended");
            }
            Effect::Report(report) => match report.context {
                ReportContext::Unkillable => {
                    self.lives.get_mut(&report.offender).expect("it runs").1 = Life::GivenUp;
                    // A group's restart waits for it, however long, and is counted when it was spent, not when it starts.
                    for child in self.core.children() {
                        *self.free_starts.entry(child.id.clone()).or_default() += 1;
                    }
                }
                ReportContext::ReachedMaxIntensity => self.stopping = true,
                ReportContext::ChildTerminated | ReportContext::StartError | ReportContext::ShutdownError => {}
            },
            Effect::Started => self.booted = true,
            Effect::StartFailed { .. } | Effect::Exit { .. } => {
                let left = self.lives.iter().find(|(_, (_, life))| *life != Life::GivenUp);
                assert_eq!(left, None, "somebody was left behind");
                self.ended = true;
            }
            Effect::Answer { call, .. } => assert!(self.waiting_calls.remove(&call), "call {call} is answered twice"),
        }
    }

    /// A restart starts each child once at most: none starts more often within a period than the intensity forgives.
    fn note_start(&mut self, child: ChildId) {
        let free: usize = match self.strategy {
            Strategy::OneForOne | Strategy::Dynamic => self.free_starts.values().sum(),
            Strategy::OneForAll | Strategy::RestForOne => self.free_starts.get(&child).copied().unwrap_or(0),
        };
        let now = self.now;
        self.starts.entry(child.clone()).or_default().push(now);
        let counted: Vec<&Vec<Uptime>> = match self.strategy {
            Strategy::OneForOne | Strategy::Dynamic => self.starts.values().collect(),
            Strategy::OneForAll | Strategy::RestForOne => self.starts.get(&child).into_iter().collect(),
        };
        // A pause may come between the restart that is spent and its start.
        let starts = counted.into_iter().flatten().filter(|at| now.since(**at) <= PERIOD - Duration::from_secs(2));
        assert!(starts.count() <= self.intensity + free, "{child} is started more often than is forgiven");
    }

    /// From the beginning of the end children are told to stop from the last to the first.
    fn note_stop(&mut self, child: &ChildId, places: &[ChildId]) {
        let ending = self.lives.values().filter(|(_, life)| *life == Life::Ending).count();
        assert_eq!(ending, 0, "{child} is told to stop before the last one has ended");
        if self.stopping {
            let place = places.iter().position(|id| id == child).expect("it was a child");
            assert!(self.last_stopped.is_none_or(|last| place < last), "{child} is told to stop out of order");
            self.last_stopped = Some(place);
        }
    }

    /// Everybody does what was asked of them, until nothing more happens.
    fn come_to_rest(&mut self) {
        for _ in 0..1000 {
            self.answer_start(2);
            let ending = self.lives.iter().find(|(_, (_, life))| matches!(life, Life::Ending | Life::GivenUp));
            if let Some((child, attempt)) = ending.map(|(child, (attempt, _))| (child.clone(), *attempt)) {
                self.lives.remove(&child);
                self.give(Event::ChildExited { child, attempt, reason: ExitReason::Killed });
            } else if self.lives.values().all(|(_, life)| *life == Life::Running) {
                if self.timers.is_empty() {
                    return;
                }
                self.pass(Duration::from_secs(1));
            }
        }
        panic!("no rest: {:?}", self.core.children().collect::<Vec<_>>());
    }

    fn check_rest(&self) {
        assert!(self.waiting_calls.is_empty(), "calls {:?} were not answered", self.waiting_calls);
        assert!(self.ended || !self.stopping, "the end was not reached");
        if self.ended {
            return;
        }
        for child in self.core.children() {
            match child.state {
                ChildState::Running => assert!(self.lives.contains_key(child.id)),
                ChildState::Undefined => {
                    let rests = self.may_rest || child.restart != Restart::Permanent;
                    assert!(rests, "nobody starts {} again", child.id);
                }
                state @ (ChildState::Starting
                | ChildState::Restarting
                | ChildState::Stopping
                | ChildState::Unkillable) => panic!("{} is {state:?} for ever", child.id),
            }
        }
    }
}

fn reason() -> impl Generator<Value = ExitReason> {
    prop_oneof![
        3 => Just(ExitReason::Panicked("boom".into())),
        1 => Just(ExitReason::Normal),
        1 => Just(ExitReason::Shutdown),
        1 => Just(ExitReason::ShutdownWith("why".into())),
        1 => Just(ExitReason::Killed),
    ]
}

/// What children do, and the clock.
fn life() -> impl Generator<Value = Act> {
    let child = || 0..IDS.len();
    prop_oneof![
        // Mostly they start.
        8 => Just(Act::Answer(2)),
        1 => Just(Act::Answer(1)),
        6 => (child(), reason()).prop_map(|(child, reason)| Act::End(child, reason)),
        1 => child().prop_map(Act::Kill),
        4 => (0..3000u64).prop_map(Act::Pass),
        1 => any::<usize>().prop_map(Act::Echo),
    ]
}

/// What makes children rest: operators, and starts with nothing to run.
fn operators() -> impl Generator<Value = Act> {
    let child = || 0..IDS.len();
    prop_oneof![
        Just(Act::Answer(0)),
        child().prop_map(Act::Terminate),
        child().prop_map(Act::Restart),
        child().prop_map(Act::Delete),
        (child(), any::<Traits>()).prop_map(|(child, traits)| Act::Add(child, traits)),
    ]
}

fn strategy() -> impl Generator<Value = Strategy> {
    prop_oneof![Just(Strategy::OneForOne), Just(Strategy::OneForAll), Just(Strategy::RestForOne)]
}

fn play(strategy: Strategy, intensity: u32, traits: &[Traits], acts: Vec<Act>, shut_down: bool) {
    let mut world = World::new(strategy, intensity, traits);
    world.give(Event::StartRequested);
    for act in acts {
        world.act(act);
    }
    if shut_down {
        world.act(Act::ShutDown);
    }
    world.come_to_rest();
    world.check_rest();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_happens_the_invariants_hold(
        strategy in strategy(),
        intensity in 0..6u32,
        traits in collection::vec(any::<Traits>(), 0..IDS.len()),
        acts in collection::vec(prop_oneof![4 => life(), 1 => operators()], 0..80),
        shut_down in any::<bool>(),
    ) {
        play(strategy, intensity, &traits, acts, shut_down);
    }

    #[test]
    fn without_operators_every_permanent_child_comes_back_or_the_supervisor_ends(
        strategy in strategy(),
        intensity in 0..30u32,
        traits in collection::vec(any::<Traits>(), 1..IDS.len()),
        acts in collection::vec(life(), 0..80),
    ) {
        play(strategy, intensity, &traits, acts, false);
    }
}
