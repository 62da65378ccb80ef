//! What a node shows the others of its trust: enough to see who lacks a step of a rotation.

use serde::{Deserialize, Serialize};

use crate::Scope;
use crate::authority::fingerprint;

/// What a node says of the roots it trusts and of the one it is certified under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustMark {
    /// How many statements led to the roots it trusts.
    pub version: u64,
    /// The digest of those roots: see [`crate::TrustedRoots::digest`].
    pub roots: u64,
    /// The root its certificate leads to: see [`root_print`].
    pub under: u64,
    /// What it may sign for, where it has an issuing authority.
    pub issues: Option<Scope>,
}

/// The first eight bytes of a root's fingerprint: to tell roots apart, not to trust one.
pub fn root_print(root: &[u8]) -> u64 {
    u64::from_be_bytes(fingerprint(root)[..8].try_into().expect("eight of 32 bytes"))
}
