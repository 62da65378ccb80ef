//! What all nodes say of themselves at one moment, as far as they answer.

use std::time::Duration;

use covenant_cluster::{MemberState, MemberView};
use covenant_node::api::{ApiError, ErrorKind, Status};
use covenant_runtime::TreeView;
use futures_util::future::join_all;
use serde::Serialize;

use crate::args::Global;
use crate::client::Client;
use crate::rates::{Rates, RatesView};

/// The whole cluster at one moment: what `covenant top --json` prints.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct TopSnapshot {
    pub(crate) nodes: Vec<TopNode>,
}

/// One node.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TopNode {
    /// Its name; its address where it has not said its name yet.
    pub(crate) name: String,
    /// What it says of itself; none where it does not answer.
    pub(crate) status: Option<Status>,
    /// Why it does not answer.
    pub(crate) error: Option<String>,
    /// How the first node that answers sees it.
    pub(crate) member: Option<MemberState>,
    pub(crate) tree: Option<TreeView>,
    /// Messages a second, by path.
    pub(crate) rates: RatesView,
    /// Actors and supervisors in its tree.
    pub(crate) actors: usize,
    /// How often they came back.
    pub(crate) restarts: u64,
    /// Messages that wait.
    pub(crate) waiting: usize,
    /// Messages a second of all of them.
    pub(crate) per_second: f64,
}

/// Asks the nodes, and counts between two looks.
pub(crate) struct Asker {
    nodes: Vec<(String, Client, Rates)>,
}

/// How long a node may take to answer before it counts as silent.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

impl Asker {
    /// The node that the options name, or all of the folder.
    pub(crate) async fn new(global: &Global) -> Result<Self, ApiError> {
        let one = global.socket.is_some() || global.address.is_some() || global.node.is_some();
        let clients = if one {
            let client = global.client().await?;
            let status: Status = client.get("/v1/status").await?;
            vec![(status.name.to_string(), client)]
        } else {
            let layout = global.layout()?;
            let client =
                |node: &crate::up::layout::NodePlan| Ok((node.name.to_string(), global.client_of(&node.name)?));
            layout.node.iter().map(client).collect::<Result<_, ApiError>>()?
        };
        Ok(Self { nodes: clients.into_iter().map(|(name, client)| (name, client, Rates::new())).collect() })
    }

    /// Asks all nodes at once.
    pub(crate) async fn look(&mut self) -> TopSnapshot {
        let asked = self.nodes.iter().map(async |(_, client, _)| {
            tokio::time::timeout(ANSWER_WITHIN, ask(client)).await.unwrap_or_else(|_| {
                Err(ApiError::new(ErrorKind::Timeout, format!("no answer within {} s", ANSWER_WITHIN.as_secs())))
            })
        });
        let answers = join_all(asked).await;
        let members: Vec<MemberView> =
            answers.iter().flatten().map(|answer| answer.members.clone()).next().unwrap_or_default();
        let node = |((name, _, rates), answer): (&mut (String, Client, Rates), Result<Heard, ApiError>)| {
            let member = members.iter().find(|member| member.name.as_str() == name).map(|member| member.state);
            TopNode::new(name, member, answer, rates)
        };
        TopSnapshot { nodes: self.nodes.iter_mut().zip(answers).map(node).collect() }
    }
}

struct Heard {
    status: Status,
    tree: TreeView,
    members: Vec<MemberView>,
}

async fn ask(client: &Client) -> Result<Heard, ApiError> {
    Ok(Heard {
        status: client.get("/v1/status").await?,
        tree: client.get("/v1/tree").await?,
        members: client.get("/v1/members").await?,
    })
}

impl TopNode {
    fn new(name: &str, member: Option<MemberState>, answer: Result<Heard, ApiError>, rates: &mut Rates) -> Self {
        let mut node = Self {
            name: name.to_owned(),
            status: None,
            error: None,
            member,
            tree: None,
            rates: RatesView::new(),
            actors: 0,
            restarts: 0,
            waiting: 0,
            per_second: 0.0,
        };
        match answer {
            Ok(Heard { status, tree, .. }) => {
                node.rates = rates.count(&tree);
                node.per_second = node.rates.values().sum();
                node.sum_up(&tree);
                (node.status, node.tree) = (Some(status), Some(tree));
            }
            Err(error) => node.error = Some(error.message),
        }
        node
    }

    fn sum_up(&mut self, view: &TreeView) {
        self.actors += 1;
        self.restarts += view.restarts;
        self.waiting += view.mailbox.map_or(0, |mailbox| mailbox.depth);
        view.children.iter().for_each(|child| self.sum_up(child));
    }
}

#[cfg(test)]
impl TopNode {
    /// A node that answered, without asking one.
    pub(super) fn of(name: &str, tree: TreeView, per_second: &[(&str, f64)]) -> Self {
        let mut node = Self::new(name, Some(MemberState::Reachable), Err(ApiError::failure("")), &mut Rates::new());
        node.error = None;
        node.rates = per_second.iter().map(|(path, rate)| (path.parse().unwrap(), *rate)).collect();
        node.per_second = node.rates.values().sum();
        node.sum_up(&tree);
        node.tree = Some(tree);
        node
    }
}
