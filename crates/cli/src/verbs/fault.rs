//! The verbs about faults of the network.

use std::time::Duration;

use covenant_node::api::ApiError;
use covenant_node::api::fault::{FaultSet, Faults, FaultsLifted, LiftFault, RenewFault, SetFault};
use covenant_transport::{EndedLease, FaultLease};
use covenant_types::NodeName;

use super::part::{confirm, consequences};
use crate::args::{FaultVerb, Global};
use crate::output::{Output, Tone};

/// Does one verb about faults.
pub(crate) async fn run(global: &Global, verb: FaultVerb, output: &Output) -> Result<(), ApiError> {
    match verb {
        FaultVerb::Set(args) => {
            let client = at(global, &args.node).client().await?;
            let request = |dry_run| SetFault {
                spec: args.spec(),
                ttl_ms: millis(args.ttl),
                hard_deadline_ms: args.hard_deadline.map(millis),
                dry_run,
            };
            let plan: FaultSet = client.post("/v1/fault/set", &request(true)).await?;
            let what = format!("spoiling the line of {}", plan.node);
            if args.dry_run {
                output.view(&plan, |_| consequences(&what, &plan.consequences));
                return Ok(());
            }
            confirm(&what, &plan.consequences, args.yes, output)?;
            let done: FaultSet = client.post("/v1/fault/set", &request(false)).await?;
            output.view(&done, |_| match &done.lease {
                Some(lease) => format!("{} holds fault {}: {}", done.node, lease.id, lease.spec),
                None => format!("{} holds nothing", done.node),
            });
        }
        FaultVerb::Renew { node, id, ttl } => {
            let request = RenewFault { id, ttl_ms: millis(ttl) };
            let lease: FaultLease = at(global, &node).client().await?.post("/v1/fault/renew", &request).await?;
            output.view(&lease, |_| format!("fault {} holds for {} s more", lease.id, lease.left_ms / 1000));
        }
        FaultVerb::Ls { node } => {
            let faults: Faults = at(global, &node).client().await?.get("/v1/faults").await?;
            output.view(&faults, |output| table(&faults, output));
        }
        FaultVerb::Lift { node, id, all: _ } => {
            let done: FaultsLifted =
                at(global, &node).client().await?.post("/v1/fault/lift", &LiftFault { id }).await?;
            output.view(&done, |_| match done.lifted.len() {
                0 => format!("{} held no fault", done.node),
                count => format!("{count} faults of {} are lifted", done.node),
            });
        }
    }
    Ok(())
}

/// The verb names its node.
fn at(global: &Global, node: &NodeName) -> Global {
    Global { node: Some(node.clone()), ..global.clone() }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn table(faults: &Faults, output: &Output) -> String {
    if faults.holding.is_empty() && faults.ended.is_empty() {
        return format!("{} holds no fault and held none", faults.node);
    }
    let holding = |lease: &FaultLease| {
        let ends = format!("in {} s", lease.left_ms.div_ceil(1000));
        row(lease.id, (Tone::Bad, ends), &lease.spec, lease.effects, lease.by.clone())
    };
    let ended = |lease: &EndedLease| {
        row(lease.id, (Tone::Dim, lease.why.to_string()), &lease.spec, lease.effects, String::new())
    };
    let rows: Vec<_> = faults.holding.iter().map(holding).chain(faults.ended.iter().rev().map(ended)).collect();
    output.table(&["ID", "ENDS", "FAULT", "SEEN", "DROPPED", "DELAYED", "DOUBLED", "BLOCKED", "BY"], &rows)
}

fn row(
    id: u64,
    ends: (Tone, String),
    spec: &covenant_transport::FaultSpec,
    effects: covenant_transport::Effects,
    by: String,
) -> Vec<(Tone, String)> {
    let mut row = vec![(Tone::Plain, id.to_string()), ends, (Tone::Plain, spec.to_string())];
    let counts = [effects.seen, effects.dropped, effects.delayed, effects.duplicated, effects.blocked];
    row.extend(counts.map(|count| (Tone::Dim, count.to_string())));
    row.push((Tone::Dim, by));
    row
}
