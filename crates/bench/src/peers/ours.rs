//! Our actors, on either host, as instances of a dynamic supervisor: with policy, records and everything a node has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use covenant_runtime::{Behaviour, BehaviourRegistry, Context, Exit, Ref, Reply, Resources, StartError, System};
use covenant_supervision::{ChildId, Host as ActorHost};
use covenant_types::{ActorPath, CallError};
use serde::Deserialize;

use super::{
    CALLS, CASTS, CRASHES, IDLE, Measured, Metric, SPAWNS, Stamp, each, per_second, percentiles, recorder, resident,
    since, stop,
};
use crate::Failure;
use crate::actor::CRASH;
use crate::nodes::{AMPLE, Files, Host, start_tree};

pub(super) enum Message {
    Count(u64),
    Counted(Reply<u64>),
    Incarnation(Reply<u32>),
    Fail(Stamp),
    Panic(Stamp),
}

struct Small(u64);

#[derive(Deserialize)]
struct NoConfig {}

impl Behaviour for Small {
    type Config = NoConfig;
    type Message = Message;

    async fn start(_: NoConfig, _: &Context<Self>) -> Result<Self, StartError> {
        Ok(Self(0))
    }

    async fn handle(&mut self, message: Message, ctx: &Context<Self>) -> Result<(), Exit> {
        match message {
            Message::Count(number) => self.0 += number,
            Message::Counted(reply) => reply.send(self.0),
            Message::Incarnation(reply) => reply.send(ctx.incarnation().0),
            Message::Fail(stamp) => {
                stamp.get_or_init(Instant::now);
                return Err(Exit::error(CRASH));
            }
            Message::Panic(stamp) => {
                stamp.get_or_init(Instant::now);
                panic!("{}", CRASH);
            }
        }
        Ok(())
    }
}

const ROOT: &str = "[[child]]\nid = \"pool\"\ntree = \"pool\"\n";
const HOSTED: Files = &[("root", ROOT), ("pool", POOL_HOSTED)];
const LIGHT: Files = &[("root", ROOT), ("pool", POOL_LIGHT)];
const POOL_HOSTED: &str = r#"
strategy = "dynamic"
intensity = 1000000
period = "1s"

[[child]]
id = "template"
behaviour = "bench.small"
"#;
const POOL_LIGHT: &str = r#"
strategy = "dynamic"
intensity = 1000000
period = "1s"

[[child]]
id = "template"
behaviour = "bench.small"
host = "light"
"#;

pub(super) fn measure(metric: Metric, host: ActorHost) -> Measured {
    match metric {
        Metric::Stop | Metric::StopInstances => return stop::measure(metric, host),
        Metric::Recorder => return recorder::measure(host),
        // A plan has no host: it stands in the first column.
        Metric::Plan if host == ActorHost::Light => return Ok(None),
        Metric::Plan => return Ok(Some(crate::plan::rounds(1)?)),
        Metric::Call
        | Metric::Cast
        | Metric::CastFour
        | Metric::Spawn
        | Metric::Memory
        | Metric::CrashError
        | Metric::CrashPanic => {}
    }
    let node = Host::new(1)?;
    let system = start_tree(&node, files(host), registry(), Resources::new())?;
    let measured = node.on_work(run(metric, system.clone()))?;
    drop(system);
    node.close();
    Ok(Some(measured))
}

/// The behaviour that is measured, as `bench.small`.
pub(super) fn registry() -> BehaviourRegistry {
    let mut registry = BehaviourRegistry::new();
    registry.register::<Small>("bench.small");
    registry
}

/// A tree with a dynamic supervisor at `/pool`.
pub(super) fn files(host: ActorHost) -> Files {
    match host {
        ActorHost::Hosted => HOSTED,
        ActorHost::Light => LIGHT,
    }
}

async fn run(metric: Metric, system: System) -> Result<Vec<f64>, Failure> {
    let pool: ActorPath = "/pool".parse()?;
    match metric {
        Metric::Spawn => {
            for _ in 0..SPAWNS {
                system.start_instance(&pool, None, toml::Table::new()).await?;
            }
            let began = Instant::now();
            for _ in 0..SPAWNS {
                system.start_instance(&pool, None, toml::Table::new()).await?;
            }
            Ok(each(began, SPAWNS))
        }
        Metric::Memory => {
            let before = resident()?;
            for _ in 0..IDLE {
                system.start_instance(&pool, None, toml::Table::new()).await?;
            }
            Ok(vec![(resident()? - before) / f64::from(IDLE)])
        }
        Metric::Call => calls(start_one(&system, &pool).await?).await,
        Metric::Cast => casts(&system, start_one(&system, &pool).await?, 1).await,
        Metric::CastFour => casts(&system, start_one(&system, &pool).await?, 4).await,
        Metric::CrashError => crashes(start_one(&system, &pool).await?, Message::Fail).await,
        Metric::CrashPanic => crashes(start_one(&system, &pool).await?, Message::Panic).await,
        Metric::Stop | Metric::StopInstances | Metric::Recorder | Metric::Plan => {
            Err("this is no job of one actor".into())
        }
    }
}

/// The instance `one`.
pub(super) async fn start_one(system: &System, pool: &ActorPath) -> Result<Ref<Message>, Failure> {
    let started = system.start_instance(pool, Some(ChildId::new("one")?), toml::Table::new()).await?;
    Ok(system.lookup(&started.path.ok_or("it did not start")?)?)
}

async fn calls(one: Ref<Message>) -> Result<Vec<f64>, Failure> {
    for _ in 0..CALLS / 10 {
        one.call(Message::Counted, AMPLE).await?;
    }
    let began = Instant::now();
    for _ in 0..CALLS {
        one.call(Message::Counted, AMPLE).await?;
    }
    Ok(each(began, CALLS))
}

async fn casts(system: &System, one: Ref<Message>, senders: u64) -> Result<Vec<f64>, Failure> {
    let began = Instant::now();
    let tasks: Vec<_> = (0..senders)
        .map(|_| {
            let one = one.clone();
            system.env().work.spawn(async move {
                for _ in 0..CASTS / senders {
                    one.cast(Message::Count(1)).await?;
                }
                Ok::<(), CallError>(())
            })
        })
        .collect();
    for task in tasks {
        task.await.map_err(|error| format!("a sender ended early: {error:?}"))??;
    }
    // A call waits behind all that was sent.
    while one.call(Message::Counted, AMPLE).await? < CASTS {}
    Ok(per_second(began, CASTS))
}

async fn crashes(one: Ref<Message>, crash: fn(Stamp) -> Message) -> Result<Vec<f64>, Failure> {
    let mut samples: Vec<Duration> = Vec::with_capacity(CRASHES);
    let mut before = one.call(Message::Incarnation, AMPLE).await?;
    for _ in 0..CRASHES {
        let stamp = Stamp::default();
        one.cast(crash(Arc::clone(&stamp))).await?;
        let now = one.call(Message::Incarnation, AMPLE).await?;
        samples.push(since(&stamp)?);
        if now != before + 1 {
            return Err(format!("incarnation {now} answered after {before}: it did not crash once").into());
        }
        before = now;
    }
    Ok(percentiles(samples))
}
