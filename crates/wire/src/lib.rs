//! What goes over the network, as bytes: values by bincode with limits, and length-prefixed frames.
//!
//! # Intuition
//! Two encodings live side by side. [`canonical`] is for what is signed or hashed and never changes. The codec here is
//! for frames between nodes of one cluster: small and fast, and free to change with the protocol version.
//!
//! # Invariants
//! - Every input is hostile: [`decode`] refuses more than its limit before it looks at a byte, never allocates more than a
//!   small multiple of what arrived, and refuses bytes that follow the value.
//! - Nothing here does I/O: [`FrameReader`] is fed bytes, frames are written into a buffer.
#![deny(clippy::disallowed_methods)]

mod codec;
mod frame;
mod schema;

pub use codec::{VALUE_BYTES_MAX, WireError, decode, encode, encode_into};
pub use covenant_types::canonical;
pub use frame::{FRAME_HEADER_BYTES, FrameReader, frame_into, frame_length, frame_value_into};
pub use schema::{Describe, Schema, SchemaHash};
