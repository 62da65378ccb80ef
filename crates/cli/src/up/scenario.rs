//! Runs a chaos scenario on the small cluster of a folder: look, break, prove that it broke, watch it mend.
//!
//! What holds and what does not is decided by `covenant-chaos`; this asks the nodes and sends the faults.

use std::path::Path;
use std::time::Duration;

use covenant_chaos::{ActorSeen, EffectEvent, Fault, FaultKind, Observation, Progress, Recovery, Scenario, Verdict};
use covenant_cluster::{MemberState, MemberView};
use covenant_env::{Clock, RealClock};
use covenant_node::api::{ActorKilled, ApiError, ErrorKind, KillActor};
use covenant_runtime::{ActorState, TreeView};
use covenant_types::{ActorPath, Incarnation, NodeName, Uptime};
use serde::Serialize;

use super::layout::{Layout, NodePlan, node_dir, up_socket};
use super::processes::ProcessView;
use super::server::KillNode;
use crate::client::Client;

/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// What running a scenario came to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// The scenario.
    pub(crate) id: String,
    /// What it came to.
    pub(crate) verdict: Verdict,
    /// What was broken, seen and measured, in order.
    pub(crate) story: Vec<String>,
}

/// Runs `scenario` on the cluster in `folder`.
///
/// # Errors
/// The cluster cannot be asked. What was broken is mended by its own policy.
pub(crate) async fn run(scenario: &Scenario, folder: &Path, layout: &Layout) -> Result<Outcome, ApiError> {
    let runner = Runner { scenario, folder, layout, clock: RealClock::new() };
    match tokio::time::timeout(scenario.timeout, runner.run()).await {
        Ok(outcome) => outcome,
        Err(_) => Ok(runner.outcome(Verdict::Inconclusive, vec!["the scenario's own timeout ended it".to_owned()])),
    }
}

struct Runner<'a> {
    scenario: &'a Scenario,
    folder: &'a Path,
    layout: &'a Layout,
    clock: RealClock,
}

impl Runner<'_> {
    async fn run(&self) -> Result<Outcome, ApiError> {
        if self.layout.node.len() < usize::try_from(self.scenario.nodes).unwrap_or(usize::MAX) {
            let why = format!("it needs {} nodes, there are {}", self.scenario.nodes, self.layout.node.len());
            return Ok(self.outcome(Verdict::Refused, vec![why]));
        }
        let baseline = self.look().await;
        if let Err(broken) = self.scenario.steady_before(&baseline) {
            return Ok(self.outcome(Verdict::Refused, broken));
        }
        let mut story = Vec::new();
        let mut effective_at = self.clock.now();
        for fault in &self.scenario.faults {
            tokio::time::sleep(fault.at).await;
            let mut proofs = 0;
            for time in 0..fault.times {
                if time > 0 {
                    tokio::time::sleep(fault.every).await;
                }
                let before = self.trace(fault).await;
                story.push(self.inject(fault).await?);
                if let Some(at) = self.proof(fault, before).await {
                    effective_at = at;
                    proofs += 1;
                }
            }
            if !fault.effective.is_proved_by(proofs) {
                let wanted = fault.effective.at_least;
                story.push(format!(
                    "{} was seen to take effect {proofs} times, not {wanted}: nothing is shown",
                    fault.id
                ));
                return Ok(self.outcome(Verdict::Inconclusive, story));
            }
        }
        let mut recovery = Recovery::new(self.scenario, baseline, effective_at);
        loop {
            let progress = recovery.observe(self.clock.now(), &self.look().await);
            let Some(mut verdict) = progress.verdict() else {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            };
            match progress {
                Progress::Recovered(took) => {
                    story.push(format!("steady again after {} ms, and it stayed", took.as_millis()));
                    for kpi in &self.scenario.kpis {
                        verdict = verdict.and(kpi.judge(&[took]).verdict);
                    }
                }
                Progress::Failed(why) => story.extend(why.into_iter().map(|deviation| deviation.text)),
                Progress::Waiting(_) | Progress::Holding => {}
            }
            return Ok(self.outcome(verdict, story));
        }
    }

    fn outcome(&self, verdict: Verdict, story: Vec<String>) -> Outcome {
        Outcome { id: self.scenario.id.clone(), verdict, story }
    }

    async fn inject(&self, fault: &Fault) -> Result<String, ApiError> {
        match &fault.kind {
            FaultKind::ActorKill(kill) => {
                let order = KillActor { path: kill.path.clone() };
                let killed: ActorKilled = self.client(&kill.on)?.post("/v1/actor/kill", &order).await?;
                Ok(format!("{}:{} incarnation {} killed", kill.on, killed.path, killed.incarnation))
            }
            FaultKind::NodeKill { node, hold } => {
                let order = KillNode { node: node.clone(), hold: *hold };
                let up = Client::socket(&up_socket(self.folder));
                let killed: ProcessView = up.post("/v1/node/kill", &order).await?;
                Ok(format!("{} killed", killed.node))
            }
        }
    }

    /// When the fault was seen to take effect; `None` when it was not within the recovery's time.
    async fn proof(&self, fault: &Fault, before: Trace) -> Option<Uptime> {
        let patience_ends = self.clock.now().after(self.scenario.recovery.within);
        while self.clock.now() <= patience_ends {
            if self.trace(fault).await.shows_an_end_since(before) {
                return Some(self.clock.now());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        None
    }

    /// What a fault changes when it takes effect.
    async fn trace(&self, fault: &Fault) -> Trace {
        match (&fault.kind, fault.effective.event) {
            (FaultKind::ActorKill(kill), EffectEvent::ChildExit) => {
                let seen = self.look_at(&kill.on).await.actors.get(&(kill.on.clone(), kill.path.clone())).copied();
                seen.map_or(Trace::Blind, |seen| Trace::Actor { incarnation: seen.incarnation, running: seen.running })
            }
            (FaultKind::NodeKill { node, .. }, EffectEvent::ProcessExit) => {
                let views: Result<Vec<ProcessView>, _> =
                    Client::socket(&up_socket(self.folder)).get("/v1/processes").await;
                let view = views.ok().and_then(|views| views.into_iter().find(|view| view.node == *node));
                view.map_or(Trace::Blind, |view| Trace::Process { last_exit_ms: view.last_exit_ms })
            }
            (FaultKind::ActorKill(_), EffectEvent::ProcessExit)
            | (FaultKind::NodeKill { .. }, EffectEvent::ChildExit) => Trace::Blind,
        }
    }

    async fn look(&self) -> Observation {
        let mut whole = Observation::default();
        for node in &self.layout.node {
            let seen = self.look_at(&node.name).await;
            whole.actors.extend(seen.actors);
            whole.reachable.extend(seen.reachable);
        }
        for (node, path) in self.scenario.asks() {
            let answers = self.answers(node, path).await;
            if let Some(seen) = whole.actors.get_mut(&(node.clone(), path.clone())) {
                seen.answers = answers;
            }
        }
        whole
    }

    /// What one node says of itself; nothing where it does not answer.
    async fn look_at(&self, node: &NodeName) -> Observation {
        let mut seen = Observation::default();
        let Ok(client) = self.client(node) else { return seen };
        if let Ok(tree) = client.get::<TreeView>("/v1/tree").await {
            collect(&tree, node, &mut seen);
        }
        if let Ok(members) = client.get::<Vec<MemberView>>("/v1/members").await {
            let reachable = members.iter().filter(|member| member.state == MemberState::Reachable).count();
            seen.reachable.insert(node.clone(), u32::try_from(reachable).unwrap_or(u32::MAX));
        }
        seen
    }

    /// Whether an actor answers a question of its own; `None` where it has none that can be asked from here.
    async fn answers(&self, node: &NodeName, path: &ActorPath) -> Option<bool> {
        let question = match path.as_str() {
            "/sync/scheduler" => "/v1/content",
            "/watch/watcher" => "/v1/incidents",
            "/ledger/desk" => "/v1/ledger/status",
            _ => return None,
        };
        Some(self.client(node).ok()?.get::<serde_json::Value>(question).await.is_ok())
    }

    fn client(&self, name: &NodeName) -> Result<Client, ApiError> {
        let here = |node: &&NodePlan| node.name == *name;
        let missing = || ApiError::new(ErrorKind::NotFound, format!("the scenario names {name}, which is not here"));
        self.layout.node.iter().find(here).ok_or_else(missing)?;
        Ok(Client::socket(&node_dir(self.folder, name).join("control.sock")))
    }
}

/// What a fault changes when it takes effect.
#[derive(Clone, Copy)]
enum Trace {
    /// The actor it is aimed at.
    Actor { incarnation: Incarnation, running: bool },
    /// The process it is aimed at, by its last end.
    Process { last_exit_ms: Option<u64> },
    /// Nothing could be seen.
    Blind,
}

impl Trace {
    fn shows_an_end_since(self, before: Self) -> bool {
        match (before, self) {
            (Self::Actor { incarnation: before, .. }, Self::Actor { incarnation, running }) => {
                incarnation > before || !running
            }
            (Self::Process { last_exit_ms: before }, Self::Process { last_exit_ms }) => last_exit_ms > before,
            (Self::Actor { .. } | Self::Process { .. } | Self::Blind, _) => false,
        }
    }
}

fn collect(view: &TreeView, node: &NodeName, into: &mut Observation) {
    let running = view.state == ActorState::Running;
    let seen = ActorSeen { running, incarnation: view.incarnation, answers: None };
    into.actors.insert((node.clone(), view.path.clone()), seen);
    view.children.iter().for_each(|child| collect(child, node, into));
}
