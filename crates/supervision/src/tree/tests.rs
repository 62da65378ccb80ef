use std::collections::BTreeMap;

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
    let text = "strategy = \"rest_for_one\"\nintensity = 7\nperiod = \"30s\"\n[[child]]\nid = \"a\"\nbehaviour = \"x.y\"\n\
                restart = \"transient\"\nshutdown = \"brutal_kill\"\nkill_grace = \"2s\"\n\
                backoff = { min = \"1s\", max = \"8s\", jitter = 0.5 }\nmailbox = { capacity = 3, overflow = \"drop-oldest\" }\n\
                config = { deep = { n = 1 } }\n[[child]]\nid = \"b\"\ntree = \"below\"\n";
    let tree = load(&[("root", text), ("below", CHILD)]).unwrap();
    assert_eq!((tree.spec.strategy, tree.spec.intensity), (Strategy::RestForOne, 7));
    let child = &tree.children[0];
    assert_eq!((child.spec.restart, child.spec.shutdown), (Restart::Transient, Shutdown::BrutalKill));
    assert_eq!(child.spec.backoff.unwrap().max, Duration::from_secs(8));
    assert_eq!(child.mailbox, Mailbox { capacity: 3, overflow: Overflow::DropOldest });
    let Work::Behaviour { config, line, .. } = &child.work else { panic!("a behaviour") };
    assert_eq!((config["deep"]["n"].as_integer(), *line), (Some(1), 4));
    let below = &tree.children[1];
    assert_eq!((below.spec.kind, below.spec.shutdown), (ChildKind::Supervisor, Shutdown::Infinity));
}

#[test]
fn mistakes_are_named_with_their_place() {
    let cases = [
        ("strategi = \"one_for_one\"\n", "root.toml:1:1: unknown key \"strategi\": did you mean \"strategy\"?"),
        (
            "strategy = \"one_for_al\"\n",
            "root.toml:1:12: unknown strategy \"one_for_al\": did you mean \"one_for_all\"?",
        ),
        ("intensity = -1\n", "root.toml:1:13: intensity must be 0 to 4294967295"),
        ("intensity = \"5\"\n", "root.toml:1:13: intensity must be an integer, not a text"),
        ("period = \"0s\"\n", "root.toml:1:10: period must be longer than zero"),
        ("strategy = \"dynamic\"\n", "root.toml:1:12: strategy \"dynamic\" is not supported yet; remove it"),
        ("partitions = 4\n", "root.toml:1:1: \"partitions\" is not supported yet; remove it"),
        ("[[child]]\nbehaviour = \"x\"\n", "root.toml:1:1: this child has no id"),
        ("[[child]]\nid = \"a\"\n", "root.toml:1:1: a has neither a behaviour nor a tree"),
        (
            "[[child]]\nid = \"A\"\nbehaviour = \"x\"\n",
            "root.toml:2:6: \"A\" is not a child's id: use 1 to 64 of a-z, 0-9, '_' and '-'",
        ),
        ("[[child]]\nid = \"a\"\ntree = \"gone\"\n", "root.toml:3:8: gone.toml does not exist"),
        (
            "[[child]]\nid = \"a\"\nbehavior = \"x\"\n",
            "root.toml:3:1: unknown key \"behavior\": did you mean \"behaviour\"?",
        ),
        (
            "[[child]]\nid = \"a\"\nbehaviour = \"x\"\nmailbox = { capacity = 0 }\n",
            "root.toml:4:24: capacity must be 1 to 1000000",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(error(text), expected);
    }
    assert!(error("strategy = \n").starts_with("root.toml:1:"));
}

#[test]
fn a_duplicate_id_is_named_where_it_comes_again() {
    assert_eq!(error(&CHILD.repeat(2)), "root.toml:5:6: two children have the id a");
}

#[test]
fn files_in_a_circle_are_refused() {
    let to = |name: &str| format!("[[child]]\nid = \"a\"\ntree = \"{name}\"\n");
    let error = load(&[("root", &to("one")), ("one", &to("two")), ("two", &to("one"))]).unwrap_err();
    assert_eq!(error.to_string(), "two.toml:3:8: tree files name each other in a circle: root -> one -> two -> one");
}

#[test]
fn the_trees_of_the_repository_are_valid() {
    struct Repository;
    impl TreeSource for Repository {
        fn read(&self, name: &str) -> Result<String, TreeSourceError> {
            let path = format!("{}/../../supervisor-trees/{name}.toml", env!("CARGO_MANIFEST_DIR"));
            std::fs::read_to_string(path).map_err(|_| TreeSourceError::NotFound)
        }
    }
    for role in ["hub", "tower", "voter"] {
        load_tree(role, &Repository).unwrap_or_else(|error| panic!("{error}"));
    }
}
