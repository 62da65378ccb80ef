//! Placement among the other parts of a node: who may vote on it, and who does.

use std::collections::BTreeMap;
use std::sync::Arc;

use covenant_cluster::Cluster;
use covenant_consensus::{Groups, Sender};
use covenant_env::Env;
use covenant_ledger::{LedgerConfig, Places};
use covenant_placement::{Placement, PlacementConfig, Surroundings, Voters};
use covenant_types::NodeId;

use crate::files::NodeFiles;

/// What placement must know of the cluster and the ledger.
struct Around {
    cluster: Arc<Cluster>,
    ledger: Arc<LedgerConfig>,
}

impl Surroundings for Around {
    fn candidates(&self) -> BTreeMap<NodeId, bool> {
        self.cluster.places().into_iter().map(|place| (place.node, place.reachable)).collect()
    }

    fn ledger_voters(&self) -> Option<Voters> {
        let status = self.ledger.status().filter(|status| status.leads)?;
        let (term, index) = status.settled?;
        Some(Voters { term, index, nodes: status.voters })
    }
}

/// What this node knows of placement, and the leases it has.
pub(crate) fn open(
    me: Sender,
    files: &NodeFiles,
    groups: Groups,
    cluster: &Arc<Cluster>,
    ledger: &Arc<LedgerConfig>,
    env: &Env,
) -> (Arc<PlacementConfig>, Arc<Placement>) {
    let around = Arc::new(Around { cluster: cluster.clone(), ledger: ledger.clone() });
    let config = Arc::new(PlacementConfig::new(me, cluster.me().epoch, files.placement(), groups, around));
    let placement = Placement::new(config.clone(), cluster.clone(), env.clone());
    (config, Arc::new(placement))
}
