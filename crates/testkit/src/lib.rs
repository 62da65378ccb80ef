//! Behaviours and trees without a node, in virtual time: for the tests of whoever writes them.
//!
//! # Intuition
//! [`run`] gives a test a world of one thread, where time passes only when everything waits: an hour of back-off takes no
//! time, and the same test takes the same course each time. A [`Kit`] starts a tree in it, with [stand-ins](Kit::stand_in)
//! for the neighbours of what is tested. A [`TestTree`] is asked, crashed, killed and waited for.
//!
//! What is expected and does not come about is a panic that shows the tree and what happened in it. So does a test that
//! leaves something running.
//!
//! ```
//! use covenant_runtime::{Behaviour, Context, Exit, NoConfig, Reply, StartError};
//!
//! struct Counter(u64);
//!
//! enum Message {
//!     Add(u64),
//!     Sum(Reply<u64>),
//! }
//!
//! impl Behaviour for Counter {
//!     type Config = NoConfig;
//!     type Message = Message;
//!
//!     async fn start(_: NoConfig, _: &Context<Self>) -> Result<Self, StartError> {
//!         Ok(Self(0))
//!     }
//!
//!     async fn handle(&mut self, message: Message, _: &Context<Self>) -> Result<(), Exit> {
//!         match message {
//!             Message::Add(more) => self.0 = self.0.checked_add(more).ok_or_else(|| Exit::error("too many"))?,
//!             Message::Sum(reply) => reply.send(self.0),
//!         }
//!         Ok(())
//!     }
//! }
//!
//! covenant_testkit::run(async {
//!     let tree = covenant_testkit::one::<Counter>("").await;
//!     tree.cast("/one", Message::Add(2)).await;
//!     assert_eq!(tree.call("/one", Message::Sum).await, 2);
//!     tree.cast("/one", Message::Add(u64::MAX)).await;
//!     tree.until_incarnation("/one", 2).await;
//!     assert_eq!(tree.call("/one", Message::Sum).await, 0);
//!     tree.stop().await;
//! });
//! ```
#![deny(clippy::disallowed_methods)]

mod kit;
mod stand_in;
mod tree;
mod world;

pub use kit::{Kit, one};
pub use stand_in::{HEARD_MAX, StandIn};
pub use tree::{PATIENCE, TestTree};
pub use world::run;
