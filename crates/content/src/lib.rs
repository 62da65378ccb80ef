//! Content that stays readable when links are down: datasets, published once, verified everywhere, fetched in pieces.
//!
//! # Intuition
//! A publisher cuts files into chunks named by their hash and signs a list of them. Whoever wants the dataset asks a hub for
//! the list, sees which chunks are missing, and fetches those. Every chunk is checked when it arrives and whenever it is
//! read, so that where it came from does not matter.
//!
//! # Invariants
//! - Nothing unsigned, wrongly signed or signed by anybody but a hub of this cluster is ever shown or served.
//! - A chunk is given out only after its hash was checked, on every read. A bad one is dropped, reported and fetched again.
//! - A crash at any byte loses at most what was not synced; what was fetched before is not fetched again.
//!
//! # Reading order
//! 1. [`Class`], [`Manifest`], [`SignedManifest`]  2. `chunker`, `plan`  3. [`ContentStore`]  4. `bulk`  5. the actors
#![deny(clippy::disallowed_methods)]

mod bulk;
mod chunker;
mod class;
mod config;
#[doc(hidden)]
pub mod fuzz;
mod manifest;
mod plan;
mod publish;
mod signature;
mod signed;
mod store;
mod store_actor;
mod sync;
mod views;

pub use bulk::{FetchError, Fetched, REQUEST_CHUNKS_MAX, fetch};
pub use chunker::{CHUNK_BYTES_MAX, ChunkId};
pub use class::Class;
pub use config::ContentConfig;
pub use manifest::{ChunkRef, DatasetId, FileEntry, Manifest, ManifestError};
pub use plan::{Summary, Wanted};
pub use publish::PublishError;
pub use signed::{SignedManifest, Trust, Untrusted};
pub use store::{ContentStore, StoreError};
pub use store_actor::{Store, StoreMessage, StoreRequest, StoreResponse};
pub use sync::{Scheduler, SchedulerMessage, Warmer, WarmerMessage};
pub use views::{ContentView, DatasetView, Published};

use covenant_runtime::BehaviourRegistry;

/// Registers `content.store`, `sync.scheduler` and `sync.warmer`.
pub fn register(registry: &mut BehaviourRegistry) {
    registry
        .register::<Store>("content.store")
        .register::<Scheduler>("sync.scheduler")
        .register::<Warmer>("sync.warmer");
}
