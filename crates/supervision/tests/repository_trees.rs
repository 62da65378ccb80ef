//! What the trees of this repository promise: what runs where, how long it takes to stop, and who gives up when.

use std::time::Duration;

use covenant_supervision::{
    ChildNode, Effect, Event, Restart, Supervisor, TreeFiles, TreeSource, TreeSourceError, TreeSpec, Work, lint_tree,
    load_tree,
};
use covenant_types::{ExitReason, StartAttempts, Uptime};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../supervisor-trees");
const ROLES: [&str; 3] = ["hub", "tower", "voter"];

/// How long a node has to stop when its configuration says nothing else.
const DRAIN_DEADLINE: Duration = Duration::from_secs(20);

struct Repository;

impl TreeSource for Repository {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        std::fs::read_to_string(format!("{FOLDER}/{name}.toml")).map_err(|_| TreeSourceError::NotFound)
    }
}

fn load(name: &str) -> TreeSpec {
    load_tree(name, &Repository).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn each_role_runs_what_it_needs_in_this_order() {
    let workers_of = |role: &str| {
        let mut found = Vec::new();
        workers(&load(role), "", &mut found);
        found
    };
    let (watcher, store) = ("/watch/watcher watch.watcher", "/content/store content.store");
    let (book, log, desk) = ("/ledger/book ledger.book", "/ledger/log ledger.log", "/ledger/desk ledger.desk");
    let (table, outbox) = ("/placement/table placement.table", "/ledger/outbox ledger.outbox");
    let (scheduler, warmer) = ("/sync/scheduler sync.scheduler", "/sync/warmer sync.warmer");
    assert_eq!(workers_of("hub"), [watcher, store, book, log, desk, scheduler, warmer, table]);
    assert_eq!(workers_of("tower"), [watcher, store, desk, outbox, scheduler, warmer]);
    assert_eq!(workers_of("voter"), [watcher, book, log, desk, table]);
}

#[test]
fn every_file_is_a_valid_tree_by_itself() {
    let mut read = 0;
    for file in std::fs::read_dir(FOLDER).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        load(file.strip_suffix(".toml").expect("the folder has nothing but tree files"));
        read += 1;
    }
    assert!(read >= ROLES.len(), "{read} files");
}

#[test]
fn each_role_stops_within_its_drain_deadline() {
    for role in ROLES {
        let bound = load(role).stop_bound();
        assert!(bound.is_some_and(|bound| bound <= DRAIN_DEADLINE), "{role}: {bound:?}");
    }
}

#[test]
fn the_linter_has_nothing_to_say_about_any_role() {
    for role in ROLES {
        let (files, _) = TreeFiles::read(role, &Repository).unwrap();
        assert_eq!(lint_tree(&files, DRAIN_DEADLINE).unwrap(), [], "{role}");
    }
}

#[test]
fn supervisors_are_permanent() {
    // One that gives up ends with `shutdown`, in order: were it transient or temporary, it would stay away.
    for role in ROLES {
        let stays_away =
            |child: &&ChildNode| matches!(child.work, Work::Tree(_)) && child.spec.restart != Restart::Permanent;
        assert_eq!(load(role).children.iter().find(stays_away), None, "{role}");
    }
}

#[test]
fn a_child_that_never_starts_again_ends_the_node_and_a_watcher_does_not() {
    for role in ROLES {
        let root = load(role);
        for child in &root.children {
            let Work::Tree(tree) = &child.work else { panic!("{role}: {} is not a tree", child.spec.id) };
            for at in 0..tree.children.len() {
                let what = format!("{role}: /{}/{}", child.spec.id, tree.children[at].spec.id);
                let lasts = gives_up_after(tree, at);
                if child.spec.id.as_str() == "watch" {
                    assert_eq!(lasts, None, "{what} gives up");
                } else {
                    let lasts = lasts.unwrap_or_else(|| panic!("{what} fails for ever"));
                    let ends = lasts * root.spec.intensity <= root.spec.period;
                    assert!(ends, "{what} gives up every {lasts:?}, which its parent forgives for ever");
                }
            }
        }
    }
}

/// The paths and behaviours of a tree, in start order.
fn workers(tree: &TreeSpec, path: &str, into: &mut Vec<String>) {
    for child in &tree.children {
        let path = format!("{path}/{}", child.spec.id);
        match &child.work {
            Work::Tree(below) => workers(below, &path, into),
            Work::Behaviour { name, .. } => into.push(format!("{path} {name}")),
        }
    }
}

/// How long a supervisor lasts whose child at `broken` ends right after its boot and fails to start ever after. `None` where
/// it is still there after an hour.
fn gives_up_after(tree: &TreeSpec, broken: usize) -> Option<Duration> {
    let broken = &tree.spec.children[broken].id;
    let mut core =
        Supervisor::new(tree.spec.clone(), StartAttempts::default(), 1).expect("a tree file's spec is valid");
    let mut now = Uptime::ZERO;
    let mut booted = false;
    let mut events = vec![Event::StartRequested];
    let mut timers = Vec::new();
    while now < Uptime(Duration::from_secs(3600)) {
        let Some(event) = events.pop() else {
            if !booted {
                booted = true;
                let attempt = core.child(broken).and_then(|child| child.attempt).expect("it was started");
                events.push(Event::ChildExited { child: broken.clone(), attempt, reason: ExitReason::Killed });
                continue;
            }
            let next = (0..timers.len()).min_by_key(|at| timers[*at]).expect("it waits for its next try");
            let (due, timer) = timers.remove(next);
            now = due;
            events.push(Event::TimerFired(timer));
            continue;
        };
        for effect in core.handle(now, event) {
            match effect {
                Effect::Start { child, attempt } if booted && child == *broken => {
                    let reason = ExitReason::Error("broken".to_owned());
                    events.push(Event::ChildStartFailed { child, attempt, reason });
                }
                Effect::Start { child, attempt } => events.push(Event::ChildStarted { child, attempt, info: None }),
                Effect::Stop { child, attempt } | Effect::Kill { child, attempt } => {
                    events.push(Event::ChildExited { child, attempt, reason: ExitReason::Shutdown });
                }
                Effect::SetTimer { timer, after } => timers.push((now.after(after), timer)),
                Effect::CancelTimer(timer) => timers.retain(|(_, set)| *set != timer),
                Effect::Exit { .. } => return Some(now.since(Uptime::ZERO)),
                Effect::Drain { .. }
                | Effect::Discard { .. }
                | Effect::Forget(_)
                | Effect::ChildEnded { .. }
                | Effect::Report(_)
                | Effect::Started
                | Effect::StartFailed { .. }
                | Effect::Answer { .. } => {}
            }
        }
    }
    None
}
