//! Cases that need messages, tasks, links or trees of files, on the hosted host.

#[path = "both/ends.rs"]
mod ends;
#[path = "both/mail.rs"]
mod mail;
#[path = "both/memory.rs"]
mod memory;
#[path = "both/specs.rs"]
mod specs;
#[path = "../../../crates/runtime/tests/support/mod.rs"]
mod support;
#[path = "both/trees.rs"]
mod trees;

/// What runs the actors of these cases.
const HOST: covenant_supervision::Host = covenant_supervision::Host::Hosted;
