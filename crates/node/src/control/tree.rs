//! The verbs about a running tree: what a change would do, and whether what runs is what files say.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::{Extension, Json};
use covenant_identity::Verb;

use super::caller::Caller;
use super::{Answer, Control, body};
use crate::api::ApiError;
use crate::api::tree::{FindDrift, TreeBundle, TreePlan};
use crate::live_tree::{Told, read_bundle};

/// The longest request with tree files in it: all files of a tree, and what JSON adds to them.
pub(crate) const BUNDLE_BYTES_MAX: usize = 20 * 1024 * 1024;

pub(crate) async fn plan(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<TreePlan> {
    control.allow(&caller, Verb::TreePlan).await?;
    let bundle: TreeBundle = body(&bytes)?;
    aside(&control, move |control| {
        let (_, to) = read_bundle(bundle)?;
        against(control, &to)
    })
    .await
    .map(Json)
}

pub(crate) async fn drift(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<TreePlan> {
    control.allow(&caller, Verb::TreePlan).await?;
    let FindDrift { with } = body(&bytes)?;
    aside(&control, move |control| {
        let to = match with {
            Some(bundle) => read_bundle(bundle)?.1,
            None => {
                let (files, tree) = control.live_tree.store.in_force().map_err(ApiError::failure)?;
                Told::new(&files, tree)
            }
        };
        against(control, &to)
    })
    .await
    .map(Json)
}

fn against(control: &Control, to: &Told) -> Result<TreePlan, ApiError> {
    let running = control.system.tree();
    control.live_tree.plan(control.config.node.name.as_str(), &running, to).map(|(_, view)| view)
}

/// Comparing large trees takes milliseconds: not on the threads that answer probes.
async fn aside<T: Send + 'static>(
    control: &Control,
    work: impl FnOnce(&Control) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let own = Arc::clone(control);
    control.env.blocking(move || work(&own)).await.map_err(ApiError::failure)?
}
