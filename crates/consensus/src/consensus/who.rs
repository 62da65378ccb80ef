//! Asks other nodes who they are and who is a member.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use covenant_types::NodeId;

use super::Shared;
use crate::message::{Envelope, Lane, Request, Response, Who};
use crate::replicated::Replicated;
use crate::types::{Instance, StoredMembership};

/// Asks `node`.
pub(super) async fn ask<R>(shared: &Shared<R>, node: NodeId, within: Duration) -> Result<Who, String> {
    let request = Envelope { from: shared.instance, to: Instance::default(), request: Request::Who }.encode();
    let answer = tokio::time::timeout(within, shared.network.call(node, Lane::Vote, request)).await;
    let answer = answer.map_err(|_| format!("no answer within {within:?}"))?.map_err(|error| error.to_string())?;
    match Response::decode(&answer) {
        Ok(Response::Who(who)) => Ok(who),
        Ok(Response::Refused(why)) => Err(why),
        Ok(_) | Err(_) => Err("it answered something else than was asked".to_owned()),
    }
}

/// Asks those who are members as far as this node knows who is one now, whenever somebody spoke who is not. A node that was
/// away while the group changed finds its new leader so.
pub(super) async fn vouch<R: Replicated>(shared: Arc<Shared<R>>) {
    loop {
        shared.doubt.notified().await;
        let Some(own) = shared.members() else { continue };
        let mut newest: Option<StoredMembership> = None;
        for node in believed(&shared, &own) {
            if let Ok(who) = ask(&shared, node, shared.config.election_timeout).await {
                let known = newest.as_ref().map_or(own.log_id(), StoredMembership::log_id);
                if who.members.log_id() > known {
                    newest = Some(who.members);
                }
            }
        }
        if newest.is_some() {
            *shared.vouched.write() = newest;
        }
        // However many strangers knock.
        tokio::time::sleep(shared.config.election_timeout).await;
    }
}

/// Whose word counts: members by our log, or the first voters where it names none. At most as many as a membership may have.
fn believed<R>(shared: &Shared<R>, own: &StoredMembership) -> BTreeSet<NodeId> {
    let mut nodes: BTreeSet<NodeId> = own.membership().nodes().map(|(node, _)| NodeId::from(*node)).collect();
    if nodes.is_empty() {
        nodes.clone_from(&shared.first_voters.read());
    }
    nodes.remove(&shared.me);
    nodes
}
