//! Where a path, a name or a group lives.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::{Extension, Json};
use covenant_cluster::{Sought, SoughtError};
use covenant_identity::Verb;
use covenant_placement::key_of_name;

use super::caller::Caller;
use super::{Answer, Control, body};
use crate::api::whereabouts::{HeldLease, Where, WhereFound};
use crate::api::{ApiError, ErrorKind};

/// Asks the nodes that may have it. One that is found nowhere, while all answered, is an error.
pub(crate) async fn locate(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<WhereFound> {
    control.allow(&caller, Verb::Where).await?;
    let Where { what } = body(&bytes)?;
    let sought: Sought = what.parse().map_err(|error: SoughtError| ApiError::usage(error.to_string()))?;
    let (whereabouts, held) = futures_util::join!(control.cluster.locate(&sought), held(&control, &sought));
    let (held, held_unknown) = match held {
        Ok(held) => (held, None),
        Err(why) => (None, Some(why)),
    };
    if held.is_none()
        && held_unknown.is_none()
        && whereabouts.found.is_empty()
        && whereabouts.unseen == 0
        && whereabouts.silent.is_empty()
    {
        let nowhere = match &sought {
            Sought::Path(_) => format!("no node has the path {sought}"),
            Sought::Name(_) => format!("no actor has the name {sought}, and none is in a group of that name"),
        };
        return Err(ApiError::new(ErrorKind::NotFound, nowhere));
    }
    Ok(Json(WhereFound { whereabouts, held, held_unknown }))
}

/// How long a voter may take to say who holds something.
const HELD_WITHIN: Duration = Duration::from_secs(1);

/// Who holds the lease that stands for it.
async fn held(control: &Control, sought: &Sought) -> Result<Option<HeldLease>, String> {
    let key = match sought {
        Sought::Name(name) => key_of_name(name),
        Sought::Path(_) => None,
    };
    let Some(key) = key else { return Ok(None) };
    let (lease, staleness) = control.placement.look(&key, HELD_WITHIN).await.map_err(|error| error.to_string())?;
    let Some(lease) = lease else { return Ok(None) };
    let name = control.cluster.members().into_iter().find(|member| member.id == lease.node);
    Ok(Some(HeldLease {
        key: lease.key,
        node: name.map_or_else(|| lease.node.to_string(), |member| member.name.to_string()),
        boot: lease.boot,
        path: lease.path,
        token: lease.token,
        granted: lease.granted,
        age_ms: u64::try_from(staleness.age.as_millis()).unwrap_or(u64::MAX),
    }))
}
