//! Orders of other nodes to end an actor of this one, as lines of the audit log.
//!
//! What was done is a line each time. What was refused or led to nothing is one a minute for each node, which says how many
//! there were since the last: a node that orders on and on fills no disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use covenant_cluster::{OrderLog, OrderNoted, RECORDS_MAX, RemoteOrder};
use covenant_env::Env;
use covenant_identity::Verb;
use covenant_runtime::FarOrder;
use covenant_types::{NodeId, Uptime};

use crate::audit::{Act, AuditLog};

/// How often a node is told of in the audit log that orders what it may not, or what cannot be done.
const REFUSED_EVERY: Duration = Duration::from_secs(60);

/// Writes orders into the audit log.
pub(crate) struct OrdersAudited {
    audit: Arc<AuditLog>,
    env: Env,
    refused: Mutex<Refused>,
}

/// Whose orders that led to nothing were written down of late. No more nodes than there may be records of.
#[derive(Debug, Default)]
struct Refused(BTreeMap<NodeId, Since>);

#[derive(Debug)]
struct Since {
    written: Uptime,
    /// Not written down since.
    more: u64,
}

impl OrdersAudited {
    pub(crate) fn new(audit: Arc<AuditLog>, env: Env) -> Self {
        Self { audit, env, refused: Mutex::default() }
    }
}

impl Refused {
    /// Whether a refusal is to be written down now, and how many were not since the last.
    fn write(&mut self, now: Uptime, node: NodeId) -> Option<u64> {
        if let Some(since) = self.0.get_mut(&node) {
            if now.since(since.written) < REFUSED_EVERY {
                since.more += 1;
                return None;
            }
        } else if self.0.len() >= RECORDS_MAX {
            self.0.retain(|_, since| now.since(since.written) < REFUSED_EVERY);
            if self.0.len() >= RECORDS_MAX {
                return None;
            }
        }
        let before = self.0.insert(node, Since { written: now, more: 0 });
        Some(before.map_or(0, |since| since.more))
    }
}

/// The line of an order. `more` of its node's led to nothing before it and were not written down.
fn line(order: &RemoteOrder, more: u64) -> Act {
    let RemoteOrder { from, order, path, allowed, outcome } = order;
    let (verb, after) = match order {
        FarOrder::Stop => ("actor stop".to_owned(), "stopped"),
        FarOrder::Kill => (Verb::ActorKill.to_string(), "killed"),
    };
    let (after, said) = match outcome {
        Ok(()) => (after.to_owned(), "ok".to_owned()),
        Err(error) => (String::new(), error.to_string()),
    };
    let result = match more {
        0 => said,
        _ => format!("{said}; {more} more led to nothing since the last line"),
    };
    debug_assert!(*allowed || outcome.is_err(), "what is not allowed is not done");
    Act {
        who: format!("node {} ({})", from.name, from.role),
        verb,
        target: path.to_string(),
        before: String::new(),
        after,
        result,
    }
}

impl OrderLog for OrdersAudited {
    fn note(&self, order: RemoteOrder) -> OrderNoted {
        let more = match order.outcome.is_ok() {
            true => 0,
            false => {
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                match refused.write(self.env.now(), order.from.node) {
                    Some(more) => more,
                    None => return Box::pin(std::future::ready(Ok(()))),
                }
            }
        };
        let (audit, env, act) = (Arc::clone(&self.audit), self.env.clone(), line(&order, more));
        Box::pin(async move {
            let at = env.wall();
            // On disk before it is answered, as an operator's act is.
            let recorded = env.blocking(move || audit.record(at, act)).await.map_err(|lost| lost.to_string())?;
            recorded.map(drop).map_err(|error| {
                tracing::error!(%error, "an order of another node could not be audited");
                error.to_string()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use covenant_runtime::RemoteSender;
    use covenant_types::{CallError, NodeName, Region, Role};

    use super::*;

    fn order(order: FarOrder, outcome: Result<(), CallError>) -> RemoteOrder {
        let from = RemoteSender {
            node: NodeId([1; 16]),
            name: NodeName::new("hub-one").unwrap(),
            role: Role::Hub,
            region: Region::Africa,
        };
        let allowed = outcome.is_ok();
        RemoteOrder { from, order, path: "/content/store".parse().unwrap(), allowed, outcome }
    }

    #[test]
    fn a_line_says_who_what_of_which_actor_and_what_became_of_it() {
        let act = line(&order(FarOrder::Kill, Ok(())), 0);
        let said = [&act.who, &act.verb, &act.target, &act.after, &act.result].map(String::as_str);
        assert_eq!(said, ["node hub-one (hub)", "actor kill", "/content/store", "killed", "ok"]);
        let act = line(&order(FarOrder::Stop, Err(CallError::Rejected("not allowed".to_owned()))), 3);
        assert_eq!((act.verb.as_str(), act.after.as_str()), ("actor stop", ""));
        assert!(act.result.contains("not allowed") && act.result.contains("3 more"), "{}", act.result);
    }

    #[test]
    fn who_orders_on_and_on_what_it_may_not_is_a_line_a_minute() {
        let mut refused = Refused::default();
        let (one, two) = (NodeId([1; 16]), NodeId([2; 16]));
        let at = |seconds| Uptime(Duration::from_secs(seconds));
        assert_eq!(refused.write(at(0), one), Some(0));
        assert_eq!([1, 30, 59].map(|second| refused.write(at(second), one)), [None; 3]);
        assert_eq!(refused.write(at(59), two), Some(0));
        assert_eq!(refused.write(at(60), one), Some(3));
        assert_eq!(refused.write(at(120), one), Some(0));
    }
}
