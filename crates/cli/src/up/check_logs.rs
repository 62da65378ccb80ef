//! The step of `up --check` that verifies the public log of every hub.

use covenant_ledger::LedgerStatus;
use covenant_node::api::ApiError;

use super::UpCluster;
use super::check::{SEEN_WITHIN, wait_for};
use crate::output::Output;
use crate::verbs::ledger_verify::{VerifyDone, by_cluster};

/// Verifies the log of each hub by the keys that its cluster says and does it all again, until all have everything that was
/// booked and are equal: that of the hub that was killed too.
pub(super) async fn all_tell_the_same(cluster: &UpCluster, output: Output) -> Result<((), String), ApiError> {
    let client = cluster.client(cluster.layout.first());
    let status: LedgerStatus = client.get("/v1/ledger/status").await?;
    let addresses: Vec<String> =
        cluster.layout.node.iter().filter_map(|node| node.ledger).map(|at| format!("http://{at}/ledger")).collect();
    let log = wait_for("all public logs to verify and to be equal", SEEN_WITHIN, async || {
        let mut logs: Vec<VerifyDone> = Vec::new();
        for from in &addresses {
            logs.push(by_cluster(&client, from, output).await?);
        }
        let whole = logs.iter().all(|log| log.book.counted.commands >= status.position);
        let same = logs.windows(2).all(|pair| match pair {
            [a, b] => (a.entries, &a.root, &a.book.state) == (b.entries, &b.root, &b.book.state),
            _ => true,
        });
        let witnessed = logs.iter().all(|log| log.cosigned_by.len() >= log.quorum);
        Ok(if whole && same && witnessed { logs.pop() } else { None })
    })
    .await?;
    let (count, transfers) = (addresses.len(), log.book.transfers);
    let said = format!(
        "{count} logs of {} entries, cosigned by {} or more, replayed to {transfers} transfers",
        log.entries, log.quorum
    );
    Ok(((), said))
}
