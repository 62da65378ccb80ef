//! How does one actor learn that another has ended?
//!
//! A desk lends keys to visitors and watches each: when a visitor ends, however it does, the desk has the key back.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;
use std::time::Duration;

use covenant::prelude::*;

#[derive(Default)]
struct Desk {
    lent: BTreeMap<ActorPath, MonitorRef>,
}

enum OfDesk {
    Lend(ActorPath, Reply<()>),
    Lent(Reply<usize>),
}

impl Behaviour for Desk {
    type Config = NoConfig;
    type Message = OfDesk;

    async fn start(_: NoConfig, _: &Context<Self>) -> Result<Self, StartError> {
        Ok(Self::default())
    }

    async fn handle(&mut self, message: OfDesk, ctx: &Context<Self>) -> Result<(), Exit> {
        match message {
            OfDesk::Lend(to, reply) => {
                let monitor = ctx.monitor(&to).map_err(Exit::error)?;
                self.lent.insert(to, monitor);
                reply.send(());
            }
            OfDesk::Lent(reply) => reply.send(self.lent.len()),
        }
        Ok(())
    }

    async fn down(&mut self, down: Down, _: &Context<Self>) -> Result<(), Exit> {
        println!("{} ended: {}; its key is back", down.path, down.reason);
        self.lent.remove(&down.path);
        Ok(())
    }
}

/// Leaves, or stumbles.
struct Visitor;

enum OfVisitor {
    Leave,
    Stumble,
}

impl Behaviour for Visitor {
    type Config = NoConfig;
    type Message = OfVisitor;

    async fn start(_: NoConfig, _: &Context<Self>) -> Result<Self, StartError> {
        Ok(Self)
    }

    async fn handle(&mut self, message: OfVisitor, _: &Context<Self>) -> Result<(), Exit> {
        Err(match message {
            OfVisitor::Leave => Exit::normal(),
            OfVisitor::Stumble => Exit::error("stumbled"),
        })
    }
}

const TREE: &str = r#"
[[child]]
id = "desk"
behaviour = "desk"

[[child]]
id = "ann"
behaviour = "visitor"
restart = "temporary"

[[child]]
id = "ben"
behaviour = "visitor"
restart = "temporary"
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut registry = BehaviourRegistry::new();
    registry.register::<Desk>("desk").register::<Visitor>("visitor");
    let system = covenant::start(TREE, registry).await?;
    let deadline = Duration::from_secs(1);

    let desk: Ref<OfDesk> = system.lookup(&"/desk".parse()?)?;
    let visitors: [Ref<OfVisitor>; 2] = [system.lookup(&"/ann".parse()?)?, system.lookup(&"/ben".parse()?)?];
    for visitor in &visitors {
        desk.call(|reply| OfDesk::Lend(visitor.path().clone(), reply), deadline).await?;
    }
    println!("{} keys are lent", desk.call(OfDesk::Lent, deadline).await?);
    visitors[0].cast(OfVisitor::Leave).await?;
    visitors[1].cast(OfVisitor::Stumble).await?;
    while desk.call(OfDesk::Lent, deadline).await? > 0 {}
    println!("no key is lent");

    system.stop(deadline).await;
    Ok(())
}
