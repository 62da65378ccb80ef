//! Random cases. The same seed and number give the same case.

use std::collections::BTreeMap;
use std::time::Duration;

use covenant_supervision::simulation::{AdminCall, Happening, NewChild, ScriptedEvent};
use covenant_supervision::{
    AutoShutdown, ChildId, ChildKind, ChildNode, ChildSpec, Host, Mailbox, Restart, Shutdown, Strategy, SupervisorSpec,
    TreeSpec, Work,
};
use covenant_types::{ActorPath, ExitReason, Uptime};

use crate::case::{Case, child};
use crate::ours;

/// Supervisors within supervisors, the root counted.
const DEPTH_MAX: usize = 3;
const CHILDREN_MAX: usize = 4;
const EVENTS_MAX: usize = 14;

/// Lots: splitmix64.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        let mut dice = Self(seed);
        Self(dice.roll() ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(end).unwrap()).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Clone>(&mut self, among: &[T]) -> T {
        among[self.below(among.len())].clone()
    }
}

pub(crate) fn case(dice: &mut Dice) -> Case {
    let tree = tree(dice, 1);
    let mut befalls = Befalls { tree: &tree, added: BTreeMap::new(), events: Vec::new(), moment: 0 };
    for _ in 0..=dice.below(EVENTS_MAX) {
        befalls.something(dice);
    }
    let events = befalls.events;
    let mut case = Case { tree, events };
    // What comes long after the root has ended shows nothing.
    if let Some(ended) = ours::play(&case).iter().position(|line| line.contains("| exited ")) {
        let shown = case.steps().take(ended + 1).map(<[ScriptedEvent]>::len).sum();
        case.events.truncate(shown);
    }
    case
}

fn tree(dice: &mut Dice, depth: usize) -> TreeSpec {
    use Strategy::{Dynamic, OneForAll, OneForOne, RestForOne};
    let strategy = dice.pick(&[OneForOne, OneForOne, OneForAll, OneForAll, RestForOne, RestForOne, Dynamic]);
    let dynamic = strategy == Dynamic;
    let auto_shutdown = match dice.below(5) {
        0 if !dynamic => AutoShutdown::AnySignificant,
        1 if !dynamic => AutoShutdown::AllSignificant,
        _ => AutoShutdown::Never,
    };
    let count = if dynamic { 1 } else { 1 + dice.below(CHILDREN_MAX) };
    let children: Vec<ChildNode> = (0..count)
        .map(|at| {
            let work = if depth < DEPTH_MAX && dice.chance(35) {
                Work::Tree(tree(dice, depth + 1))
            } else {
                Work::Behaviour { name: "x".to_owned(), config: toml::Table::new(), file: String::new(), line: 0 }
            };
            let kind = if matches!(work, Work::Tree(_)) { ChildKind::Supervisor } else { ChildKind::Worker };
            let id = ChildId::new(if dynamic { "template" } else { ["a", "b", "c", "d"][at] }).unwrap();
            let mut spec = ChildSpec::new(id, kind);
            spec.restart = restart(dice);
            if kind == ChildKind::Worker {
                spec.shutdown =
                    dice.pick(&[Shutdown::Timeout(Duration::from_secs(5)), Shutdown::BrutalKill, Shutdown::Infinity]);
            }
            spec.significant =
                auto_shutdown != AutoShutdown::Never && spec.restart != Restart::Permanent && dice.chance(60);
            ChildNode { spec, mailbox: Mailbox::default(), host: Host::default(), work }
        })
        .collect();
    let specs = children.iter().map(|node| node.spec.clone()).collect();
    // A root that gives up early leaves little to see.
    let intensity = u32::try_from(dice.below(if depth == 1 { 10 } else { 5 })).unwrap();
    let period = Duration::from_secs(3600);
    let spec = SupervisorSpec { intensity, period, auto_shutdown, ..SupervisorSpec::new(strategy, specs) };
    TreeSpec { name: "root".to_owned(), spec, children, partitions: 1 }
}

fn restart(dice: &mut Dice) -> Restart {
    dice.pick(&[Restart::Permanent, Restart::Permanent, Restart::Transient, Restart::Temporary])
}

/// What befalls a tree. It knows the tree's spec and not its state: much of it comes when nobody is there.
struct Befalls<'t> {
    tree: &'t TreeSpec,
    /// Ids that were started by calls, by the path of their supervisor.
    added: BTreeMap<ActorPath, Vec<String>>,
    events: Vec<ScriptedEvent>,
    /// When the last of them happens: one step, one millisecond.
    moment: u64,
}

struct Target {
    path: ActorPath,
    kind: ChildKind,
    /// Whether its supervisor is dynamic.
    instance: bool,
    /// All children of that supervisor.
    siblings: Vec<(ActorPath, ChildKind)>,
}

impl Befalls<'_> {
    fn something(&mut self, dice: &mut Dice) {
        let Some(Target { path, kind, instance, mut siblings }) = self.target(dice) else { return };
        let what = match dice.below(100) {
            _ if path.is_root() => Happening::Exit(ExitReason::Killed),
            0..60 => Happening::Exit(reason(dice, kind)),
            60..72 => Happening::StartFails { times: 1 + dice.roll() % 3 },
            // OTP 25 keeps an instance whose restart is ignored, with no process, and stumbles over it later.
            72..77 if !instance => Happening::StartIgnored { times: 1 + dice.roll() % 2 },
            72..77 => Happening::Exit(ExitReason::Killed),
            77..87 => Happening::Call(AdminCall::TerminateChild),
            87..95 => Happening::Call(AdminCall::RestartChild),
            _ => Happening::Call(AdminCall::DeleteChild),
        };
        let mut exits = matches!(what, Happening::Exit(_));
        let prepares = matches!(what, Happening::StartFails { .. } | Happening::StartIgnored { .. });
        self.step(&path, what);
        // Who is to fail or to be ignored is started soon, most of the time.
        if prepares {
            match dice.below(10) {
                0..7 => {
                    self.step(&path, Happening::Exit(reason(dice, kind)));
                    exits = true;
                }
                7..9 => {
                    self.step(&path, Happening::Call(AdminCall::TerminateChild));
                    self.step(&path, Happening::Call(AdminCall::RestartChild));
                }
                _ => {}
            }
        }
        // Some do not end alone.
        siblings.retain(|(sibling, _)| *sibling != path);
        while exits && !siblings.is_empty() && dice.chance(40) {
            let (path, kind) = siblings.swap_remove(dice.below(siblings.len()));
            self.together(&path, Happening::Exit(reason(dice, kind)));
        }
        // A call that comes while they are dealt with. Instances have other names in OTP after a restart.
        if exits && !instance && !path.is_root() && dice.chance(30) {
            let path = siblings.pop().filter(|_| dice.chance(50)).map_or(path, |(sibling, _)| sibling);
            let call = match dice.below(10) {
                0..4 => AdminCall::TerminateChild,
                4..7 => AdminCall::RestartChild,
                7..9 => AdminCall::DeleteChild,
                _ => AdminCall::StartChild(None),
            };
            self.together(&path, Happening::Call(call));
        }
    }

    /// A step of its own.
    fn step(&mut self, path: &ActorPath, what: Happening) {
        self.moment += 1;
        self.together(path, what);
    }

    /// One more event of the step before.
    fn together(&mut self, path: &ActorPath, what: Happening) {
        self.events.push(ScriptedEvent { at: Uptime::from_millis(self.moment), path: path.clone(), what });
    }

    /// Who it befalls, found on a walk from the root. On the way a call may start somebody new.
    fn target(&mut self, dice: &mut Dice) -> Option<Target> {
        let (mut path, mut tree) = (ActorPath::root(), self.tree);
        if dice.chance(1) {
            return Some(Target { path, kind: ChildKind::Supervisor, instance: false, siblings: Vec::new() });
        }
        loop {
            let dynamic = tree.spec.strategy == Strategy::Dynamic;
            let added = self.added.entry(path.clone()).or_default();
            if dice.chance(if dynamic { 40 } else { 5 }) {
                // Always a new name below a dynamic supervisor: OTP's would start a second child.
                let id = if dynamic || dice.chance(70) { format!("n{}", added.len()) } else { "a".to_owned() };
                added.push(id.clone());
                let new = (!dynamic && dice.chance(70)).then(|| NewChild {
                    restart: restart(dice),
                    significant: dice.chance(20),
                    shutdown: None,
                });
                let path = path.child(&id).unwrap();
                match dice.below(10) {
                    0 if dynamic => self.step(&path, Happening::StartIgnored { times: 1 }),
                    0..2 => self.step(&path, Happening::StartFails { times: 1 }),
                    _ => {}
                }
                self.step(&path, Happening::Call(AdminCall::StartChild(new)));
                return None;
            }
            let specs = if dynamic { &[][..] } else { &tree.children[..] };
            let ids: Vec<String> = specs.iter().map(|node| node.spec.id.to_string()).chain(added.clone()).collect();
            if ids.is_empty() {
                return None;
            }
            let id = dice.pick(&ids);
            let place = |id: &String| (path.child(id).unwrap(), kind(tree, id));
            let ((there, kind), siblings) = (place(&id), ids.iter().map(place).collect());
            path = there;
            match child(tree, &id).map(|node| &node.work) {
                Some(Work::Tree(below)) if dice.chance(75) => tree = below,
                Some(Work::Tree(_) | Work::Behaviour { .. }) | None => {
                    return Some(Target { path, kind, instance: dynamic, siblings });
                }
            }
        }
    }
}

/// What runs at `id`; whatever was added by a call is a worker.
fn kind(tree: &TreeSpec, id: &str) -> ChildKind {
    child(tree, id).map_or(ChildKind::Worker, |node| node.spec.kind)
}

fn reason(dice: &mut Dice, kind: ChildKind) -> ExitReason {
    match kind {
        // Any other end of a supervisor is its own decision.
        ChildKind::Supervisor => ExitReason::Killed,
        ChildKind::Worker => dice.pick(&[
            ExitReason::Normal,
            ExitReason::Shutdown,
            ExitReason::ShutdownWith("x".to_owned()),
            ExitReason::Panicked(String::new()),
            ExitReason::Error("x".to_owned()),
            ExitReason::Killed,
        ]),
    }
}

/// A check that never comes to a rule does not show that the rule is kept.
#[test]
fn random_cases_come_to_every_answer_and_every_way_to_end() {
    let told: Vec<String> = (0..1000).flat_map(|number| ours::play(&case(&mut Dice::new(1, number)))).collect();
    let answers = ["ok", "not_found", "running", "already_started", "already_present", "start_failed", "bad_spec"];
    for answer in answers.iter().chain(&["dynamic", "noproc", "ignored", "done"]) {
        assert!(told.iter().any(|line| line.starts_with(&format!("{answer} |"))), "no {answer}");
    }
    for part in
        ["0 ignored, restarting |", "0 ignored, ok |", "| exited killed |", "| exited shutdown |", "=undefined:"]
    {
        assert!(told.iter().any(|line| line.contains(part)), "no {part}");
    }
}
