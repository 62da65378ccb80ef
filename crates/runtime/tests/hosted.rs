//! The cases of all actors, on the hosted host.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod cases;
mod support;

/// What runs the actors of these cases.
const HOST: covenant_supervision::Host = covenant_supervision::Host::Hosted;
