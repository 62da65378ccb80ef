//! How do I spread work over a pool, so that one bad job ends one worker and not the others?
//!
//! Four equal supervisors with a worker each; a key always goes to the same one, and what waits for a worker that crashed is
//! done by its next incarnation.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use covenant::prelude::*;

/// A resizer of pictures, that cannot do one of no size.
struct Resizer {
    done: u32,
}

struct Job {
    pixels: u32,
    reply: Reply<u32>,
}

impl Behaviour for Resizer {
    type Config = NoConfig;
    type Message = Job;

    async fn start(_: NoConfig, _: &Context<Self>) -> Result<Self, StartError> {
        Ok(Self { done: 0 })
    }

    async fn handle(&mut self, Job { pixels, reply }: Job, _: &Context<Self>) -> Result<(), Exit> {
        if pixels == 0 {
            return Err(Exit::error("a picture without pixels"));
        }
        self.done += 1;
        reply.send(self.done);
        Ok(())
    }
}

const TREE: &str = r#"
strategy   = "one_for_one"
partitions = 4
intensity  = 5
period     = "10s"

[[child]]
id = "worker"
behaviour = "picture.resizer"
mailbox = { capacity = 64, overflow = "wait" }
"#;

/// The worker for that key.
fn worker(system: &System, key: &str) -> Result<Ref<Job>, Box<dyn std::error::Error>> {
    let part = system.partition(&"/".parse()?, key.as_bytes()).ok_or("no pool is here")?;
    Ok(system.lookup(&part.child("worker")?)?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut registry = BehaviourRegistry::new();
    registry.register::<Resizer>("picture.resizer");
    let system = covenant::start(TREE, registry).await?;
    let deadline = Duration::from_secs(1);

    let alice = worker(&system, "alice")?;
    for pixels in [100, 200] {
        let done = alice.call(|reply| Job { pixels, reply }, deadline).await?;
        println!("alice's worker has done {done}");
    }
    let bob = ["bob", "bill", "ben", "bea"]
        .into_iter()
        .map(|key| worker(&system, key))
        .find(|bob| bob.as_ref().is_ok_and(|bob| bob.path() != alice.path()));
    let bob = bob.ok_or("all have one worker")??;
    println!("another's worker has done {}", bob.call(|reply| Job { pixels: 1, reply }, deadline).await?);

    let bad = alice.call(|reply| Job { pixels: 0, reply }, deadline).await;
    println!("a bad job: {}", bad.err().ok_or("it was taken")?);
    println!("alice's next worker has done {}", alice.call(|reply| Job { pixels: 1, reply }, deadline).await?);
    println!("the other's goes on: {}", bob.call(|reply| Job { pixels: 1, reply }, deadline).await?);

    system.stop(deadline).await;
    Ok(())
}
