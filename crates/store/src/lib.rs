//! What a node keeps on disk: its directory and boot counter, whole files, append-only segments, databases.
//!
//! # Invariants
//! - One process uses a data directory at a time.
//! - A file written by [`write_atomic`] is there whole or as it was before, whatever the power does.
//! - A segment log gives back exactly what was appended and synced; a torn tail is cut off at the next open.
//!
//! # Not here
//! Who may wait for the disk. These functions block: call them through `Env::blocking`.
#![deny(clippy::disallowed_methods)]

mod atomic;
mod data_dir;
mod database;
mod epoch_file;
mod segment_log;

pub use atomic::{sync_dir, write_atomic};
pub use data_dir::{DataDir, DataDirError};
pub use database::{DatabaseError, open_database};
pub use epoch_file::EpochFile;
pub use redb;
pub use segment_log::{Opened, Position, RECORD_BYTES_MAX, SegmentLog, SegmentLogError};
