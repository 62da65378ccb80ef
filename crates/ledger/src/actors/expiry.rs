//! Frees money whose time set aside is over. Only the node that leads does so, and the time that counts is the one that the group
//! gives the command: two leaders at once, or a clock that is wrong, free nothing early.

use std::sync::{Arc, Weak};
use std::time::Duration;

use covenant_book::Order;
use covenant_consensus::Consensus;
use covenant_env::Env;
use rand::Rng;

use crate::member::Member;
use crate::order;

/// How often a leader looks whether something is over.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The most transfers that one command ends: the next follows a moment later.
const ENDED_AT_ONCE: u32 = 1000;

/// Looks for as long as the member lives and the task is let.
pub(super) async fn expire_for_ever(member: Weak<Consensus<Member>>, env: Env) {
    let mut ids = env.random.derive("ledger expiry");
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(member) = member.upgrade() else { return };
        if !member.status().leads {
            continue;
        }
        match is_due(&member, &env).await {
            Ok(false) => {}
            Ok(true) => {
                let command = order::command(Order::Expire { most: ENDED_AT_ONCE });
                // Whoever leads next looks too.
                if let Err(error) = member.write(ids.random(), command).await {
                    tracing::debug!(%error, "transfers whose time is over stay pending for now");
                }
            }
            Err(error) => tracing::warn!(error, "it is not known whether transfers are over"),
        }
    }
}

/// Whether there is something to end, as far as this node's clock and book know.
async fn is_due(member: &Arc<Consensus<Member>>, env: &Env) -> Result<bool, String> {
    let (member, now) = (member.clone(), env.wall());
    let next = env.blocking(move || member.read_stale(Member::next_expiry)).await.map_err(|error| error.to_string())?;
    Ok(next.map_err(|error| error.to_string())?.is_some_and(|next| next <= now))
}
