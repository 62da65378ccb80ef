//! Messages to actors on other nodes.
//!
//! # Intuition
//! A sender encodes its message into the buffer of one of a few streams to the other node ([`lane`]); the reader there
//! hands it straight to the actor's mailbox ([`receive`]). Answers come back on a stream of their own, which no request
//! can block. A receiver that falls behind stops giving [`credit`], and its senders wait before their message enters the
//! stream, so that one slow actor holds up nobody else.
//!
//! # Invariants
//! - Messages from one sender to one actor arrive in order, at most once.
//! - Every call ends: in an answer, in a word that says why there is none, or at its deadline.
//! - A lane reader never waits for an actor.

pub(crate) mod credit;
pub(crate) mod frame;
pub(crate) mod lane;
pub(crate) mod outlet;
pub(crate) mod pending;
pub(crate) mod receive;
