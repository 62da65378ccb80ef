//! A kameo actor with a bounded mailbox, restarted by kameo's own supervision.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kameo::actor::{Actor, ActorRef, Spawn};
use kameo::error::Infallible;
use kameo::mailbox;
use kameo::message::{Context, Message};
use kameo::supervision::RestartPolicy;
use tokio::runtime::Handle;

use super::{
    CALLS, CASTS, CRASHES, IDLE, MAILBOX, Measured, Metric, SPAWNS, Stamp, each, per_second, percentiles, resident,
    since,
};
use crate::Failure;
use crate::actor::CRASH;

#[derive(Clone)]
struct Small(u64);

impl Actor for Small {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(state: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(state)
    }
}

struct Count(u64);
struct Counted;
struct Crash(Stamp, bool);

impl Message<Count> for Small {
    type Reply = ();

    async fn handle(&mut self, Count(number): Count, _: &mut Context<Self, ()>) {
        self.0 += number;
    }
}

impl Message<Counted> for Small {
    type Reply = u64;

    async fn handle(&mut self, _: Counted, _: &mut Context<Self, u64>) -> u64 {
        self.0
    }
}

impl Message<Crash> for Small {
    type Reply = Result<(), &'static str>;

    async fn handle(&mut self, Crash(stamp, panics): Crash, _: &mut Context<Self, Self::Reply>) -> Self::Reply {
        stamp.get_or_init(Instant::now);
        if panics {
            panic!("{}", CRASH);
        }
        Err(CRASH)
    }
}

struct Parent;

impl Actor for Parent {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(state: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(state)
    }
}

async fn spawn() -> ActorRef<Small> {
    let one = Small::spawn_with_mailbox(Small(0), mailbox::bounded(MAILBOX));
    one.wait_for_startup().await;
    one
}

async fn counted(one: &ActorRef<Small>) -> Result<u64, Failure> {
    one.ask(Counted).await.map_err(|error| error.to_string().into())
}

pub(super) async fn measure(metric: Metric) -> Measured {
    let measured = match metric {
        Metric::Call => {
            let one = spawn().await;
            let began = Instant::now();
            for _ in 0..CALLS {
                counted(&one).await?;
            }
            each(began, CALLS)
        }
        Metric::Cast => casts(1).await?,
        Metric::CastFour => casts(4).await?,
        Metric::Spawn => {
            let mut all = Vec::with_capacity(2 * SPAWNS as usize);
            for _ in 0..SPAWNS {
                all.push(spawn().await);
            }
            let began = Instant::now();
            for _ in 0..SPAWNS {
                all.push(spawn().await);
            }
            each(began, SPAWNS)
        }
        Metric::Memory => {
            let mut all = Vec::with_capacity(IDLE as usize);
            let before = resident()?;
            for _ in 0..IDLE {
                all.push(spawn().await);
            }
            vec![(resident()? - before) / f64::from(IDLE)]
        }
        Metric::CrashError => crashes(false).await?,
        Metric::CrashPanic => crashes(true).await?,
        Metric::Stop | Metric::StopInstances | Metric::Recorder | Metric::Plan => return Ok(None),
    };
    Ok(Some(measured))
}

async fn casts(senders: u64) -> Result<Vec<f64>, Failure> {
    let one = spawn().await;
    let began = Instant::now();
    let tasks: Vec<_> = (0..senders)
        .map(|_| {
            let one = one.clone();
            Handle::current().spawn(async move {
                for _ in 0..CASTS / senders {
                    if one.tell(Count(1)).await.is_err() {
                        return;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await?;
    }
    while counted(&one).await? < CASTS {}
    Ok(per_second(began, CASTS))
}

/// The reference stays; while the actor is down, or where its restart dropped what waited, the question is asked again.
async fn crashes(panics: bool) -> Result<Vec<f64>, Failure> {
    let parent = Parent::spawn(Parent);
    parent.wait_for_startup().await;
    let one = Small::supervise(&parent, Small(0))
        .restart_policy(RestartPolicy::Permanent)
        .restart_limit(u32::MAX, Duration::from_secs(1))
        .spawn()
        .await;
    let mut samples = Vec::with_capacity(CRASHES);
    for _ in 0..CRASHES {
        counted(&one).await?;
        let stamp = Stamp::default();
        one.tell(Crash(Arc::clone(&stamp), panics)).await.map_err(|error| error.to_string())?;
        let began = Instant::now();
        while counted(&one).await.is_err() {
            if began.elapsed() > Duration::from_secs(5) {
                return Err("it does not come back".into());
            }
        }
        samples.push(since(&stamp)?);
    }
    Ok(percentiles(samples))
}
