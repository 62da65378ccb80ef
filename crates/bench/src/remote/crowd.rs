//! A thousand pairs on one connection, while one more actor there takes nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use covenant_runtime::{Behaviour, BehaviourRegistry, Context, Exit, NoConfig, Ref, Resources, StartError};
use covenant_supervision::ChildId;
use covenant_transport::Bytes;
use covenant_types::ActorPath;
use tokio::sync::Notify;

use super::SMALL_BYTES;
use crate::Failure;
use crate::actor::{Message, Subject};
use crate::nodes::{AMPLE, Authority, Files, Host, Pair, start_tree};
use crate::report::{Outcome, Row, Unit};
use crate::stats::p50_p99;

const ROUNDS: usize = 5;
const PAIRS: usize = 1000;
/// Calls of each pair in a round, and the pause after each: about a third of what the machine can do.
const CALLS: usize = 40;
const PAUSE: Duration = Duration::from_millis(50);
/// "Unchanged", for a number that moves by itself from round to round.
const MARK: f64 = 1.1;

const TREE: Files = &[
    ("root", "[[child]]\nid = \"stuck\"\nbehaviour = \"bench.stuck\"\n\n[[child]]\nid = \"pool\"\ntree = \"pool\"\n"),
    (
        "pool",
        "strategy = \"dynamic\"\n\n[[child]]\nid = \"template\"\nbehaviour = \"bench.subject\"\nhost = \"light\"\n",
    ),
];

/// Lets the actor that is stuck go on.
#[derive(Default)]
struct Gate(Notify);

/// Takes one message, and waits in it until the gate opens.
struct Stuck;

impl Behaviour for Stuck {
    type Config = NoConfig;
    type Message = Message;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        ctx.expose();
        Ok(Self)
    }

    async fn handle(&mut self, _: Message, ctx: &Context<Self>) -> Result<(), Exit> {
        ctx.resource::<Gate>().map_err(Exit::error)?.0.notified().await;
        Ok(())
    }
}

pub(super) fn run() -> Result<Outcome, Failure> {
    let first = Host::new(19)?;
    let pair = Pair::start(&Authority::new(&first.env)?)?;
    let mut registry = BehaviourRegistry::new();
    registry.register::<Subject>("bench.subject");
    registry.register::<Stuck>("bench.stuck");
    let mut resources = Resources::new();
    resources.insert(Arc::new(Gate::default()));
    let system = start_tree(&pair.hosts[1], TREE, registry, resources)?;
    let paths = {
        let system = system.clone();
        pair.hosts[1].on_work(async move {
            let pool: ActorPath = "/pool".parse()?;
            let mut paths = Vec::with_capacity(PAIRS);
            for number in 0..PAIRS {
                let id = ChildId::new(&format!("a{number}"))?;
                let started = system.start_instance(&pool, Some(id), toml::Table::new()).await?;
                paths.push(started.path.ok_or("an instance has a path")?);
            }
            Ok(paths)
        })?
    };
    pair.clusters[1].attach(system);
    let there = &pair.configs[1].name;
    let actors: Vec<Ref<Message>> = paths.iter().map(|path| pair.clusters[0].remote(there, path)).collect();
    let stuck = pair.clusters[0].remote::<Message>(there, &"/stuck".parse()?);
    let near = &pair.hosts[0];
    let (mut blocked, mut free) = (Vec::new(), Vec::new());
    near.on_work(round(actors.clone()))?;
    for _ in 0..ROUNDS {
        free.push(near.on_work(round(actors.clone()))?);
        // Casts until it takes no more, and goes on trying: dropped after the round.
        let stuck = stuck.clone();
        let flood = near.env.work.spawn(async move {
            let payload = Bytes::from(vec![42; SMALL_BYTES]);
            loop {
                let _full_or_not = stuck.cast(Message::Count(payload.clone())).await;
            }
        });
        blocked.push(near.on_work(round(actors.clone()))?);
        flood.abort();
    }
    let rows = vec![
        Row::new("1000 pairs and a blocked actor, call p99", Unit::Seconds, blocked)
            .beside("without the blocked one", free)
            .ratio_at_most(MARK),
    ];
    let notes = vec![format!(
        "{PAIRS} pairs on one connection, {CALLS} calls of {SMALL_BYTES} B each, {} ms apart, {ROUNDS} rounds in turn without and \
         with one more actor that handles nothing while casts go to it without end",
        PAUSE.as_millis()
    )];
    pair.close();
    first.close();
    Ok(Outcome { rows, notes })
}

/// The p99 of the calls of all pairs.
async fn round(actors: Vec<Ref<Message>>) -> Result<f64, Failure> {
    let payload = Bytes::from(vec![42; SMALL_BYTES]);
    let tasks: Vec<_> = actors
        .into_iter()
        .enumerate()
        .map(|(place, actor)| {
            let payload = payload.clone();
            // Spread over the pause, so that they do not all come at once.
            let offset = PAUSE.mul_f64(place as f64 / PAIRS as f64);
            async move {
                let mut samples = Vec::with_capacity(CALLS);
                tokio::time::sleep(offset).await;
                for _ in 0..CALLS {
                    let began = Instant::now();
                    actor.call(|reply| Message::Echo(payload.clone(), reply), AMPLE).await?;
                    samples.push(began.elapsed());
                    tokio::time::sleep(PAUSE).await;
                }
                Ok::<_, Failure>(samples)
            }
        })
        .map(tokio::spawn)
        .collect();
    let mut samples = Vec::with_capacity(PAIRS * CALLS);
    for task in tasks {
        samples.extend(task.await??);
    }
    Ok(p50_p99(samples).1)
}
