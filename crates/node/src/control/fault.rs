//! The verbs about faults of the network. They come over the control API, which no fault touches.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::{Extension, Json};
use covenant_identity::Verb;
use covenant_transport::{Direction, Fault, FaultLease, FaultSpec, Faults as Held, LeaseError, LeaseTerms, PeerScope};
use covenant_types::format_duration;

use super::caller::{Caller, Done, act};
use super::{Answer, Control, body};
use crate::api::fault::{FAULT_HOLDS_AT_MOST, FaultSet, Faults, FaultsLifted, LiftFault, RenewFault, SetFault};
use crate::api::{ApiError, ErrorKind};

pub(crate) async fn set(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<FaultSet> {
    let SetFault { spec, ttl_ms, hard_deadline_ms, dry_run } = body(&bytes)?;
    let ttl = Duration::from_millis(ttl_ms);
    let hard_deadline = hard_deadline_ms.map_or(FAULT_HOLDS_AT_MOST.max(ttl), Duration::from_millis);
    let node = control.config.node.name.clone();
    spec.fault.check().map_err(|error| ApiError::usage(format!("{error}; nothing was done")))?;
    let answer =
        FaultSet { node: node.clone(), consequences: consequences(&control, &spec, ttl, hard_deadline), lease: None };
    if dry_run {
        control.allow(&caller, Verb::FaultSet).await?;
        known(&control, &spec.peer)?;
        return Ok(Json(answer));
    }
    let target = format!("{node}: {spec}");
    act(&control, &caller, Verb::FaultSet, target, async {
        known(&control, &spec.peer)?;
        let terms = LeaseTerms { ttl, hard_deadline, by: caller.to_string() };
        let lease = held(&control)?.set(spec.clone(), terms).map_err(no)?;
        control.resolve_faults();
        tracing::warn!(id = lease.id, fault = %spec, by = %caller, "a fault was set");
        let after = format!("fault {} for {}", lease.id, format_duration(ttl));
        Ok(Done { answer: FaultSet { lease: Some(lease), ..answer }, before: String::new(), after })
    })
    .await
}

pub(crate) async fn renew(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<FaultLease> {
    let RenewFault { id, ttl_ms } = body(&bytes)?;
    let target = format!("{}: fault {id}", control.config.node.name);
    act(&control, &caller, Verb::FaultSet, target, async {
        let answer = held(&control)?.renew(id, Duration::from_millis(ttl_ms)).map_err(no)?;
        let after = format!("{} ms more", answer.left_ms);
        Ok(Done { answer, before: String::new(), after })
    })
    .await
}

pub(crate) async fn lift(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<FaultsLifted> {
    let LiftFault { id } = body(&bytes)?;
    let node = control.config.node.name.clone();
    let target = id.map_or_else(|| format!("{node}: all faults"), |id| format!("{node}: fault {id}"));
    act(&control, &caller, Verb::FaultLift, target, async {
        let faults = held(&control)?;
        let before = faults.leases();
        let lifted = match id {
            Some(id) => {
                faults.lift(id).map_err(no)?;
                vec![id]
            }
            // One that ended a moment ago is gone as well.
            None => before.iter().map(|lease| lease.id).filter(|id| faults.lift(*id).is_ok()).collect(),
        };
        let before = before.iter().filter(|lease| lifted.contains(&lease.id));
        let before: Vec<String> = before.map(|lease| format!("fault {}: {}", lease.id, lease.spec)).collect();
        tracing::warn!(?lifted, by = %caller, "faults were lifted");
        Ok(Done {
            answer: FaultsLifted { node: node.clone(), lifted },
            before: before.join(", "),
            after: "lifted".to_owned(),
        })
    })
    .await
}

pub(crate) async fn list(State(control): State<Control>, Extension(caller): Extension<Caller>) -> Answer<Faults> {
    control.allow(&caller, Verb::FaultList).await?;
    let faults = held(&control)?;
    let node = control.config.node.name.clone();
    Ok(Json(Faults { node, ended: faults.ended(), holding: faults.leases() }))
}

impl crate::node::Shared {
    /// Tells faults about nodes where those are now.
    pub(crate) fn resolve_faults(&self) {
        if let Some(transport) = self.cluster.transport() {
            transport.faults().resolve(|name| self.cluster.addresses(name));
        }
    }
}

fn held(control: &Control) -> Result<Arc<Held>, ApiError> {
    let transport = control.cluster.transport();
    let left = || ApiError::new(ErrorKind::Conflict, "the node has left the cluster and has no line to spoil");
    transport.map(|transport| Arc::clone(transport.faults())).ok_or_else(left)
}

/// Refuses a fault about a node that nobody has heard of: it would do nothing and look like success.
fn known(control: &Control, peer: &PeerScope) -> Result<(), ApiError> {
    match peer {
        PeerScope::Node(name) if *name == control.config.node.name => {
            Err(ApiError::usage("a node has no line to itself; nothing was done"))
        }
        PeerScope::Node(name) if control.cluster.addresses(name).is_empty() => {
            Err(ApiError::new(ErrorKind::NotFound, format!("no member {name} is known here; nothing was done")))
        }
        PeerScope::All | PeerScope::Address(_) | PeerScope::Node(_) => Ok(()),
    }
}

fn consequences(control: &Control, spec: &FaultSpec, ttl: Duration, hard_deadline: Duration) -> Vec<String> {
    let node = &control.config.node.name;
    let way = match spec.direction {
        Direction::Out => "sends",
        Direction::In => "receives",
        Direction::Both => "sends and receives",
    };
    let mut list = vec![format!("what {node} {way} meets this: {spec}")];
    if spec.fault == Fault::Partition {
        list.push("members that hear nothing are called down, and their calls end in no connection".to_owned());
    }
    let (ttl, hard) = (format_duration(ttl), format_duration(hard_deadline));
    list.push(format!("it ends by itself after {ttl}; renewed, after {hard} at the latest; with the process at once"));
    list.push(format!(
        "the control API does not go over this line: end it before with `covenant fault lift {node} ID`"
    ));
    list
}

fn no(error: LeaseError) -> ApiError {
    let kind = match &error {
        LeaseError::Fault(_) | LeaseError::Time => ErrorKind::Usage,
        LeaseError::TooMany(_) => ErrorKind::Refused,
        LeaseError::NoSuchLease(_) => ErrorKind::NotFound,
        _ => ErrorKind::Failure,
    };
    ApiError::new(kind, format!("{error}; nothing was done"))
}
