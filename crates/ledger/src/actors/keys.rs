//! The keys of the public logs, asked of those who have them.

use std::sync::Arc;
use std::time::Duration;

use covenant_cluster::Cluster;
use covenant_types::{ActorPath, NodeName};
use futures_util::future::join_all;

use super::LedgerConfig;
use super::log::{LOG_PATH, LogMessage};
use crate::public_log::{LogKeys, quorum_of};
use crate::views::{LedgerKeys, VoterKeys};

/// How long a voter may take to say its keys.
const KEYS_WITHIN: Duration = Duration::from_secs(2);

/// The keys of these voters, as far as they say them now.
pub(super) async fn of(config: &LedgerConfig, cluster: Option<&Arc<Cluster>>, voters: Vec<NodeName>) -> LedgerKeys {
    let quorum = quorum_of(voters.len());
    let path: Option<ActorPath> = LOG_PATH.parse().ok();
    let asked = voters.into_iter().map(|node| {
        let remote = cluster.zip(path.as_ref()).map(|(cluster, path)| cluster.remote::<LogMessage>(&node, path));
        async move {
            let keys = match remote {
                _ if node == config.name => config.own_keys(),
                Some(remote) => remote.call(|reply| LogMessage::Keys { reply }, KEYS_WITHIN).await.ok().flatten(),
                None => None,
            };
            let (log, witness) = keys.map(|LogKeys { log, witness }| (log, witness)).unzip();
            VoterKeys { node, log, witness }
        }
    });
    LedgerKeys { quorum, voters: join_all(asked).await }
}
