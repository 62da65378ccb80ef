//! `covenant up --check`: the whole story once, on a fresh folder. Exits 0, or says which step did not hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use covenant_chaos::{Scenario, Verdict};
use covenant_cluster::{MemberState, MemberView};
use covenant_content::ContentView;
use covenant_ledger::{AssessmentDone, Balances, CheckDone, DistributionDone, TransferDone};
use covenant_node::api::{ApiError, Assess, Distribute, ErrorKind, Publish, Status, Transfer};
use covenant_runtime::TreeView;
use covenant_types::{ActorPath, BootEpoch, Incarnation, TransferId};

use super::layout::NodePlan;
use super::report::{Report, millis};
use super::scenario;
use super::{UpCluster, check_logs};
use crate::client::Client;
use crate::output::{Output, Tone};

/// How long anything may take that a step waits for, unless the step has a bound of its own.
pub(super) const SEEN_WITHIN: Duration = Duration::from_secs(20);
/// How long the others may take to show a killed hub Down: the loopback profile's goal.
const DOWN_WITHIN: Duration = Duration::from_secs(6);
/// The pause between two questions.
const ASK_EVERY: Duration = Duration::from_millis(25);
/// The scenario of step 4, as the repository has it.
const FIRST_CRASH: &str = include_str!("../../../../chaos/first-crash.toml");
/// The dataset of step 3 where no `docs/` is at hand.
const DOCS: [(&str, &str); 3] = [
    ("architecture.md", include_str!("../../../../docs/architecture.md")),
    ("glossary.md", include_str!("../../../../docs/glossary.md")),
    ("guarantees.md", include_str!("../../../../docs/guarantees.md")),
];

/// Runs the story and prints it.
pub(crate) async fn run(output: &Output) -> Result<(), ApiError> {
    let folder = tempfile::Builder::new().prefix("covenant-check-").tempdir().map_err(ApiError::failure)?;
    let began = tokio::time::Instant::now();
    let mut report = Report::default();
    let result = story(folder.path(), &mut report, output).await;
    report.ok = result.is_ok();
    report.ms = millis(began.elapsed());
    output.view(&report, |output| verdict(output, &report));
    result.map_err(|error| {
        let kept = folder.keep();
        ApiError::new(ErrorKind::Failure, format!("{}; its folder is kept: {}", error.message, kept.display()))
    })
}

fn verdict(output: &Output, report: &Report) -> String {
    let seconds = Duration::from_millis(report.ms).as_secs_f64();
    match report.ok {
        true => output.paint(Tone::Good, &format!("all {} steps held in {seconds:.1} s", report.steps.len())),
        false => output.paint(Tone::Bad, &format!("the story broke off after {seconds:.1} s")),
    }
}

async fn story(folder: &Path, report: &mut Report, output: &Output) -> Result<(), ApiError> {
    let cluster = report.step(output, "0  five processes start and become ready", start(folder)).await?;
    let result = told(&cluster, report, output).await;
    if let Err(error) = result {
        // The story failed already; how the stop went adds nothing.
        let _stopped = cluster.stop().await;
        return Err(error);
    }
    report.step(output, "7  all processes stop in order, none left behind", stop(cluster)).await
}

async fn told(cluster: &UpCluster, report: &mut Report, output: &Output) -> Result<(), ApiError> {
    report.step(output, "1  every node lists all five", members(cluster)).await?;
    report.step(output, "2  the 2024 assessment and a distribution are exact", ledger(cluster)).await?;
    report.step(output, "3  a dataset reaches both towers, verified", content(cluster)).await?;
    report.step(output, "4  a killed actor answers as its next incarnation", actor_kill(cluster)).await?;
    report
        .step(output, "5  a hub with a vote is killed, the ledger goes on, it comes back whole", hub_kill(cluster))
        .await?;
    let logs = check_logs::all_tell_the_same(cluster, *output);
    report.step(output, "6  the public log of every hub verifies, and all tell the same", logs).await
}

async fn start(folder: &Path) -> Result<(UpCluster, String), ApiError> {
    let made = tokio::time::Instant::now();
    let cluster = UpCluster::start(folder, None, |_| {}).await?;
    cluster.wait_until_ready().await?;
    let ready = made.elapsed().as_secs_f64();
    Box::pin(cluster.share_the_book()).await?;
    let voting = made.elapsed().as_secs_f64();
    let seen = format!(
        "CA made, four nodes joined by token, all ready after {ready:.2} s, three keep the book after {voting:.2} s"
    );
    Ok((cluster, seen))
}

async fn members(cluster: &UpCluster) -> Result<((), String), ApiError> {
    let wanted = cluster.layout.node.len();
    for node in &cluster.layout.node {
        let what = format!("{} to list {wanted} reachable members", node.name);
        wait_for(&what, SEEN_WITHIN, async || {
            let members: Vec<MemberView> = cluster.client(node).get("/v1/members").await?;
            let reachable = members.iter().filter(|member| member.state == MemberState::Reachable).count();
            Ok((reachable == wanted && members.len() == wanted).then_some(()))
        })
        .await?;
    }
    Ok(((), format!("{wanted} of {wanted} nodes list {wanted} reachable members")))
}

async fn ledger(cluster: &UpCluster) -> Result<((), String), ApiError> {
    // Asked at a tower: the book is on another node, so this crosses the cluster.
    let tower = cluster.client(last(cluster)?);
    let done: AssessmentDone = tower.post("/v1/ledger/assess", &Assess { year: 2024 }).await?;
    expect("payers", &194, &done.payers)?;
    expect("nations without a figure", &1, &done.unknown.len())?;
    expect("pool", &"10953934201.60", &done.pool.as_str())?;
    let again: AssessmentDone = tower.post("/v1/ledger/assess", &Assess { year: 2024 }).await?;
    expect("nations booked the second time", &0, &again.booked)?;
    let amount = "1000000.01".to_owned();
    let order = Distribute { amount: amount.clone(), id: TransferId(0x00c0_ffee) };
    let done: DistributionDone = tower.post("/v1/ledger/distribute", &order).await?;
    expect("sum of the distribution", &amount.as_str(), &done.sum.as_str())?;
    let check: CheckDone = tower.get("/v1/ledger/check").await?;
    expect("whether the book sums to zero", &true, &check.ok)?;
    let seen =
        "194 payers, 1 unknown, pool $10,953,934,201.60; twice booked once; $1,000,000.01 distributed to the cent";
    Ok(((), seen.to_owned()))
}

async fn content(cluster: &UpCluster) -> Result<((), String), ApiError> {
    let source = docs(&cluster.folder)?;
    let first = cluster.client(cluster.layout.first());
    let order = Publish { dir: source.display().to_string(), name: "docs".to_owned(), class: "health".to_owned() };
    let _published: serde_json::Value = first.post("/v1/content/publish", &order).await?;
    let towers = towers(cluster);
    let mut chunks = 0;
    for tower in &towers {
        chunks = wait_for(&format!("{} to hold all of docs", tower.name), SEEN_WITHIN, async || {
            let view: ContentView = cluster.client(tower).get("/v1/content").await?;
            let whole = view.datasets.iter().find(|dataset| dataset.name == "docs" && dataset.complete);
            Ok(whole.map(|dataset| dataset.chunks_total))
        })
        .await?;
        // Reading every byte back checks every chunk; comparing with the source shows that it is the same dataset.
        let target = cluster.folder.join(format!("docs-at-{}", tower.name));
        let order = covenant_node::api::GetDataset { name: "docs".to_owned(), to: target.display().to_string() };
        let _written: serde_json::Value = cluster.client(tower).post("/v1/content/get", &order).await?;
        let (here, there) = (files(&source)?, files(&target)?);
        if here != there {
            return Err(ApiError::failure(format!("{} differs from {}", target.display(), source.display())));
        }
    }
    Ok(((), format!("{chunks} chunks at each of {} towers, read back and equal to the source", towers.len())))
}

async fn actor_kill(cluster: &UpCluster) -> Result<((), String), ApiError> {
    let scenario = Scenario::parse("chaos/first-crash.toml", FIRST_CRASH).map_err(ApiError::usage)?;
    let kill = scenario.actor_kill().ok_or_else(|| ApiError::usage("chaos/first-crash.toml kills no actor"))?;
    let node = cluster.layout.node.iter().find(|node| node.name == kill.on);
    let node = node.ok_or_else(|| ApiError::usage(format!("the scenario names {}, which is not here", kill.on)))?;
    let client = cluster.client(node);
    let before = incarnations(&client).await?;
    let outcome = scenario::run(&scenario, &cluster.folder, &cluster.layout).await?;
    if outcome.verdict != Verdict::Pass {
        return Err(ApiError::failure(format!(
            "{} is {:?}: {}",
            outcome.id,
            outcome.verdict,
            outcome.story.join("; ")
        )));
    }
    // The scenario names one sibling; here every other actor of the node is held against what it was.
    let after = incarnations(&client).await?;
    for (path, incarnation) in before.iter().filter(|(path, _)| **path != kill.path) {
        expect(&format!("incarnation of {path}"), incarnation, &after.get(path).copied().unwrap_or_default())?;
    }
    let kept = before.len().saturating_sub(1);
    Ok(((), format!("{}; {kept} others kept their incarnation", outcome.story.join("; "))))
}

async fn hub_kill(cluster: &UpCluster) -> Result<((), String), ApiError> {
    let home = cluster.layout.first();
    let others: Vec<&NodePlan> = cluster.layout.node.iter().skip(1).collect();
    let asked = cluster.client(others.first().ok_or_else(|| ApiError::usage("one node is no cluster"))?);
    let before: Status = cluster.client(home).get("/v1/status").await?;
    let booked: Balances = asked.get("/v1/ledger/balances").await?;
    cluster.processes.kill(&home.name, true).await?;
    let killed = tokio::time::Instant::now();
    let what = format!("two others to show {} Down", home.name);
    let witnesses = wait_for(&what, DOWN_WITHIN, async || {
        let mut down = Vec::new();
        for node in &others {
            let members: Vec<MemberView> = cluster.client(node).get("/v1/members").await?;
            if members.iter().any(|member| member.name == home.name && member.state == MemberState::Down) {
                down.push(cluster.client(node));
            }
        }
        Ok((down.len() >= 2).then_some(down))
    })
    .await?;
    let down_after = killed.elapsed();
    let order = Transfer {
        id: TransferId(0xdead_beef),
        from: "reserve".to_owned(),
        to: "communities".to_owned(),
        amount: "1.00".to_owned(),
        nation: None,
    };
    let witness = witnesses.first().ok_or_else(|| ApiError::failure("nobody saw it go down"))?;
    let done: TransferDone = witness.post("/v1/ledger/transfer", &order).await?;
    expect("whether the ledger books without the hub", &true, &done.booked)?;
    cluster.processes.start(&home.name).await?;
    let after = cluster.wait_for(home, |status| status.ready && status.epoch > before.epoch).await?;
    wait_for(&format!("all others to show {} again", home.name), SEEN_WITHIN, async || {
        for node in &others {
            let members: Vec<MemberView> = cluster.client(node).get("/v1/members").await?;
            let back = |member: &MemberView| {
                member.name == home.name && member.state == MemberState::Reachable && member.epoch == after.epoch
            };
            if !members.iter().any(back) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    // At the hub that was away: it has what was booked without it.
    let back = cluster.client(home);
    let check: CheckDone = back.get("/v1/ledger/check").await?;
    expect("whether the book sums to zero", &true, &check.ok)?;
    let again: TransferDone = back.post("/v1/ledger/transfer", &order).await?;
    expect("whether what was booked without it books again", &false, &again.booked)?;
    let now: Balances = back.get("/v1/ledger/balances").await?;
    let changed = now.accounts.iter().filter(|account| !booked.accounts.contains(account)).count();
    // The two accounts of the transfer, and nothing else.
    expect("accounts that changed since before the kill", &2, &changed)?;
    let epochs: (BootEpoch, BootEpoch) = (before.epoch, after.epoch);
    Ok((
        (),
        format!(
            "Down after {:.1} s; the ledger booked without it; back with epoch {} after {}, books whole, booked once",
            down_after.as_secs_f64(),
            epochs.1,
            epochs.0
        ),
    ))
}

async fn stop(cluster: UpCluster) -> Result<((), String), ApiError> {
    let (processes, layout) = (cluster.processes.clone(), cluster.layout.clone());
    let pids: Vec<u32> = processes.views().iter().filter_map(|view| view.pid).collect();
    expect("running processes", &layout.node.len(), &pids.len())?;
    cluster.stop().await?;
    let left: Vec<u32> = pids.iter().copied().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).collect();
    if !left.is_empty() {
        return Err(ApiError::failure(format!("processes {left:?} are left behind")));
    }
    let mut ends = Vec::new();
    for view in processes.views() {
        expect(&format!("exit of {}", view.node), &Some("normal"), &view.last_exit.as_deref())?;
        ends.push(view.last_exit_ms);
    }
    if !ends.is_sorted_by(|first, second| first >= second) {
        return Err(ApiError::failure("the processes did not stop in the reverse of their start order"));
    }
    Ok(((), format!("{} processes ended normally, last started first", pids.len())))
}

/// Asks until there is an answer; a question that fails is asked again.
pub(super) async fn wait_for<T>(
    what: &str,
    within: Duration,
    ask: impl AsyncFn() -> Result<Option<T>, ApiError>,
) -> Result<T, ApiError> {
    let mut last = None;
    let asking = async {
        loop {
            match ask().await {
                Ok(Some(found)) => return found,
                Ok(None) => {}
                Err(error) => last = Some(error.message),
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    };
    let result = tokio::time::timeout(within, asking).await;
    result.map_err(|_| {
        let why = last.map(|why| format!(" (last answer: {why})")).unwrap_or_default();
        ApiError::new(ErrorKind::Timeout, format!("waited {} s for {what}{why}", within.as_secs()))
    })
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, wanted: &T, seen: &T) -> Result<(), ApiError> {
    if wanted == seen { Ok(()) } else { Err(ApiError::failure(format!("{what}: expected {wanted:?}, saw {seen:?}"))) }
}

async fn incarnations(client: &Client) -> Result<BTreeMap<ActorPath, Incarnation>, ApiError> {
    fn collect(view: &TreeView, into: &mut BTreeMap<ActorPath, Incarnation>) {
        into.insert(view.path.clone(), view.incarnation);
        view.children.iter().for_each(|child| collect(child, into));
    }
    let mut found = BTreeMap::new();
    collect(&client.get("/v1/tree").await?, &mut found);
    Ok(found)
}

fn towers(cluster: &UpCluster) -> Vec<&NodePlan> {
    cluster.layout.node.iter().filter(|node| !node.subscribe.is_empty()).collect()
}

fn last(cluster: &UpCluster) -> Result<&NodePlan, ApiError> {
    cluster.layout.node.last().ok_or_else(|| ApiError::usage("the cluster has no nodes"))
}

/// The repository's `docs/` where the command runs in it, else the pages built into the program.
fn docs(folder: &Path) -> Result<PathBuf, ApiError> {
    let here = Path::new("docs");
    if here.join("architecture.md").is_file() {
        return std::fs::canonicalize(here).map_err(ApiError::failure);
    }
    let target = folder.join("docs");
    std::fs::create_dir_all(&target).map_err(ApiError::failure)?;
    for (name, text) in DOCS {
        std::fs::write(target.join(name), text).map_err(ApiError::failure)?;
    }
    Ok(target)
}

/// Every file below `dir`, by its path relative to it.
fn files(dir: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>, ApiError> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(ApiError::failure)? {
            let path = entry.map_err(ApiError::failure)?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).map_err(ApiError::failure)?.to_owned();
                found.insert(name, std::fs::read(&path).map_err(ApiError::failure)?);
            }
        }
    }
    Ok(found)
}
