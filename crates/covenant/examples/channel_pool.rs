//! A pool of numbered channels: allocated, killed, and allocating again.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{collections::BTreeSet, time::Duration};

use covenant::prelude::*;

/// The `config` of its child in the tree.
#[derive(serde::Deserialize)]
struct Channels {
    count: u16,
}

/// What callers may ask of a [`ChannelPool`].
enum Message {
    /// Takes the lowest free channel; `None` when all are taken.
    Allocate(Reply<Option<u16>>),
    /// Gives a channel back. Freeing a free channel changes nothing.
    Free(u16),
}

/// The channels nobody holds.
struct ChannelPool(BTreeSet<u16>);

impl Behaviour for ChannelPool {
    type Config = Channels;
    type Message = Message;

    async fn start(config: Channels, _: &Context<Self>) -> Result<Self, StartError> {
        Ok(Self((0..config.count).collect()))
    }

    async fn handle(&mut self, message: Message, _: &Context<Self>) -> Result<(), Exit> {
        match message {
            Message::Allocate(reply) => reply.send(self.0.pop_first()),
            Message::Free(channel) => drop(self.0.insert(channel)),
        }
        Ok(())
    }
}

const TREE: &str = r#"
strategy = "one_for_one"

[[child]]
id = "pool"
behaviour = "channel.pool"
config = { count = 64 }
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut registry = BehaviourRegistry::new();
    registry.register::<ChannelPool>("channel.pool");
    let system = covenant::start(TREE, registry).await?;

    let pool = system.lookup(&"/pool".parse()?)?;
    let deadline = Duration::from_secs(1);
    println!("allocated {:?}", pool.call(Message::Allocate, deadline).await?);
    println!("allocated {:?}", pool.call(Message::Allocate, deadline).await?);
    pool.cast(Message::Free(0)).await?;
    println!("allocated {:?}", pool.call(Message::Allocate, deadline).await?);

    system.kill(pool.path()).await?;
    println!("allocated {:?}", pool.call(Message::Allocate, deadline).await?); // a new pool, the same reference
    println!("incarnation {}", system.tree().children[0].incarnation);

    system.stop(deadline).await;
    Ok(())
}
