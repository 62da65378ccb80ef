//! The joining side.

/// Why a node could not join.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {}
/// What a renewal needs.
#[derive(Debug)]
pub struct Renewal;
/// Joins.
pub fn join() {}
/// Renews.
pub fn renew() {}
