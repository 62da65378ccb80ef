//! `up` without a terminal: what to try, then one line whenever something changes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use covenant_ledger::LedgerStatus;
use covenant_types::NodeName;

use super::layout::Layout;
use super::processes::ProcessesRef;
use super::snapshot::Snapshot;
use crate::output::Output;

/// How often the cluster is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Commands for another terminal.
pub(crate) fn what_to_try(folder: &Path, layout: &Layout) -> Vec<String> {
    let folder = match folder == Path::new("covenant-data") {
        true => String::new(),
        false => format!(" --folder {}", folder.display()),
    };
    let log = layout.node.iter().find_map(|node| node.ledger);
    let verify = log.map(|at| format!("ledger verify --from http://{at}/ledger"));
    let verbs = [
        "members",
        "actor kill hub-africa:/sync/scheduler",
        "node kill hub-europe",
        "ledger assess --year 2024",
        "content publish docs --name docs --class health",
        "content ls",
    ];
    let verbs = verbs.into_iter().map(str::to_owned).chain(verify);
    verbs.map(|verb| format!("  try: covenant {verb}{folder}")).collect()
}

/// Tells what changes, for ever.
pub(crate) async fn tell(processes: &ProcessesRef, layout: &Layout, folder: &Path, output: &Output) -> Infallible {
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let snapshot = Snapshot::take(processes, layout, folder, 0).await;
        let facts = facts(&snapshot);
        for (what, now) in &facts {
            if told.get(what) != Some(now) {
                output.data(&format!("{what}: {now}"));
            }
        }
        told = facts;
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// What is worth a line when it changes.
fn facts(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    for node in &snapshot.nodes {
        let process = node.process.as_ref();
        let state = process.map_or("unknown", |process| process.state.as_str());
        let pid = process.and_then(|process| process.pid).map(|pid| format!(" pid {pid}")).unwrap_or_default();
        let epoch = node.status.as_ref().map(|status| format!(" epoch {}", status.epoch)).unwrap_or_default();
        facts.insert(format!("process {}", node.name), format!("{state}{pid}{epoch}"));
        for dataset in node.content.iter().flat_map(|content| &content.datasets) {
            let key = format!("content {} at {}", dataset.name, node.name);
            facts.insert(
                key,
                format!("v{} {} of {} chunks", dataset.version, dataset.chunks_have, dataset.chunks_total),
            );
        }
    }
    for (_, member) in snapshot.members.iter().flat_map(|(seen_by, members)| members.iter().map(move |m| (seen_by, m)))
    {
        facts.insert(format!("member {}", member.name), format!("{:?}", member.state).to_lowercase());
    }
    match &snapshot.ledger {
        Some(Ok(status)) => {
            drop(facts.insert("ledger".to_owned(), format!("{} transfers, led by {}", status.entries, leader(status))))
        }
        Some(Err(why)) => drop(facts.insert("ledger".to_owned(), why.clone())),
        None => {}
    }
    for (node, incident) in &snapshot.incidents {
        let state = if incident.is_open() { "open" } else { "closed" };
        let about = format!("{state}: {} {}", incident.kind.as_str(), incident.subject);
        facts.insert(format!("incident {} on {node}", incident.id), about);
    }
    facts
}

/// Who leads the group that keeps the book.
fn leader(status: &LedgerStatus) -> &str {
    status.leader.as_ref().map_or("nobody", NodeName::as_str)
}
