//! Where a path, a name or a group lives.

use axum::body::Bytes;
use axum::extract::State;
use axum::{Extension, Json};
use covenant_cluster::{Sought, SoughtError, Whereabouts};
use covenant_identity::Verb;

use super::caller::Caller;
use super::{Answer, Control, body};
use crate::api::whereabouts::Where;
use crate::api::{ApiError, ErrorKind};

/// Asks the nodes that may have it. One that is found nowhere, while all answered, is an error.
pub(crate) async fn locate(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<Whereabouts> {
    control.allow(&caller, Verb::Where).await?;
    let Where { what } = body(&bytes)?;
    let sought: Sought = what.parse().map_err(|error: SoughtError| ApiError::usage(error.to_string()))?;
    let whereabouts = control.cluster.locate(&sought).await;
    if whereabouts.found.is_empty() && whereabouts.unseen == 0 && whereabouts.silent.is_empty() {
        let nowhere = match &sought {
            Sought::Path(_) => format!("no node has the path {sought}"),
            Sought::Name(_) => format!("no actor has the name {sought}, and none is in a group of that name"),
        };
        return Err(ApiError::new(ErrorKind::NotFound, nowhere));
    }
    Ok(Json(whereabouts))
}
