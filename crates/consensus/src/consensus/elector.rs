//! Decides when to stand for election.
//!
//! A voter votes for nobody as long as it hears a leader, so standing earlier than that is idle. Each wait is drawn anew:
//! voters that stood at the same time once do not again. Who led alone waits for nobody: nobody else can.

use std::time::Duration;

use openraft::Raft;
use rand::Rng;
use rand::rngs::StdRng;

use super::{Engine, Shared};
use crate::types::Types;

/// Calls elections when no leader is heard, until the engine stops.
pub(super) async fn elect<R>(shared: &Shared<R>, engine: &Engine, random: &mut StdRng) {
    let raft = &engine.raft;
    if engine.led && is_alone(shared, raft).await && raft.trigger().elect().await.is_err() {
        return;
    }
    let mut metrics = raft.metrics();
    let mut had_leader = true;
    loop {
        let wait = silence_before_election(shared.config.election_timeout, had_leader, random);
        // Until nobody was heard for so long; whoever is heard meanwhile makes it longer.
        loop {
            let left = wait.saturating_sub(shared.env.now().since(*shared.heard.lock()));
            if left.is_zero() {
                break;
            }
            tokio::select! {
                biased;
                stopped = metrics.wait_for(|metrics| metrics.running_state.is_err()) => {
                    let _either_way = stopped.is_ok();
                    return;
                }
                () = tokio::time::sleep(left) => {}
            }
        }
        *shared.heard.lock() = shared.env.now();
        let (leads, committed) = {
            let metrics = metrics.borrow();
            (metrics.state.is_leader(), metrics.vote.is_committed())
        };
        had_leader = committed;
        if !leads && raft.trigger().elect().await.is_err() {
            return;
        }
    }
}

/// Whether nobody else votes, as soon as the engine says who does.
async fn is_alone<R>(shared: &Shared<R>, raft: &Raft<Types>) -> bool {
    let mut metrics = raft.metrics();
    let known = metrics.wait_for(|metrics| {
        metrics.running_state.is_err() || metrics.membership_config.membership().voter_ids().next().is_some()
    });
    let Ok(metrics) = known.await else { return false };
    metrics.membership_config.membership().voter_ids().eq([shared.me.into()])
}

/// Longer after a leader, which others may still hear, than after an election that nobody won.
fn silence_before_election(timeout: Duration, had_leader: bool, random: &mut StdRng) -> Duration {
    let part = random.random_range(0.0..1.0);
    if had_leader { timeout + timeout.mul_f64(part * 0.5) } else { timeout / 4 + timeout.mul_f64(part * 0.75) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use covenant_env::Random;

    #[test]
    fn each_wait_is_another_one_and_stays_in_its_bounds() {
        let timeout = Duration::from_millis(1000);
        let mut random = Random::new(1).derive("elector");
        for had_leader in [true, false] {
            let mut waits: Vec<_> =
                (0..100).map(|_| silence_before_election(timeout, had_leader, &mut random)).collect();
            let bounds = if had_leader { (1000, 1500) } else { (250, 1000) };
            assert!(waits.iter().all(|wait| (bounds.0..=bounds.1).contains(&wait.as_millis())));
            waits.sort();
            waits.dedup();
            assert!(waits.len() > 90);
        }
    }
}
