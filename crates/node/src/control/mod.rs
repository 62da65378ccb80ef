//! The one control API. The command line, the live view and the chaos steps are all clients of it; there is no second way in.
//!
//! # Reading order
//! 1. [`Control`], what the handlers know  2. [`caller`]: who may do what  3. [`routes`]: the table of verbs

mod actor;
mod backup;
mod ca;
pub(crate) mod caller;
mod cert;
mod content;
mod fault;
mod identity;
mod ledger;
mod offline;
mod part;
mod routes;
mod state;
mod tree;
mod whereabouts;

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

pub(crate) use routes::{health_router, router};
pub(crate) use state::round_trip;

use crate::api::{ApiError, ErrorKind};
use crate::node::Shared;

/// What every handler is given.
pub(crate) type Control = Arc<Shared>;

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self)).into_response()
    }
}

/// The answer of a handler.
pub(crate) type Answer<T> = Result<Json<T>, ApiError>;

/// A request's body as `T`, or an error that says what is wrong with it.
pub fn body<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError::new(ErrorKind::Usage, format!("the request cannot be read: {error}")))
}
