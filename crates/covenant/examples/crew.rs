//! How do actors find each other without knowing paths, and how is work shared out among those that are there?
//!
//! A porter has a name. Cleaners are in a group: all hear of the bell, and each room is cleaned by the same one of them every day.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeSet;
use std::time::Duration;

use covenant::prelude::*;

/// Stands at the door, alone.
struct Porter;

enum OfPorter {
    Ask(Reply<&'static str>),
}

impl Behaviour for Porter {
    type Config = NoConfig;
    type Message = OfPorter;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        ctx.register("porter")?;
        Ok(Self)
    }

    async fn handle(&mut self, message: OfPorter, _: &Context<Self>) -> Result<(), Exit> {
        let OfPorter::Ask(reply) = message;
        reply.send("the house is open");
        Ok(())
    }
}

/// One of several.
struct Cleaner;

enum OfCleaner {
    Bell,
    Clean(u16, Reply<ActorPath>),
}

impl Behaviour for Cleaner {
    type Config = NoConfig;
    type Message = OfCleaner;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        ctx.join_group("cleaners", Scope::Region)?;
        Ok(Self)
    }

    async fn handle(&mut self, message: OfCleaner, ctx: &Context<Self>) -> Result<(), Exit> {
        match message {
            OfCleaner::Bell => println!("{} hears the bell", ctx.path()),
            OfCleaner::Clean(_room, reply) => reply.send(ctx.path().clone()),
        }
        Ok(())
    }
}

const TREE: &str = r#"
[[child]]
id = "porter"
behaviour = "porter"

[[child]]
id = "ann"
behaviour = "cleaner"

[[child]]
id = "ben"
behaviour = "cleaner"

[[child]]
id = "cat"
behaviour = "cleaner"
"#;

const DEADLINE: Duration = Duration::from_secs(1);

/// Who cleans each of these rooms.
async fn clean(
    system: &System,
    rooms: impl Iterator<Item = u16>,
) -> Result<Vec<ActorPath>, Box<dyn std::error::Error>> {
    let mut cleaners = Vec::new();
    for room in rooms {
        let group = system.group::<OfCleaner>("cleaners")?;
        let cleaner = group.pick(&room.to_be_bytes()).ok_or("nobody cleans")?;
        cleaners.push(cleaner.reference.call(|reply| OfCleaner::Clean(room, reply), DEADLINE).await?);
    }
    Ok(cleaners)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut registry = BehaviourRegistry::new();
    registry.register::<Porter>("porter").register::<Cleaner>("cleaner");
    let system = covenant::start(TREE, registry).await?;

    let porter: Ref<OfPorter> = system.whereis("porter")?;
    println!("the porter says: {}", porter.call(OfPorter::Ask, DEADLINE).await?);

    let told = system.group::<OfCleaner>("cleaners")?.broadcast(|| OfCleaner::Bell).await;
    println!("{} were told", told.sent);

    let monday = clean(&system, 0..60).await?;
    println!("sixty rooms are cleaned by {}", monday.iter().collect::<BTreeSet<_>>().len());
    let ben: ActorPath = "/ben".parse()?;
    system.terminate_child(&ben).await?;
    let tuesday = clean(&system, 0..60).await?;
    let changed = monday.iter().zip(&tuesday).filter(|(before, after)| before != after);
    println!("only ben's rooms have another cleaner: {}", changed.clone().all(|(before, _)| *before == ben));

    system.stop(DEADLINE).await;
    Ok(())
}
