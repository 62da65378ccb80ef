//! The membership core alone, by the thousand: real cores, virtual lines, one queue of events.
//!
//! What stands for QUIC here is simple: everybody holds a connection to everybody, datagrams may be lost, streams are
//! late where packets are lost and never lose any while the connection stands. A connection that carries nothing for the
//! idle time breaks, and is made again when it can be.
//!
//! # Reading order
//! 1. [`World`]  2. [`Lines`]  3. [`measure`], [`goals`]  4. [`storm`]

pub mod goals;
mod line;
pub mod measure;
mod plain;
pub mod storm;
mod world;

pub use line::{Burst, Line, Lines};
pub use world::{Setup, Told, World};
