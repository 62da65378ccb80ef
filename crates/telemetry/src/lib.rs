//! What a node says about itself: logs, metrics, and word to systemd.
//!
//! # Invariants
//! - Logs go to stderr. Stdout belongs to the data a verb prints.
//! - Two nodes in one process count apart: [`NodeMetrics`] is never installed as the global recorder.
//! - Telling systemd how the node is never blocks the node.
//!
//! # Reading order
//! 1. [`log`]  2. [`NodeMetrics`], [`ProcessGauges`]  3. [`Notifier`]
#![deny(clippy::disallowed_methods)]

mod descriptions;
pub mod log;
mod metrics;
mod notify;
mod process;

pub use self::metrics::NodeMetrics;
pub use self::notify::{Notifier, NotifyError, watchdog_period};
pub use self::process::{ProcessGauges, open_files, open_files_most, receive_buffer_most, rss_bytes};
