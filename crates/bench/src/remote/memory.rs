//! What an idle connection between two nodes weighs.
//!
//! Nodes of one process connect each to each, so that what they weigh grows with the square of their number as far as it is
//! connections, and with their number as far as it is nodes: three weighings tell the two apart.

use std::process::Command;
use std::time::Duration;

use crate::Failure;
use crate::nodes::{Authority, Host, start_node, until_reachable};
use crate::peers::resident;
use crate::report::{Outcome, Row, Unit};

const ROUNDS: usize = 3;
/// Nodes at the second weighing; at the third there are this many more.
const STEP: usize = 12;
/// How long they are left alone before they are weighed.
const IDLE: Duration = Duration::from_secs(4);
const MARK: f64 = 256.0 * 1024.0;

pub(super) fn run() -> Result<Outcome, Failure> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let output = Command::new(std::env::current_exe()?).arg("--weigh-connections").output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        rounds.push(String::from_utf8(output.stdout)?.trim().parse()?);
    }
    let rows = vec![Row::new("memory of an idle connection, one end", Unit::Bytes, rounds).at_most(MARK)];
    let notes = vec![format!(
        "1, {} and {} nodes in a process of their own, each connected to each, weighed after {} s of rest: what grows with the \
         square of their number, by ends of connections, {ROUNDS} times",
        STEP + 1,
        2 * STEP + 1,
        IDLE.as_secs()
    )];
    Ok(Outcome { rows, notes })
}

/// The resident memory of one end of an idle connection, in bytes.
pub(crate) fn weigh() -> Result<String, Failure> {
    let host = Host::new(39)?;
    let authority = Authority::new(&host.env)?;
    let mut clusters = vec![start_node(&authority.transport("n0", &host.env)?, &host, Vec::new())?];
    let mut weights = Vec::new();
    for count in [1, STEP + 1, 2 * STEP + 1] {
        while clusters.len() < count {
            let config = authority.transport(&format!("n{}", clusters.len()), &host.env)?;
            clusters.push(start_node(&config, &host, vec![clusters[0].me().address])?);
        }
        for cluster in &clusters {
            until_reachable(&host, cluster, count)?;
        }
        std::thread::sleep(IDLE);
        let connected = clusters.iter().map(|cluster| connections(cluster)).sum::<usize>();
        if connected != count * (count - 1) {
            return Err(format!("{count} nodes have {connected} ends of connections, not each to each").into());
        }
        weights.push(resident()?);
    }
    let [one, some, many] = weights[..] else { return Err("three weighings".into()) };
    // n nodes have n (n - 1) ends: the second difference of that over this step.
    let ends = 2 * STEP * STEP;
    let weight = (many - 2.0 * some + one) / ends as f64;
    clusters.iter().for_each(|cluster| cluster.abandon());
    host.close();
    Ok(format!("{weight}"))
}

fn connections(cluster: &covenant_cluster::Cluster) -> usize {
    cluster.members().iter().filter(|member| cluster.peer(&member.name).is_some()).count()
}
