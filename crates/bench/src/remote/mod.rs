//! Messages between two nodes over UDP on loopback, beside bare QUIC and Erlang's distribution over TLS.

mod connect;
mod crowd;
mod erlang;
mod memory;
mod narrow;
mod traffic;

use crate::Bench;

pub(crate) use memory::weigh;

/// Each by name: every row of the table of remoting's goals that a machine with one network of its own can show.
pub(crate) const PARTS: [(&str, Bench); 6] = [
    ("remote-calls", traffic::run_calls),
    ("remote-casts", traffic::run_casts),
    ("remote-crowd", crowd::run),
    ("remote-connect", connect::run),
    ("remote-memory", memory::run),
    ("remote-narrow", narrow::run),
];

/// Rounds of everything that takes turns.
const ROUNDS: usize = 7;
const CALLS: usize = 4000;
const CASTS: u64 = 200_000;
const LARGE_CASTS: u64 = 20_000;
/// What a small message carries, and a large one.
const SMALL_BYTES: usize = 100;
const LARGE_BYTES: usize = 10 * 1024;
