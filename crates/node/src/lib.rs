//! A node, assembled: configuration, identity, cluster, tree, control API.
//!
//! # Intuition
//! [`boot`] takes a configuration and a world ([`covenant_env::Env`]) and gives back a running [`Node`]. Everything it does
//! to the world goes through that `Env`, so that several nodes live in one process and a simulation can be the world.
//!
//! # Reading order
//! 1. [`NodeConfig`]  2. [`boot`], [`Node`]  3. [`api`], then `control`  4. [`audit`]  5. [`init`], [`join`]
#![deny(clippy::disallowed_methods)]

pub mod api;
pub mod audit;
mod authorities;
mod boot_error;
mod certificate_gauges;
mod clock;
mod config;
mod control;
mod crash;
mod denials;
mod doctor;
mod events;
mod files;
#[doc(hidden)]
pub mod fuzz;
pub mod http;
mod init;
mod issuer;
mod known_peers;
mod live_tree;
mod node;
mod orders;
mod placement;
mod public_log;
mod random;
mod renewal;
mod restore;
mod roots_keeper;
mod rotation;
mod trees;

pub use boot_error::BootError;
pub use config::{ConfigError, Layout, LinkProfile, NodeConfig};
pub use control::body as read_body;
pub use covenant_identity::{NodeKey, certificates_from_pem, make_csr};
pub use covenant_transport::tls;
pub use files::{FilesError, own_uid, read_secret};
pub use init::{InitSpec, MakeError, NodeMade, NodePlace, init, is_initialised, join};
pub use live_tree::TreeStoreError;
pub use node::{Node, boot, registry};
pub use random::entropy;
pub use restore::{RestoreError, restore};
pub use trees::{Trees, behaviours_of};
pub use zeroize::Zeroizing;
