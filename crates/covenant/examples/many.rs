//! How do I have an actor for each of many things that come and go?
//!
//! A dynamic supervisor starts one light actor for each parcel. They cost little, have paths, and are restarted one by one.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::{Duration, Instant};

use covenant::prelude::*;

const PARCELS: usize = 20_000;

#[derive(Default)]
struct Parcel {
    stations: u32,
}

enum OfParcel {
    Arrived,
    Stations(Reply<u32>),
    Lost,
}

impl Behaviour for Parcel {
    type Config = NoConfig;
    type Message = OfParcel;

    async fn start(_: NoConfig, _: &Context<Self>) -> Result<Self, StartError> {
        Ok(Self::default())
    }

    async fn handle(&mut self, message: OfParcel, _: &Context<Self>) -> Result<(), Exit> {
        match message {
            OfParcel::Arrived => self.stations += 1,
            OfParcel::Stations(reply) => reply.send(self.stations),
            OfParcel::Lost => return Err(Exit::error("lost")),
        }
        Ok(())
    }
}

const TREE: &str = r#"
strategy  = "dynamic"
intensity = 10

[[child]]
id = "parcel"
behaviour = "parcel"
restart = "transient"
host = "light"
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut registry = BehaviourRegistry::new();
    registry.register::<Parcel>("parcel");
    let system = covenant::start(TREE, registry).await?;
    let (root, deadline) = (ActorPath::root(), Duration::from_secs(10));

    let began = Instant::now();
    let mut parcels: Vec<Ref<OfParcel>> = Vec::with_capacity(PARCELS);
    for _ in 0..PARCELS {
        let started = system.start_instance(&root, None, toml::Table::new()).await?;
        parcels.push(system.lookup(&started.path.ok_or("it has nothing to do")?)?);
    }
    println!("{PARCELS} parcels are on their way");
    for parcel in &parcels {
        parcel.cast(OfParcel::Arrived).await?;
    }
    parcels[7].cast(OfParcel::Lost).await?;
    parcels[7].cast(OfParcel::Arrived).await?;
    parcels[7].cast(OfParcel::Arrived).await?;
    println!(
        "one was lost, and its next incarnation has seen {}",
        parcels[7].call(OfParcel::Stations, deadline).await?
    );
    println!("another has seen {}", parcels[8].call(OfParcel::Stations, deadline).await?);
    println!("{} are counted", system.count_children(&root).await?.active);
    eprintln!("all of it took {:.2} s", began.elapsed().as_secs_f64());

    system.stop(deadline).await;
    Ok(())
}
