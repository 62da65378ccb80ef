//! What lies on the disk, and what people type and send.

use std::collections::BTreeMap;
use std::path::Path;

use covenant_chaos::Scenario;
use covenant_cli::fuzz as cli;
use covenant_node::api::{self, actor, fault, part, tree};
use covenant_node::{NodeConfig, fuzz as node, read_body};
use covenant_store::SegmentLog;
use covenant_supervision::simulation::read_script;
use covenant_supervision::{TreeFiles, TreeSource, TreeSourceError};

use crate::Target;

pub(crate) const TARGETS: &[Target] = &[
    Target::new("segment-log", fuzz_segment_log, segment_log_seeds),
    Target::new("tree-files", fuzz_tree_files, tree_file_seeds),
    Target::new("tree-script", fuzz_tree_script, tree_script_seeds),
    Target::new("tree-bundle", node::fuzz_tree_bundle, node::tree_bundle_seeds),
    Target::new("tree-journal", node::fuzz_tree_journal, tree_journal_seeds),
    Target::new("scenario", fuzz_scenario, scenario_seeds),
    Target::new("node-config", fuzz_node_config, node_config_seeds),
    Target::new("known-peers", node::fuzz_known_peers, node::known_peers_seeds),
    Target::new("audit-log", node::fuzz_audit, node::audit_seeds),
    Target::new("capsule", fuzz_capsule, capsule_seeds),
    Target::new("control-body", fuzz_control_body, control_body_seeds),
    Target::new("arguments", cli::fuzz_arguments, cli::arguments_seeds),
    Target::new("up-layout", cli::fuzz_up_layout, cli::up_layout_seeds),
];

fn segment() -> (tempfile::TempDir, std::path::PathBuf) {
    // Memory, where there is such a place: a disk would be waited for at every input.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.expect("a folder for a log");
    let path = folder.path().join("00000000.seg");
    (folder, path)
}

/// A segment as a crash or a bad disk left it. What is found in it can be read, and the log goes on.
fn fuzz_segment_log(bytes: &[u8]) {
    let (folder, path) = segment();
    std::fs::write(&path, bytes).expect("a segment is written");
    let mut seen = Vec::new();
    let (mut log, opened) = SegmentLog::open(folder.path(), |position, record| seen.push((position, record.to_vec())))
        .expect("a log opens");
    assert_eq!(opened.records, seen.len() as u64);
    let position = log.append(b"after").expect("a log goes on");
    for (position, record) in &seen {
        assert_eq!(log.read(*position).ok().as_ref(), Some(record), "what was seen is read");
    }
    assert_eq!(log.read(position).ok().as_deref(), Some(&b"after"[..]));
}

fn segment_log_seeds() -> Vec<Vec<u8>> {
    let (folder, path) = segment();
    let (mut log, _) = SegmentLog::open(folder.path(), |_, _| {}).expect("a log opens");
    [&b"one"[..], b"", &[7; 90]].iter().for_each(|record| drop(log.append(record)));
    drop(log);
    vec![std::fs::read(path).expect("the segment is there")]
}

/// The files of a tree, one after the other, each after the first with its name in the line before it.
struct Files<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Files<'a> {
    fn read(text: &'a str) -> Self {
        let mut files = BTreeMap::new();
        let (root, mut rest) = text.split_once("#file ").unwrap_or((text, ""));
        files.insert("root", root);
        while let Some((name, file)) = rest.split_once('\n') {
            let (file, next) = file.split_once("#file ").unwrap_or((file, ""));
            files.insert(name, file);
            rest = next;
        }
        Self(files)
    }
}

impl TreeSource for Files<'_> {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        self.0.get(name).map(|text| (*text).to_owned()).ok_or(TreeSourceError::NotFound)
    }
}

fn fuzz_tree_files(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok((files, tree)) = TreeFiles::read("root", &Files::read(text)) {
        let (again, same) = TreeFiles::read("root", &files).expect("what was kept is the tree");
        assert_eq!((files.hash(), tree), (again.hash(), same));
    }
}

fn tree_file_seeds() -> Vec<Vec<u8>> {
    let root = include_str!("../../../../supervisor-trees/hub.toml");
    let below = include_str!("../../../../supervisor-trees/sync.toml");
    let every_key = "strategy = \"rest_for_one\"\nintensity = 3\nperiod = \"10s\"\n[[child]]\nid = \"a\"\ntree = \"sync\"\n\
        [[child]]\nid = \"b\"\nbehaviour = \"x.y\"\nrestart = \"transient\"\nshutdown = \"5s\"\nhost = \"light\"\n\
        config = { count = 64, names = [\"x\"] }\nmailbox = { capacity = 16, overflow = \"drop-oldest\" }\n";
    [format!("{root}#file sync\n{below}"), format!("{every_key}#file sync\n{below}")].map(String::into_bytes).into()
}

fn fuzz_tree_script(bytes: &[u8]) {
    let _events = read_script(bytes);
}

fn tree_script_seeds() -> Vec<Vec<u8>> {
    let script = "{\"at\": 2000, \"stop_takes\": \"links\", \"ms\": 700}\n{\"at\": 3000, \"exit\": \"scheduler\", \"reason\": \"panic\"}\n\
        {\"at\": 9000, \"exit\": \"links\", \"reason\": {\"error\": \"no route\"}}\n";
    vec![script.as_bytes().to_vec()]
}

fn tree_journal_seeds() -> Vec<Vec<u8>> {
    vec![br#"{"plan":"0123","from":"4567","to":"89ab","who":"uid 0"}"#.to_vec()]
}

fn fuzz_scenario(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _read = Scenario::parse("scenario.toml", text);
    }
}

fn scenario_seeds() -> Vec<Vec<u8>> {
    vec![include_bytes!("../../../../chaos/first-crash.toml").to_vec()]
}

/// `node.toml`, with its seeds.
fn fuzz_node_config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let path = Path::new("node.toml");
    if let Ok(config) = NodeConfig::parse(path, text) {
        let written = config.to_toml();
        let again = NodeConfig::parse(path, &written).expect("a configuration is read as it was written");
        assert_eq!(again.to_toml(), written);
    }
}

fn node_config_seeds() -> Vec<Vec<u8>> {
    let text = "[node]\nname = \"hub-africa\"\nrole = \"hub\"\nregion = \"africa\"\ndata = \"data\"\nlisten = \"127.0.0.1:7700\"\n\
        [cluster]\nname = \"demo\"\nseeds = [\"127.0.0.1:7701\"]\n[control]\nlisten = \"127.0.0.1:7702\"\n\
        [metrics]\nlisten = \"127.0.0.1:7703\"\n[content]\nsubscribe = [\"health\"]\n[log]\nlevel = \"info\"\n";
    vec![text.as_bytes().to_vec()]
}

/// What a crash left for people to read.
fn fuzz_capsule(bytes: &[u8]) {
    let _read: Result<actor::Capsule, _> = serde_json::from_slice(bytes);
}

fn capsule_seeds() -> Vec<Vec<u8>> {
    vec![br#"{"id":"0123","class":"panic","count":1,"last_incarnation":2,"last_at":1790000000,"first":{},"taken_up_after_us":3,"chain":[]}"#.to_vec()]
}

/// What operators and their tools send to the control API.
fn fuzz_control_body(bytes: &[u8]) {
    let _read = (
        read_body::<api::KillActor>(bytes).is_ok(),
        read_body::<api::Assess>(bytes).is_ok(),
        read_body::<api::Distribute>(bytes).is_ok(),
        read_body::<api::Transfer>(bytes).is_ok(),
        read_body::<api::Publish>(bytes).is_ok(),
        read_body::<api::GetDataset>(bytes).is_ok(),
        read_body::<api::Subscribe>(bytes).is_ok(),
        read_body::<api::CreateToken>(bytes).is_ok(),
        read_body::<api::CreateOperator>(bytes).is_ok(),
    );
    let _read = (
        read_body::<actor::ThisActor>(bytes).is_ok(),
        read_body::<actor::DrainActor>(bytes).is_ok_and(|request| request.deadline().is_ok()),
        read_body::<actor::TraceActor>(bytes).is_ok(),
        read_body::<part::DrainNode>(bytes).is_ok_and(|request| request.deadline().is_ok()),
        read_body::<part::SleepNode>(bytes).is_ok(),
        read_body::<part::LeaveNode>(bytes).is_ok(),
        read_body::<part::Events>(bytes).is_ok(),
        read_body::<tree::ApplyTree>(bytes).is_ok(),
        read_body::<tree::FindDrift>(bytes).is_ok(),
        read_body::<fault::SetFault>(bytes).is_ok_and(|request| request.spec.fault.check().is_ok()),
        read_body::<fault::RenewFault>(bytes).is_ok(),
        read_body::<fault::LiftFault>(bytes).is_ok(),
    );
}

fn control_body_seeds() -> Vec<Vec<u8>> {
    [
        r#"{"path":"/sync/scheduler"}"#,
        r#"{"year":2025}"#,
        r#"{"amount":"12.34","id":"000102030405060708090a0b0c0d0e0f"}"#,
        r#"{"id":"000102030405060708090a0b0c0d0e0f","from":"pool","to":"KEN","amount":"1"}"#,
        r#"{"role":"tower","region":"africa","name":"tower-kisumu","ttl_s":3600}"#,
        r#"{"name":"ada","role":"chaos","csr":[48,130,1]}"#,
        r#"{"path":"/sync/scheduler","deadline_ms":5000}"#,
        r#"{"path":"/sync/scheduler","limit":10,"for_ms":1000}"#,
        r#"{"deadline_ms":1000,"reason":"new disk","dry_run":true}"#,
        r#"{"for_ms":60000,"dry_run":false}"#,
        r#"{"after":0,"follow_ms":1000}"#,
        r#"{"tree":{"root":"hub","files":{"hub":"strategy = \"one_for_one\""}},"plan":"0123"}"#,
        r#"{"with":null}"#,
        r#"{"spec":{"fault":{"type":"partition"},"direction":"both","peer":{"node":"tower-two"}},"ttl_ms":60000,"dry_run":false}"#,
        r#"{"spec":{"fault":{"type":"loss","ratio":0.2,"burst":4},"direction":"out","peer":"all"},"ttl_ms":1,"dry_run":true}"#,
        r#"{"id":7,"ttl_ms":90000}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
