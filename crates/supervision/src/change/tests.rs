use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::{TreeFiles, TreeSource, TreeSourceError};

struct Texts(BTreeMap<String, String>);

impl TreeSource for Texts {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        self.0.get(name).cloned().ok_or(TreeSourceError::NotFound)
    }
}

/// `main`, and the files it names as `sub: TEXT` after lines of `===`.
fn load(text: &str) -> (TreeFiles, TreeSpec) {
    let mut texts = BTreeMap::new();
    for (at, part) in text.split("===\n").enumerate() {
        let (name, text) = match at {
            0 => ("main", part),
            _ => part.split_once(":\n").unwrap(),
        };
        texts.insert(name.to_owned(), text.to_owned());
    }
    TreeFiles::read("main", &Texts(texts)).unwrap()
}

/// What runs when a tree has booted.
fn booted(tree: &TreeSpec) -> Vec<RunningChild> {
    let child = |child: &ChildNode| match &child.work {
        Work::Behaviour { name, .. } => {
            RunningChild { id: child.spec.id.to_string(), behaviour: Some(name.clone()), children: Vec::new() }
        }
        Work::Tree(tree) => {
            let children = if is_dynamic(tree) { Vec::new() } else { booted(tree) };
            RunningChild { id: child.spec.id.to_string(), behaviour: None, children }
        }
    };
    tree.children.iter().map(child).collect()
}

fn plan(from: &str, to: &str) -> Result<ChangePlan, ChangeError> {
    let from = load(from);
    plan_from(&from, &booted(&from.1), to)
}

fn plan_from(from: &(TreeFiles, TreeSpec), running: &[RunningChild], to: &str) -> Result<ChangePlan, ChangeError> {
    let to = load(to);
    let tree = |(files, spec): &(TreeFiles, TreeSpec)| (files.hash(), spec.clone());
    let ((from_hash, from), (to_hash, to)) = (tree(from), tree(&to));
    plan_change("n", Tree { spec: &from, hash: &from_hash }, running, Tree { spec: &to, hash: &to_hash })
}

/// A plan in one line for each thing it does.
fn said(plan: &ChangePlan) -> Vec<String> {
    let supervisors = plan.supervisors.iter().map(|it| format!("specs {}: {}", it.path, it.rules.join("; ")));
    let child = |verb: &str, it: &ChildChange| format!("{verb} {}: {}", it.path, it.why.join("; "));
    supervisors
        .chain(plan.stops.iter().map(|it| child("stop", it)))
        .chain(plan.restarts.iter().map(|it| child("restart", it)))
        .chain(plan.starts.iter().map(|it| child("start", it)))
        .collect()
}

fn check(from: &str, to: &str, expected: &[&str]) {
    let plan = plan(from, to).unwrap();
    assert_eq!(said(&plan), expected);
    assert_eq!(plan.is_empty(), expected.is_empty());
}

fn child(id: &str, rest: &str) -> String {
    format!("[[child]]\nid = {id:?}\n{rest}\n")
}

fn worker(id: &str) -> String {
    child(id, "behaviour = \"x\"")
}

#[test]
fn the_same_tree_needs_nothing() {
    let tree = format!("{}{}===\nsub:\n{}", worker("a"), child("s", "tree = \"sub\""), worker("b"));
    check(&tree, &tree, &[]);
    assert_eq!(plan(&tree, &tree).unwrap().kept, 4, "the root, a, s and s/b");
    // A comment is another file and the same tree.
    check(&tree, &format!("# hello\n{tree}"), &[]);
}

#[test]
fn what_is_gone_stops_in_reverse_and_what_is_new_starts_in_order() {
    let before = format!("{}{}{}", worker("a"), worker("b"), worker("c"));
    let after = format!("{}{}{}", worker("d"), worker("b"), worker("e"));
    check(
        &before,
        &after,
        &[
            "specs /: ",
            "stop /c: the file has it no more",
            "stop /a: the file has it no more",
            "start /d: new",
            "start /e: new",
        ],
    );
    let plan = plan(&before, &after).unwrap();
    assert_eq!(plan.kept, 2, "the root and b");
    assert_eq!(plan.stop_bound, Some(Duration::from_secs(12)), "two of 5 s and 1 s of grace");
}

#[test]
fn stops_are_in_reverse_start_order_over_all_levels() {
    let tree = |root: String, below: String| format!("{root}===\nsub:\n{below}");
    let sub = child("s", "tree = \"sub\"");
    let before = tree(format!("{}{sub}{}", worker("a"), worker("b")), format!("{}{}", worker("x"), worker("y")));
    let plan = plan(&before, &tree(sub.clone(), worker("y"))).unwrap();
    let stops: Vec<&str> = plan.stops.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(stops, ["/b", "/s/x", "/a"]);
    let told: Vec<&str> = plan.supervisors.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(told, ["/", "/s"], "from the top down");
}

#[test]
fn what_a_child_runs_restarts_it_and_how_it_is_supervised_does_not() {
    let before = format!("{}{}", worker("a"), worker("b"));
    let with = |key: &str| format!("{}{}", worker("a"), child("b", &format!("behaviour = \"x\"\n{key}")));
    check(&before, &with("config = { k = 1 }"), &["restart /b: config changed"]);
    check(&before, &with("mailbox = { capacity = 7 }"), &["restart /b: mailbox 1024 wait -> 7 wait"]);
    check(
        &before,
        &before.replacen("id = \"b\"\nbehaviour = \"x\"", "id = \"b\"\nbehaviour = \"y\"", 1),
        &["restart /b: x -> y"],
    );
    for (key, rule) in [
        ("shutdown = \"1s\"", "shutdown 5s -> 1s"),
        ("shutdown = \"brutal_kill\"", "shutdown 5s -> brutal_kill"),
        ("restart = \"transient\"", "restart permanent -> transient"),
        ("backoff = { min = \"1s\", max = \"2s\" }", "backoff none -> 1s to 2s, jitter 0, reset after 2s"),
        ("budget = { intensity = 2, period = \"9s\" }", "budget none -> 2 in 9s"),
        ("kill_grace = \"3s\"", "kill_grace 1s -> 3s"),
        ("allow_overlap = true", "allow_overlap false -> true"),
    ] {
        check(&before, &with(key), &[&format!("specs /: b: {rule}")]);
    }
    check(
        &before,
        &format!("intensity = 9\nperiod = \"1m\"\nstrategy = \"one_for_all\"\n{before}"),
        &["specs /: strategy one_for_one -> one_for_all; intensity 1 -> 9; period 5s -> 1m"],
    );
}

#[test]
fn another_order_is_told_to_the_supervisor() {
    check(
        &format!("{}{}", worker("a"), worker("b")),
        &format!("{}{}", worker("b"), worker("a")),
        &["specs /: the start order"],
    );
}

#[test]
fn only_the_supervisor_that_changes_is_touched() {
    let tree = |below: &str| {
        let root = format!("{}{}", child("s", "tree = \"sub\""), child("t", "tree = \"other\""));
        format!("{root}===\nsub:\n{below}===\nother:\n{}", worker("z"))
    };
    let before = tree(&worker("b"));
    check(&before, &tree(&format!("{}{}", worker("b"), worker("c"))), &["specs /s: ", "start /s/c: new"]);
    // Another file of the same content is still another tree.
    let renamed = before.replace("tree = \"sub\"", "tree = \"bus\"").replace("===\nsub:", "===\nbus:");
    check(&before, &renamed, &["restart /s: tree sub -> bus"]);
}

#[test]
fn a_dynamic_supervisor_is_restarted_when_its_template_runs_something_else() {
    let tree = |top: &str, rest: &str| {
        let template = child("t", &format!("behaviour = \"x\"\n{rest}"));
        format!("{}===\npool:\n{top}\n{template}", child("p", "tree = \"pool\""))
    };
    let before = tree("strategy = \"dynamic\"", "");
    check(&before, &tree("strategy = \"dynamic\"", "shutdown = \"1s\""), &["specs /p: t: shutdown 5s -> 1s"]);
    check(
        &before,
        &tree("strategy = \"dynamic\"", "config = { k = 1 }"),
        &["restart /p: its template changed: config changed"],
    );
    check(&before, &tree("", ""), &["restart /p: it is no longer dynamic"]);
    let root = format!("strategy = \"dynamic\"\n{}", worker("t"));
    assert_eq!(plan(&worker("t"), &root), Err(ChangeError::RootKind));
}

#[test]
fn what_runs_counts_more_than_what_the_file_in_force_says() {
    let text = format!("{}{}", worker("a"), worker("b"));
    let from = load(&text);
    let mut running = booted(&from.1);
    running.remove(0);
    running.push(RunningChild { id: "guest".to_owned(), behaviour: Some("x".to_owned()), children: Vec::new() });
    let plan = plan_from(&from, &running, &text).unwrap();
    assert_eq!(said(&plan), ["specs /: ", "stop /guest: no file has it", "start /a: it is gone"]);
    assert_eq!(plan.stop_bound, None, "nobody knows how long the guest takes");
}

#[test]
fn a_temporary_child_that_ended_is_not_started_again() {
    let text = format!("{}{}", worker("a"), child("once", "behaviour = \"x\"\nrestart = \"temporary\""));
    let from = load(&text);
    let mut running = booted(&from.1);
    running.pop();
    assert_eq!(said(&plan_from(&from, &running, &text).unwrap()), [""; 0]);
}

#[test]
fn the_hash_covers_node_trees_and_structure() {
    let (from, other) = (load(&worker("a")), load(&worker("b")));
    let running = booted(&from.1);
    let hash = |node: &str, from: &(TreeFiles, TreeSpec), running: &[RunningChild], to: &(TreeFiles, TreeSpec)| {
        let (from_hash, to_hash) = (from.0.hash(), to.0.hash());
        let from = Tree { spec: &from.1, hash: &from_hash };
        plan_change(node, from, running, Tree { spec: &to.1, hash: &to_hash }).unwrap().hash
    };
    let first = hash("n", &from, &running, &other);
    assert_eq!(first, hash("n", &from, &running, &other));
    assert_ne!(first, hash("m", &from, &running, &other), "another node");
    assert_ne!(first, hash("n", &from, &running, &from), "another file");
    assert_ne!(first, hash("n", &from, &[], &other), "something stopped meanwhile");
    let commented = load(&format!("# x\n{}", worker("a")));
    assert_ne!(first, hash("n", &commented, &running, &other), "another file in force");
}

#[test]
fn instances_of_a_dynamic_supervisor_do_not_change_the_hash() {
    let text = format!("{}===\npool:\nstrategy = \"dynamic\"\n{}", child("p", "tree = \"pool\""), worker("t"));
    let from = load(&text);
    let none = booted(&from.1);
    let mut some = none.clone();
    let instance = RunningChild { id: "i1".to_owned(), behaviour: Some("x".to_owned()), children: Vec::new() };
    some[0].children.push(instance);
    let plans = [&none, &some].map(|running| plan_from(&from, running, &text).unwrap());
    assert_eq!(plans[0].hash, plans[1].hash);
    assert!(plans[1].is_empty());
    assert_eq!(plans[1].kept, 3);
}
