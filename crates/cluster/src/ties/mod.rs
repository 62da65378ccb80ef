//! Monitors and links between actors of different nodes, and orders to end one.
//!
//! # Intuition
//! A tie has an asker, whose node counts it, and a holder, whose actor it is about. Both nodes keep it in a [`book`], and the
//! book outlives their connection: a tie ends when an actor does, when it is taken away, when the other node starts again,
//! or when membership gives that node up and a while has passed that depends on its line. A connection that breaks and comes back only
//! makes them compare: the asker says again what it holds on to, and of which incarnation; what ended meanwhile fires then.
//!
//! Frames ([`frame`]) cross on the control plane, before everything else. The [`desk`] does what the book decides;
//! orders to end an actor are carried out by [`orders`].

pub(crate) mod book;
pub(crate) mod desk;
pub(crate) mod frame;
pub(crate) mod monitor;
pub(crate) mod orders;
