//! Good files, bad files and hostile files.

use std::collections::BTreeMap;

use proptest::prelude::{any, proptest};

use super::*;

struct Files(BTreeMap<&'static str, String>);

impl TreeSource for Files {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        self.0.get(name).cloned().ok_or(TreeSourceError::NotFound)
    }
}

fn load(files: &[(&'static str, &str)]) -> Result<TreeSpec, TreeError> {
    load_tree("root", &Files(files.iter().map(|(name, text)| (*name, (*text).to_owned())).collect()))
}

fn error(root: &str) -> String {
    load(&[("root", root)]).unwrap_err().to_string()
}

const CHILD: &str = "[[child]]\nid = \"a\"\nbehaviour = \"x.y\"\n";

#[test]
fn a_file_gets_otps_defaults() {
    let tree = load(&[("root", CHILD)]).unwrap();
    assert_eq!(
        (tree.spec.strategy, tree.spec.intensity, tree.spec.period),
        (Strategy::OneForOne, 1, Duration::from_secs(5))
    );
    let child = &tree.children[0];
    assert_eq!(child.spec, ChildSpec::new(ChildId::new("a").unwrap(), ChildKind::Worker));
    assert_eq!(child.mailbox, Mailbox { capacity: 1024, overflow: Overflow::Wait });
}

#[test]
fn every_key_is_read() {
    let text = "strategy = \"rest_for_one\"\nintensity = 7\nperiod = \"30s\"\nauto_shutdown = \"all_significant\"\n\
                [[child]]\nid = \"a\"\nbehaviour = \"x.y\"\n\
                restart = \"transient\"\nshutdown = \"brutal_kill\"\nkill_grace = \"2s\"\n\
                backoff = { min = \"1s\", max = \"8s\", jitter = 0.5 }\nmailbox = { capacity = 3, overflow = \"drop-oldest\" }\n\
                significant = true\nbudget = { intensity = 2, period = \"9s\" }\nhost = \"hosted\"\nallow_overlap = true\n\
                config = { deep = { n = 1 } }\n[[child]]\nid = \"b\"\ntree = \"below\"\n";
    let tree = load(&[("root", text), ("below", CHILD)]).unwrap();
    assert_eq!((tree.spec.strategy, tree.spec.intensity), (Strategy::RestForOne, 7));
    let child = &tree.children[0];
    assert_eq!((child.spec.restart, child.spec.shutdown), (Restart::Transient, Shutdown::BrutalKill));
    assert_eq!(child.spec.backoff.unwrap().max, Duration::from_secs(8));
    assert_eq!(child.spec.budget, Some(Budget { intensity: 2, period: Duration::from_secs(9) }));
    assert_eq!((child.spec.significant, child.spec.allow_overlap, child.host), (true, true, Host::Hosted));
    assert_eq!(tree.spec.auto_shutdown, AutoShutdown::AllSignificant);
    assert_eq!(child.mailbox, Mailbox { capacity: 3, overflow: Overflow::DropOldest });
    let Work::Behaviour { config, line, .. } = &child.work else { panic!("a behaviour") };
    assert_eq!((config["deep"]["n"].as_integer(), *line), (Some(1), 5));
    let below = &tree.children[1];
    assert_eq!((below.spec.kind, below.spec.shutdown), (ChildKind::Supervisor, Shutdown::Infinity));
}

/// A file with one child that has this line.
fn child(line: &str) -> String {
    format!("{CHILD}{line}\n")
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(error(text), format!("root.toml:{expected}"), "{text}");
}

#[test]
fn mistakes_are_named_with_their_place() {
    check("strategi = \"one_for_one\"\n", "1:1: unknown key \"strategi\": did you mean \"strategy\"?");
    check("strategy = \"one_for_al\"\n", "1:12: unknown strategy \"one_for_al\": did you mean \"one_for_all\"?");
    check(
        "strategy = \"sometimes\"\n",
        "1:12: unknown strategy \"sometimes\": use one of one_for_one, one_for_all, rest_for_one, dynamic",
    );
    check(
        "zzz = 1\n",
        "1:1: unknown key \"zzz\": use one of strategy, intensity, period, auto_shutdown, partitions, child",
    );
    check("intensity = -1\n", "1:13: intensity must be 0 to 4294967295");
    check("intensity = 4294967296\n", "1:13: intensity must be 0 to 4294967295");
    assert!(error("intensity = 99999999999999999999999\n").starts_with("root.toml:1:13: "));
    assert!(error("strategy = \n").starts_with("root.toml:1:"));
    check("period = \"0s\"\n", "1:10: period must be longer than zero");
    check("[[child]]\nbehaviour = \"x\"\n", "1:1: this child has no id");
    check("[[child]]\nid = \"a\"\n", "1:1: a has neither a behaviour nor a tree");
    check(
        "[[child]]\nid = \"A\"\nbehaviour = \"x\"\n",
        "2:6: \"A\" is not a child's id: use 1 to 64 of a-z, 0-9, '_' and '-'",
    );
    check("[[child]]\nid = \"a\"\ntree = \"gone\"\n", "3:8: gone.toml does not exist");
    check("[[child]]\nid = \"a\"\nbehavior = \"x\"\n", "3:1: unknown key \"behavior\": did you mean \"behaviour\"?");
    check(&child("tree = \"b\""), "4:1: a has a behaviour and a tree: give it one of them");
    check(
        &child("restart = \"allways\""),
        "4:11: unknown restart \"allways\": use one of permanent, transient, temporary",
    );
    check(&child("restart = \"permanant\""), "4:11: unknown restart \"permanant\": did you mean \"permanent\"?");
    check(&child("kill_grace = \"0s\""), "4:14: kill_grace must be longer than zero");
    check(&child("mailbox = { capacity = 0 }"), "4:24: capacity must be 1 to 1000000");
    check(&child("mailbox = { size = 1 }"), "4:13: unknown key \"size\": use one of capacity, overflow");
    check(
        &child("mailbox = { overflow = \"drop_newest\" }"),
        "4:24: unknown overflow \"drop_newest\": did you mean \"drop-newest\"?",
    );
    check(&child("backoff = { max = \"1s\" }"), "4:11: a backoff needs min");
    check(&child("backoff = { min = \"1s\" }"), "4:11: a backoff needs max");
    let contradicts = "4:11: a backoff needs 0 < min <= max and 0 <= jitter <= 1";
    check(&child("backoff = { min = \"2s\", max = \"1s\" }"), contradicts);
    check(&child("backoff = { min = \"0s\", max = \"1s\" }"), contradicts);
    check(&child("backoff = { min = \"1s\", max = \"1s\", jitter = 1.5 }"), contradicts);
    let plain = "4:46: jitter must be a plain number";
    check(&child("backoff = { min = \"1s\", max = \"1s\", jitter = nan }"), plain);
    check(&child("[child.mailbox]\ncapacty = 1"), "5:1: unknown key \"capacty\": did you mean \"capacity\"?");
}

#[test]
fn durations_are_refused_with_how_to_write_them() {
    let how = "write a whole number and a unit, as in \"500ms\", \"5s\", \"10m\", \"1h\" or \"30d\"";
    check("period = \"5 sec\"\n", &format!("1:10: \"5 sec\" is not a duration: {how}"));
    let shutdown = format!("4:12: \"soon\" is not a duration: {how}, or \"brutal_kill\" or \"infinity\"");
    check(&child("shutdown = \"soon\""), &shutdown);
    let negative = format!("4:14: \"-1s\" is not a duration: {how}");
    check(&child("kill_grace = \"-1s\""), &negative);
}

#[test]
fn a_value_of_another_kind_is_named_with_what_it_should_be() {
    check("strategy = 1\n", "1:12: strategy must be a text, not an integer");
    check("intensity = \"5\"\n", "1:13: intensity must be an integer, not a text");
    check("intensity = 1.5\n", "1:13: intensity must be an integer, not a number");
    check("period = 5\n", "1:10: period must be a text, not an integer");
    check("child = 5\n", "1:9: child must be a list of tables, [[child]], not an integer");
    check("child = [1]\n", "1:10: child must be a table, not an integer");
    check("[child]\nid = \"a\"\n", "1:1: child must be a list of tables, [[child]], not a table");
    check("[[child]]\nid = 2020-01-01\n", "2:6: id must be a text, not a date");
    check("[[child]]\nid = \"a\"\nbehaviour = true\n", "3:13: behaviour must be a text, not true or false");
    check("[[child]]\nid = \"a\"\ntree = [\"b\"]\n", "3:8: tree must be a text, not a list");
    check(&child("shutdown = 5"), "4:12: shutdown must be a text, not an integer");
    check(&child("backoff = \"1s\""), "4:11: backoff must be a table, not a text");
    check(
        &child("backoff = { min = \"1s\", max = \"1s\", jitter = \"0.5\" }"),
        "4:46: jitter must be a number, not a text",
    );
    check(&child("mailbox = 5"), "4:11: mailbox must be a table, not an integer");
    check(&child("config = 5"), "4:10: config must be a table");
}

#[test]
fn what_a_later_release_runs_is_refused_by_name_and_never_ignored() {
    check(&child("placement = { role = \"hub\" }"), "4:1: \"placement\" is not supported yet; remove it");
}

#[test]
fn keys_that_contradict_each_other_are_named_where_they_stand() {
    check(
        &child("significant = true\nrestart = \"transient\""),
        "4:15: a is significant, and auto_shutdown is never: set any_significant or all_significant",
    );
    check(
        &child("significant = true"),
        "4:15: a is permanent and never ends for good, so it cannot be significant: make it transient or temporary",
    );
    check(
        &format!("strategy = \"dynamic\"\nauto_shutdown = \"any_significant\"\n{CHILD}"),
        "2:17: a dynamic supervisor does not end with its children: auto_shutdown must be never",
    );
    check("strategy = \"dynamic\"\n", "1:12: a dynamic supervisor has one child, the template of its instances, not 0");
    check(
        &child("host = \"light\""),
        "4:8: host \"light\" is for the children of a dynamic supervisor: use \"hosted\"",
    );
    check(
        &child("budget = { intensity = 1, period = \"0s\" }"),
        "4:36: the period of a budget must be longer than zero",
    );
    check(&child("budget = { period = \"1s\" }"), "4:10: a budget needs intensity");
    check("partitions = 0\n", "1:14: partitions must be 1 to 1024");
}

#[test]
fn a_partitioned_tree_is_a_supervisor_of_equal_supervisors() {
    let text = format!("partitions = 3\nintensity = 7\nstrategy = \"one_for_all\"\n{CHILD}");
    let tree = load(&[("root", &text)]).unwrap();
    assert_eq!((tree.partitions, tree.spec.strategy, tree.spec.intensity), (3, Strategy::OneForOne, 7));
    let parts: Vec<&str> = tree.children.iter().map(|part| part.spec.id.as_str()).collect();
    assert_eq!(parts, ["0", "1", "2"]);
    for part in &tree.children {
        let Work::Tree(part) = &part.work else { panic!("a partition is a tree") };
        assert_eq!((part.spec.strategy, part.children.len()), (Strategy::OneForAll, 1));
    }
    let below = format!("partitions = 1000\n{CHILD}");
    let nested = "partitions = 1000\n[[child]]\nid = \"b\"\ntree = \"below\"\n";
    let error = load(&[("root", nested), ("below", &below)]).unwrap_err().to_string();
    assert_eq!(error, "root.toml:1:1: the tree has more than 10000 children");
}

#[test]
fn a_child_that_is_a_tree_takes_no_keys_of_a_behaviour() {
    let tree = |line: &str| format!("[[child]]\nid = \"a\"\ntree = \"below\"\n{line}\n");
    let error = |line: &str| load(&[("root", &tree(line)), ("below", CHILD)]).unwrap_err().to_string();
    let config = "root.toml:4:1: a child with a tree takes no config: the behaviours in that file do";
    assert_eq!(error("config = {}"), config);
    assert_eq!(error("mailbox = { capacity = 5 }"), "root.toml:4:1: a supervisor has no mailbox to configure");
}

#[test]
fn a_duplicate_id_is_named_where_it_comes_again() {
    check(&CHILD.repeat(2), "5:6: two children have the id a");
    check("[[child]]\nid = \"a\"\nid = \"b\"\n", "3:1: duplicate key");
}

#[test]
fn the_same_file_may_be_used_twice_and_the_same_id_in_two_files() {
    let twice = "[[child]]\nid = \"a\"\ntree = \"below\"\n[[child]]\nid = \"b\"\ntree = \"below\"\n";
    let tree = load(&[("root", twice), ("below", CHILD)]).unwrap();
    assert_eq!(tree.children[0].work, tree.children[1].work);
}

#[test]
fn files_in_a_circle_are_refused() {
    let to = |name: &str| format!("[[child]]\nid = \"a\"\ntree = \"{name}\"\n");
    let error = load(&[("root", &to("one")), ("one", &to("two")), ("two", &to("one"))]).unwrap_err();
    assert_eq!(error.to_string(), "two.toml:3:8: tree files name each other in a circle: root -> one -> two -> one");
    check(&to("root"), "3:8: tree files name each other in a circle: root -> root");
}

#[test]
fn a_mistake_is_told_with_the_file_it_stands_in() {
    let root = "[[child]]\nid = \"a\"\ntree = \"below\"\n";
    let error = load(&[("root", root), ("below", &child("restrat = \"permanent\""))]).unwrap_err();
    assert_eq!(error.to_string(), "below.toml:4:1: unknown key \"restrat\": did you mean \"restart\"?");
}

#[test]
fn a_file_that_is_missing_or_cannot_be_read_is_named() {
    struct Broken;
    impl TreeSource for Broken {
        fn read(&self, _: &str) -> Result<String, TreeSourceError> {
            Err(TreeSourceError::Unreadable("permission denied".to_owned()))
        }
    }
    assert_eq!(
        load_tree("root", &Broken).unwrap_err().to_string(),
        "root.toml: root.toml cannot be read: permission denied"
    );
    let none = Files(BTreeMap::new());
    assert_eq!(load_tree("root", &none).unwrap_err().to_string(), "root.toml: root.toml does not exist");
}

#[test]
fn a_name_never_leads_out_of_the_folder() {
    let how = "is not a tree file's name: use a-z, 0-9, '_' and '-', without .toml";
    for name in ["../up", "/etc/passwd", "a/b", "a.toml", "", ".", "A"] {
        check(&format!("[[child]]\nid = \"a\"\ntree = \"{name}\"\n"), &format!("3:8: {name:?} {how}"));
        assert!(load_tree(name, &Files(BTreeMap::new())).unwrap_err().to_string().ends_with(how));
    }
}

#[test]
fn a_behaviours_name_is_short_and_plain() {
    let how = "is not a behaviour's name: use 1 to 64 of a-z, 0-9, '.', '_' and '-'";
    let long = "x".repeat(65);
    for (name, shown) in [("", ""), ("a b", "a b"), ("a\\u001b", "a\u{1b}"), (&long, &format!("{}...", &long[1..]))] {
        let text = format!("[[child]]\nid = \"a\"\nbehaviour = \"{name}\"\n");
        check(&text, &format!("3:13: {shown:?} {how}"));
    }
}

#[test]
fn columns_are_counted_as_editors_count_them() {
    check(
        "# \u{e9}\r\nperiod = \"1s\" # \u{e9}\r\nintensity = \"\u{e9}\"\r\n",
        "3:13: intensity must be an integer, not a text",
    );
    check(
        "child = [ { \"\u{e9}\" = 1, idd = 2 } ]\n",
        "1:13: unknown key \"\u{e9}\": use one of id, behaviour, tree, restart, shutdown, significant, backoff, budget, mailbox, host, allow_overlap, kill_grace, config",
    );
    check("\u{feff}periode = \"1s\"\n", "1:1: unknown key \"periode\": did you mean \"period\"?");
}

#[test]
fn what_an_error_repeats_of_a_file_is_short() {
    let long = "x".repeat(100_000);
    let texts = [
        format!("{long} = 1\n"),
        format!("strategy = \"{long}\"\n"),
        format!("period = \"{long}\"\n"),
        format!("[[child]]\nid = \"{long}\"\nbehaviour = \"x\"\n"),
        format!("[[child]]\nid = \"a\"\nbehaviour = \"{long}\"\n"),
        format!("[[child]]\nid = \"a\"\ntree = \"{long}\"\n"),
        format!("{long}\n"),
    ];
    for text in texts {
        let error = error(&text);
        assert!(error.len() < 400, "{} bytes: {}", error.len(), &error[..400]);
    }
    // What the reader of TOML says is cut.
    let digits = error(&format!("intensity = {}\n", "9".repeat(100_000)));
    assert!(digits.starts_with("root.toml:1:13: ") && digits.len() < 2100, "{} bytes", digits.len());
}

#[test]
fn trees_that_are_too_large_are_refused() {
    struct Endless(fn(usize) -> String);
    impl TreeSource for Endless {
        fn read(&self, name: &str) -> Result<String, TreeSourceError> {
            Ok(self.0(name.strip_prefix('f').map_or(0, |at| at.parse().unwrap())))
        }
    }
    let load = |text| load_tree("f0", &Endless(text)).unwrap_err().to_string();
    fn next(id: &str, at: usize) -> String {
        format!("[[child]]\nid = \"{id}\"\ntree = \"f{}\"\n", at + 1)
    }
    assert_eq!(load(|at| next("a", at)), "f15.toml:3:8: tree files are nested deeper than 16");
    // Two of each in each: more in all than any file has.
    let doubling = load(|at| if at < 15 { next("a", at) + &next("b", at) } else { String::new() });
    assert!(doubling.ends_with("the tree has more than 10000 children"), "{doubling}");
    // Few children, long files.
    let long =
        |at: usize| if at > 2 { "#".repeat(1024 * 1024) } else { ["a", "b", "c"].map(|id| next(id, at)).concat() };
    let long = load(long);
    assert!(long.ends_with("the tree is more than 8388608 bytes long"), "{long}");
    let fat = load(|_| "#".repeat(1024 * 1024 + 1));
    assert_eq!(fat, "f0.toml: f0.toml is 1048577 bytes long, at most 1048576 are read");
}

#[test]
fn a_file_of_nothing_but_brackets_is_refused() {
    for text in ["[".repeat(200_000), format!("a = {}", "[".repeat(200_000)), format!("a = {}", "{a=".repeat(100_000))]
    {
        assert!(error(&text).starts_with("root.toml:1:"));
    }
}

#[test]
fn a_long_file_is_read_in_one_pass() {
    // Places are looked up, not counted from the beginning: 9000 children take about as long as their bytes.
    let child = |at: usize| format!("[[child]]\nid = \"c{at}\"\nbehaviour = \"x.y\"\n");
    let tree = load(&[("root", &(0..9000).map(child).collect::<String>())]).unwrap();
    let Work::Behaviour { line, .. } = tree.children[8999].work else { panic!("a behaviour") };
    assert_eq!(line, 8999 * 3 + 1);
}

#[test]
fn the_stop_bound_of_a_tree_is_that_of_all_its_workers() {
    let root = "[[child]]\nid = \"a\"\nbehaviour = \"x\"\n[[child]]\nid = \"b\"\ntree = \"below\"\n";
    let bound = |root: &str, below: &str| load(&[("root", root), ("below", below)]).unwrap().stop_bound();
    assert_eq!(bound(root, CHILD), Some(Duration::from_secs(6 + 6)));
    let capped = format!("{root}shutdown = \"2s\"\n");
    assert_eq!(bound(&capped, CHILD), Some(Duration::from_secs(6 + 3)));
    let endless = child("shutdown = \"infinity\"");
    assert_eq!(bound(root, &endless), None);
    assert_eq!(bound(&capped, &endless), Some(Duration::from_secs(6 + 3)));
    assert_eq!(
        bound(&root.replace("below\"", "below\"\nshutdown = \"brutal_kill\""), &endless),
        Some(Duration::from_secs(7))
    );
}

const SAMPLE: &str = "strategy = \"rest_for_one\"\nintensity = 7\nperiod = \"30s\"\n[[child]]\nid = \"a\"\nbehaviour = \"x.y\"\n\
    restart = \"transient\"\nshutdown = \"5s\"\nbackoff = { min = \"1s\", max = \"8s\", jitter = 0.5 }\n\
    mailbox = { capacity = 3, overflow = \"fail\" }\nconfig = { deep = [1, { n = 1 }] }\n";

proptest! {
    #[test]
    fn any_text_is_read_or_refused_with_a_place(text in any::<String>()) {
        if let Err(error) = load(&[("root", &text)]) {
            assert!(error.to_string().starts_with("root.toml:"), "{error}");
        }
    }

    #[test]
    fn a_good_file_with_a_part_replaced_is_read_or_refused_with_a_place(
        from in 0..SAMPLE.len(),
        length in 0..40usize,
        with in "[ -~\n]{0,6}",
    ) {
        let to = (from + length).min(SAMPLE.len());
        let text = format!("{}{with}{}", &SAMPLE[..from], &SAMPLE[to..]);
        match load(&[("root", &text)]) {
            Ok(tree) => tree.spec.validate().unwrap(),
            Err(error) => {
                let error = error.to_string();
                let mut parts = error.splitn(4, ':');
                assert_eq!(parts.next(), Some("root.toml"));
                let line: usize = parts.next().and_then(|line| line.parse().ok()).unwrap();
                let column: usize = parts.next().and_then(|column| column.parse().ok()).unwrap();
                let there = text.split('\n').nth(line - 1).expect("the line is there");
                assert!(column <= there.chars().count() + 1, "{error}");
            }
        }
    }
}
