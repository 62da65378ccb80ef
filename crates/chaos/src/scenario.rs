//! A scenario file, read and checked.

use std::time::Duration;

use covenant_types::{ActorPath, NodeName};
use serde::Serialize;

use crate::fault::{ActorKill, Fault, FaultKind, scenario_id};
use crate::hypothesis::{Hypothesis, Phase};
use crate::kpi::Kpi;
use crate::observation::Observation;
use crate::reader::{InvalidScenario, Source, Table};

/// One story: what breaks, what must be true, how fast it must mend.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scenario {
    /// Its id, by which reports are filed.
    pub id: String,
    /// What it shows, as a sentence.
    pub title: String,
    /// Who is asked when it fails: a team, not a person.
    pub owner: String,
    /// Words to choose scenarios by.
    pub tags: Vec<String>,
    /// Where it can run.
    pub tiers: Vec<Tier>,
    /// How many nodes it needs at least.
    pub nodes: u32,
    /// When to give up whatever it is doing.
    pub timeout: Duration,
    /// When the cluster counts as recovered.
    pub recovery: RecoveryGoal,
    /// The faults, each behind those it waits for.
    pub faults: Vec<Fault>,
    /// What must be true.
    pub hypotheses: Vec<Hypothesis>,
    /// How fast it must mend.
    pub kpis: Vec<Kpi>,
}

/// When a cluster counts as recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RecoveryGoal {
    /// The steady state must begin within this time of the fault's effect.
    pub within: Duration,
    /// And last so long.
    pub hold: Duration,
}

/// Where a scenario can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// A simulated cluster in one thread.
    Sim,
    /// Processes on one machine.
    Proc,
    /// Processes in network namespaces.
    Net,
    /// A cluster that people use.
    Live,
}

impl Scenario {
    /// Reads and checks `text`, the content of `file`, which is only named in errors.
    ///
    /// # Errors
    /// The file is too long, is not TOML, has a key that is unknown or not supported yet, lacks one, or contradicts itself.
    pub fn parse(file: &str, text: &str) -> Result<Self, InvalidScenario> {
        let source = Source { file, text };
        if text.len() > SCENARIO_BYTES_MAX {
            return Err(source.wrong(0, format!("a scenario has at most {SCENARIO_BYTES_MAX} bytes: split it")));
        }
        let mut root = Table::root(source)?;
        let (schema, schema_at) = root.required_text("schema")?;
        if schema != SCHEMA {
            return Err(root.wrong(schema_at, format!("this release reads schema \"{SCHEMA}\"")));
        }
        let id = root.required("id", scenario_id)?;
        let (title, _) = root.required_text("title")?;
        let (owner, _) = root.required_text("owner")?;
        let tags = root.texts("tags")?.into_iter().map(|(tag, _)| tag).collect();
        let run = read_run(root.required_table("run")?)?;
        let faults = in_order(root.tables("fault", FAULTS_MAX)?)?;
        if faults.is_empty() {
            return Err(root.wrong(root.at, "a scenario needs at least one [[fault]]"));
        }
        let hypotheses = root.tables("hypothesis", HYPOTHESES_MAX)?.into_iter().map(Hypothesis::read);
        let hypotheses: Vec<Hypothesis> = hypotheses.collect::<Result<_, _>>()?;
        if !hypotheses.iter().any(|hypothesis| hypothesis.applies_in(Phase::Recovery)) {
            return Err(root.wrong(root.at, "a scenario needs at least one [[hypothesis]] with the phase \"recovery\""));
        }
        let ids: Vec<String> = faults.iter().map(|fault| fault.id.clone()).collect();
        let kpis =
            root.tables("kpi", KPIS_MAX)?.into_iter().map(|kpi| Kpi::read(kpi, &ids)).collect::<Result<_, _>>()?;
        root.finish(PLANNED)?;
        let Run { tiers, nodes, timeout, recovery } = run;
        Ok(Self { id, title, owner, tags, tiers, nodes, timeout, recovery, faults, hypotheses, kpis })
    }

    /// Judges the baseline: what must hold before the first fault.
    ///
    /// # Errors
    /// These hypotheses do not hold or cannot be seen. The scenario is to be refused.
    pub fn steady_before(&self, baseline: &Observation) -> Result<(), Vec<String>> {
        let before = self.hypotheses.iter().filter(|hypothesis| hypothesis.applies_in(Phase::Baseline));
        let broken: Vec<String> =
            before.filter_map(|hypothesis| hypothesis.judge(baseline, baseline).err()).map(|why| why.text).collect();
        if broken.is_empty() { Ok(()) } else { Err(broken) }
    }

    /// The first actor that is killed, if one is.
    pub fn actor_kill(&self) -> Option<&ActorKill> {
        self.faults.iter().find_map(|fault| match &fault.kind {
            FaultKind::ActorKill(kill) => Some(kill),
            FaultKind::NodeKill { .. } => None,
        })
    }

    /// The actors that the runner must ask whether they answer.
    pub fn asks(&self) -> impl Iterator<Item = (&NodeName, &ActorPath)> {
        self.hypotheses.iter().filter_map(|hypothesis| hypothesis.probe.asks())
    }

    /// The nodes that faults are aimed at: how far this scenario reaches.
    pub fn targets(&self) -> Vec<&NodeName> {
        let mut nodes: Vec<&NodeName> = self
            .faults
            .iter()
            .map(|fault| match &fault.kind {
                FaultKind::ActorKill(kill) => &kill.on,
                FaultKind::NodeKill { node, .. } => node,
            })
            .collect();
        nodes.sort();
        nodes.dedup();
        nodes
    }
}

struct Run {
    tiers: Vec<Tier>,
    nodes: u32,
    timeout: Duration,
    recovery: RecoveryGoal,
}

fn read_run(mut table: Table<'_>) -> Result<Run, InvalidScenario> {
    let mut tiers = Vec::new();
    for (word, at) in table.texts("tiers")? {
        tiers.push(match word.as_str() {
            "sim" => Tier::Sim,
            "proc" => Tier::Proc,
            "net" => Tier::Net,
            "live" => Tier::Live,
            _ => return Err(table.wrong(at, "a tier is \"sim\", \"proc\", \"net\" or \"live\"")),
        });
    }
    if tiers.is_empty() {
        return Err(table.wrong(table.at, "run needs `tiers`, as in [\"proc\"]"));
    }
    let nodes = table.number("nodes", 1..=NODES_MAX)?.unwrap_or(1);
    let timeout =
        table.duration("timeout")?.ok_or_else(|| table.wrong(table.at, "run needs `timeout`, as in \"60s\""))?;
    let mut goal = table.required_table("recovery")?;
    let within =
        goal.duration("within")?.ok_or_else(|| goal.wrong(goal.at, "recovery needs `within`, as in \"20s\""))?;
    let hold = goal.duration("hold")?.unwrap_or_default();
    let goal_at = goal.at;
    goal.finish(&[])?;
    if within.saturating_add(hold) > timeout {
        return Err(table.wrong(goal_at, "`within` and `hold` together are longer than `timeout`"));
    }
    table.finish(&["seeds", "repeat", "baseline", "observe"])?;
    Ok(Run { tiers, nodes, timeout, recovery: RecoveryGoal { within, hold } })
}

/// Reads the faults and puts each behind those it waits for; among equals the order of the file stays.
fn in_order(tables: Vec<Table<'_>>) -> Result<Vec<Fault>, InvalidScenario> {
    let mut waiting: Vec<(Fault, InvalidScenario)> = Vec::new();
    for table in tables {
        let unplaced = table.wrong(table.at, "");
        let fault = Fault::read(table)?;
        if waiting.iter().any(|(other, _)| other.id == fault.id) {
            return Err(InvalidScenario { what: format!("fault \"{}\" is there twice", fault.id), ..unplaced });
        }
        waiting.push((fault, unplaced));
    }
    for (fault, place) in &waiting {
        if let Some(unknown) = fault.after.iter().find(|id| !waiting.iter().any(|(other, _)| other.id == **id)) {
            let shown: String = unknown.chars().take(64).collect();
            let what = format!("fault \"{}\" waits for \"{shown}\", which is not in this file", fault.id);
            return Err(InvalidScenario { what, ..place.clone() });
        }
    }
    let mut ordered: Vec<Fault> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let placed = |fault: &Fault| fault.after.iter().all(|id| ordered.iter().any(|earlier| earlier.id == *id));
        match waiting.iter().position(|(fault, _)| placed(fault)) {
            Some(next) => ordered.push(waiting.remove(next).0),
            None => {
                let (fault, place) = waiting.swap_remove(0);
                let what = format!("fault \"{}\" waits for itself, directly or through others", fault.id);
                return Err(InvalidScenario { what, ..place });
            }
        }
    }
    Ok(ordered)
}

/// The schema this release reads.
const SCHEMA: &str = "covenant.chaos/1";

/// Parts of the format that a later release will run. They are refused, not skipped: a guard that is not kept is worse
/// than none.
const PLANNED: &[&str] =
    &["severity", "links", "workload", "guard", "stop", "stop_drill", "invariant", "extra_rollback", "report"];

/// The longest file, in bytes.
const SCENARIO_BYTES_MAX: usize = 64 * 1024;
/// The most faults in one file.
const FAULTS_MAX: usize = 64;
/// The most hypotheses in one file.
const HYPOTHESES_MAX: usize = 64;
/// The most KPIs in one file.
const KPIS_MAX: usize = 32;
/// The most nodes a scenario may ask for.
const NODES_MAX: u32 = 1000;
