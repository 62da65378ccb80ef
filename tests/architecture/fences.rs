//! Keeps `docs/architecture.md` true: which way the arrows between crates point, and what a core may never know.
//!
//! A new crate must be placed in [`LAYERS`] before anything passes, so that whoever adds it decides where it belongs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// What the packages of a layer may depend on beside the layers below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peers {
    /// Nothing of their own layer.
    Apart,
    /// Those named earlier in the layer.
    Earlier,
}

/// The layers from the bottom up. Arrows point down.
const LAYERS: &[(&str, Peers, &[&str])] = &[
    ("words", Peers::Apart, &["types", "macros"]),
    ("cores", Peers::Apart, &["supervision", "membership", "wire", "identity", "book"]),
    (
        "drivers",
        Peers::Earlier,
        &["env", "store", "tlog", "telemetry", "runtime", "transport", "cluster", "consensus", "ledger-state"],
    ),
    ("services", Peers::Apart, &["content", "ledger", "placement", "watch"]),
    ("assembly", Peers::Apart, &["chaos", "node"]),
    ("front", Peers::Earlier, &["covenant", "cli"]),
    ("beside", Peers::Earlier, &["history", "testkit", "sim", "fuzz", "bench", "torture", "tests"]),
];

/// What no core may reach, however far down: a core that cannot reach a socket, a clock or a runtime cannot misuse one.
const FORBIDDEN_TO_CORES: &[&str] =
    &["tokio", "quinn", "quinn-proto", "ractor", "mio", "socket2", "hyper", "axum", "redb"];

/// What only some crates may name, and which. The engine stays behind the runtime, the codec behind wire.
const KEPT_BEHIND: &[(&str, &[&str])] = &[
    ("ractor", &["runtime", "bench"]),
    ("bincode", &["wire"]),
    ("redb", &["store", "content", "ledger"]),
    ("foca", &["membership", "sim"]),
    ("openraft", &["consensus"]),
    ("rcgen", &["identity"]),
    ("clap", &["cli"]),
    ("ratatui", &["cli"]),
];

fn metadata() -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"));
    // The lock file says which versions are in force. Without it in step, or with crates of other platforms that were
    // never downloaded, cargo may need to look again.
    let strictly = command.clone().other_options(vec!["--offline".into(), "--locked".into()]).exec();
    strictly.or_else(|_| command.exec()).expect("cargo metadata reads the workspace")
}

fn short(name: &str) -> &str {
    name.strip_prefix("covenant-").unwrap_or(name)
}

/// Layer and place in it.
fn place(name: &str) -> Option<(usize, usize)> {
    LAYERS.iter().enumerate().find_map(|(layer, (_, _, members))| {
        members.iter().position(|member| *member == short(name)).map(|position| (layer, position))
    })
}

fn may_depend(from: &str, on: &str) -> bool {
    let (Some((from_layer, from_place)), Some((on_layer, on_place))) = (place(from), place(on)) else { return false };
    match on_layer.cmp(&from_layer) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Equal => LAYERS[from_layer].1 == Peers::Earlier && on_place < from_place,
        std::cmp::Ordering::Greater => false,
    }
}

/// The names a package depends on when it is built for use. Tests may look wherever they like, within the same fences.
fn depends_on(package: &Package) -> impl Iterator<Item = &str> {
    package.dependencies.iter().filter(|dep| dep.kind != DependencyKind::Development).map(|dep| dep.name.as_str())
}

fn report(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn every_crate_has_a_place() {
    let metadata = metadata();
    let members: BTreeSet<&str> =
        metadata.workspace_packages().iter().map(|package| short(package.name.as_str())).collect();
    let placed: BTreeSet<&str> = LAYERS.iter().flat_map(|(_, _, members)| members.iter().copied()).collect();
    assert_eq!(members, placed, "left: the workspace, right: LAYERS and the table in docs/architecture.md");
}

#[test]
fn arrows_point_down() {
    let metadata = metadata();
    let members: BTreeSet<&str> = metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let mut broken = Vec::new();
    for package in metadata.workspace_packages() {
        for on in package.dependencies.iter().map(|dep| dep.name.as_str()).filter(|name| members.contains(name)) {
            if !may_depend(package.name.as_str(), on) {
                broken.push(format!("{} must not know {on}: arrows point down", package.name));
            }
        }
    }
    report(&broken);
}

#[test]
fn cores_reach_no_socket_no_clock_and_no_runtime() {
    let metadata = metadata();
    let resolve = metadata.resolve.as_ref().expect("metadata was asked to resolve");
    let names: BTreeMap<_, _> = metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
    let next: BTreeMap<_, Vec<_>> = resolve
        .nodes
        .iter()
        .map(|node| {
            let used =
                node.deps.iter().filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal));
            (&node.id, used.map(|dep| &dep.pkg).collect())
        })
        .collect();
    let mut broken = Vec::new();
    for package in metadata.workspace_packages() {
        if place(package.name.as_str()).is_none_or(|(layer, _)| layer > 1) {
            continue;
        }
        let (mut seen, mut ahead) = (BTreeSet::new(), vec![&package.id]);
        while let Some(id) = ahead.pop() {
            if seen.insert(id) {
                ahead.extend(next.get(id).into_iter().flatten());
            }
        }
        for reached in seen.iter().map(|id| names[id]).filter(|name| FORBIDDEN_TO_CORES.contains(name)) {
            broken.push(format!("{} reaches {reached}: a core takes time and I/O as arguments", package.name));
        }
    }
    report(&broken);
}

#[test]
fn what_is_kept_behind_a_crate_stays_there() {
    let mut broken = Vec::new();
    for package in metadata().workspace_packages() {
        for (kept, behind) in KEPT_BEHIND {
            if depends_on(package).any(|name| name == *kept) && !behind.contains(&short(package.name.as_str())) {
                broken.push(format!("{} names {kept}, which only {} may", package.name, behind.join(", ")));
            }
        }
    }
    report(&broken);
}

#[test]
fn each_direct_dependency_has_one_version_chosen_in_the_root() {
    let metadata = metadata();
    let mut requirements: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in metadata.workspace_packages() {
        for dep in &package.dependencies {
            requirements.entry(dep.name.as_str()).or_default().insert(dep.req.to_string());
        }
    }
    let several = requirements.iter().filter(|(_, versions)| versions.len() > 1);
    report(&several.map(|(name, versions)| format!("{name} is asked for as {versions:?}")).collect::<Vec<_>>());
    let mut broken = Vec::new();
    for package in metadata.workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("a member has a manifest");
        for (number, line) in manifest.lines().enumerate() {
            let chosen_here = line.contains("version = \"") && !line.starts_with("version");
            if chosen_here || line.split('=').nth(1).is_some_and(|value| value.trim().starts_with("\"=")) {
                broken.push(format!("{}:{}: write `workspace = true`: {line}", package.manifest_path, number + 1));
            }
        }
    }
    report(&broken);
}

#[test]
fn every_member_keeps_the_shared_lints() {
    let mut broken = Vec::new();
    for package in metadata().workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("a member has a manifest");
        if !manifest.contains("[lints]\nworkspace = true") {
            broken.push(format!("{} does not say `[lints] workspace = true`", package.manifest_path));
        }
    }
    report(&broken);
}

#[test]
fn every_library_below_the_command_line_denies_clocks_and_loose_tasks() {
    let mut broken = Vec::new();
    for package in metadata().workspace_packages() {
        let beside = place(package.name.as_str()).is_some_and(|(layer, _)| LAYERS[layer].0 == "beside");
        let command_line = short(package.name.as_str()) == "cli";
        for target in package.targets.iter().filter(|target| target.is_lib() && !beside && !command_line) {
            let text = std::fs::read_to_string(&target.src_path).expect("a target has its file");
            if !text.contains("#![deny(clippy::disallowed_methods)]") {
                broken.push(format!("{} does not deny clippy::disallowed_methods", target.src_path));
            }
        }
    }
    report(&broken);
}

/// Every Rust file below `folder`.
fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn every_select_says_in_which_order_it_looks() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates"), &mut files);
    let mut broken = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source file is text");
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (number, _) in lines.iter().enumerate().filter(|(_, line)| line.ends_with("select! {")) {
            let first = lines[number + 1..].iter().find(|line| !line.starts_with("//"));
            if first != Some(&"biased;") {
                let at = format!("{}:{}", file.display(), number + 1);
                broken.push(format!("{at}: without `biased;` chance decides, and no simulation repeats"));
            }
        }
    }
    report(&broken);
}

#[test]
fn the_table_of_layers_is_the_one_that_people_read() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/architecture.md");
    let page = std::fs::read_to_string(page).expect("docs/architecture.md is there");
    let mut broken = Vec::new();
    for (layer, _, members) in LAYERS {
        let row = page.lines().find(|line| line.starts_with(&format!("| {layer} |")));
        let Some(row) = row else {
            broken.push(format!("docs/architecture.md has no row for the layer {layer}"));
            continue;
        };
        let listed: BTreeSet<&str> = row.split('|').nth(2).unwrap_or("").split('`').skip(1).step_by(2).collect();
        if listed != members.iter().copied().collect() {
            broken.push(format!("the row of {layer} lists {listed:?}, LAYERS has {members:?}"));
        }
    }
    report(&broken);
}
