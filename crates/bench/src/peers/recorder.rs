//! What the flight recorder costs: two systems in one process, one with it and one without, take turns with the same casts.

use std::time::Instant;

use covenant_runtime::{Observe, Ref, Resources, System};
use covenant_supervision::Host as ActorHost;
use covenant_types::ActorPath;

use super::ours::{self, Message};
use super::{Measured, median};
use crate::Failure;
use crate::nodes::{AMPLE, Host, start_observed};

/// Pairs that are compared, after one that warms up.
const PAIRS: usize = 30;
/// Casts of one turn: some tenths of a second, so that what the machine does beside it does not fall into one turn alone.
const CASTS: u64 = 4 * super::CASTS;
/// Of so many sorted differences these two, counted from 0, hold the median between them in 95.7 of 100 cases, however the
/// differences are spread: the chance that 30 tosses of a coin show heads 10 to 20 times.
const INTERVAL: [usize; 2] = [9, 20];

/// Which part of the throughput the recorder takes: the median of the pairs, and the ends of its interval.
pub(super) fn measure(host: ActorHost) -> Measured {
    let node = Host::new(1)?;
    let (with, one) = start(&node, host, true)?;
    let (without, bare) = start(&node, host, false)?;
    let mut lost = Vec::with_capacity(PAIRS);
    for pair in 0..=PAIRS {
        // Who goes first changes from pair to pair.
        let (recorded, unrecorded) = if pair % 2 == 0 {
            let recorded = node.on_work(casts(one.clone()))?;
            (recorded, node.on_work(casts(bare.clone()))?)
        } else {
            let unrecorded = node.on_work(casts(bare.clone()))?;
            (node.on_work(casts(one.clone()))?, unrecorded)
        };
        if pair > 0 {
            lost.push(1.0 - recorded / unrecorded);
        }
    }
    drop((with, without));
    node.close();
    lost.sort_by(f64::total_cmp);
    let [low, high] = INTERVAL.map(|at| lost.get(at).copied().unwrap_or(f64::NAN));
    Ok(Some(vec![median(lost), low, high]))
}

fn start(node: &Host, host: ActorHost, record: bool) -> Result<(System, Ref<Message>), Failure> {
    let observe = Observe { record, ..Observe::default() };
    let system = start_observed(node, ours::files(host), ours::registry(), Resources::new(), observe)?;
    let (starter, pool): (_, ActorPath) = (system.clone(), "/pool".parse()?);
    let one = node.on_work(async move { ours::start_one(&starter, &pool).await })?;
    Ok((system, one))
}

/// How many casts were handled in a second.
async fn casts(one: Ref<Message>) -> Result<f64, Failure> {
    let before = one.call(Message::Counted, AMPLE).await?;
    let began = Instant::now();
    for _ in 0..CASTS {
        one.cast(Message::Count(1)).await?;
    }
    // A call waits behind all that was sent.
    while one.call(Message::Counted, AMPLE).await? < before + CASTS {}
    Ok(crate::stats::rate(CASTS, began.elapsed()))
}
