//! What a small cluster looks like right now: asked of its nodes, shown by the live view and told by the plain one.

use std::path::Path;

use covenant_cluster::MemberView;
use covenant_content::ContentView;
use covenant_ledger::LedgerStatus;
use covenant_node::api::Status;
use covenant_runtime::TreeView;
use covenant_types::NodeName;
use covenant_watch::Incident;
use futures_util::future::join_all;

use super::layout::{Layout, NodePlan, node_dir};
use super::processes::{ProcessView, ProcessesRef};
use crate::client::Client;

/// What one node says of itself; `None` where it does not answer.
#[derive(Clone, Debug)]
pub(crate) struct NodeSnapshot {
    pub(crate) name: NodeName,
    pub(crate) process: Option<ProcessView>,
    pub(crate) status: Option<Status>,
    pub(crate) content: Option<ContentView>,
}

/// The whole cluster at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) nodes: Vec<NodeSnapshot>,
    /// Members as one node sees them, and which node that is.
    pub(crate) members: Option<(NodeName, Vec<MemberView>)>,
    /// The tree of the chosen node.
    pub(crate) tree: Option<(NodeName, TreeView)>,
    /// The book as the first node that reaches it tells it, or why none does.
    pub(crate) ledger: Option<Result<LedgerStatus, String>>,
    /// Open and recently closed incidents, by node.
    pub(crate) incidents: Vec<(NodeName, Incident)>,
}

impl Snapshot {
    /// Asks all nodes at once. `chosen` is the node whose tree is wanted.
    pub(crate) async fn take(processes: &ProcessesRef, layout: &Layout, folder: &Path, chosen: usize) -> Self {
        let views = processes.views();
        let nodes = join_all(layout.node.iter().map(|plan| node(plan, folder, &views))).await;
        let answering: Vec<&NodePlan> =
            layout.node.iter().zip(&nodes).filter(|(_, node)| node.status.is_some()).map(|(plan, _)| plan).collect();
        let mut snapshot = Self { nodes: Vec::new(), ..Self::default() };
        if let Some(first) = answering.first() {
            let client = client(first, folder);
            snapshot.members = client.get("/v1/members").await.ok().map(|members| (first.name.clone(), members));
            snapshot.ledger = Some(client.get("/v1/ledger/status").await.map_err(|error| error.message));
        }
        if let Some(plan) = layout.node.get(chosen) {
            let tree = client(plan, folder).get("/v1/tree").await;
            snapshot.tree = tree.ok().map(|tree| (plan.name.clone(), tree));
        }
        let asked = answering.iter().map(async |plan| {
            let found: Vec<Incident> = client(plan, folder).get("/v1/incidents").await.unwrap_or_default();
            found.into_iter().map(|incident| (plan.name.clone(), incident)).collect::<Vec<_>>()
        });
        snapshot.incidents = join_all(asked).await.into_iter().flatten().collect();
        snapshot.nodes = nodes;
        snapshot
    }
}

async fn node(plan: &NodePlan, folder: &Path, views: &[ProcessView]) -> NodeSnapshot {
    let client = client(plan, folder);
    let process = views.iter().find(|view| view.node == plan.name).cloned();
    let up = process.as_ref().is_some_and(|process| process.pid.is_some());
    let (status, content) = match up {
        true => (client.get("/v1/status").await.ok(), client.get("/v1/content").await.ok()),
        false => (None, None),
    };
    NodeSnapshot { name: plan.name.clone(), process, status, content }
}

fn client(plan: &NodePlan, folder: &Path) -> Client {
    Client::socket(&node_dir(folder, &plan.name).join("control.sock"))
}
