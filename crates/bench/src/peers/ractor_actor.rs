//! A plain ractor actor, with its unbounded mailbox; restarted by a supervisor of a few lines that keeps no count.

use std::sync::Arc;
use std::time::Instant;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::{
    CALLS, CASTS, CRASHES, IDLE, Measured, Metric, SPAWNS, Stamp, each, per_second, percentiles, resident, since,
};
use crate::Failure;
use crate::actor::CRASH;

enum Message {
    Count(u64),
    Counted(RpcReplyPort<u64>),
    Crash(Stamp, bool),
}

struct Small;

impl Actor for Small {
    type Msg = Message;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        counted: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Count(number) => *counted += number,
            Message::Counted(reply) => drop(reply.send(*counted)),
            Message::Crash(stamp, panics) => {
                stamp.get_or_init(Instant::now);
                if panics {
                    panic!("{}", CRASH);
                }
                return Err(CRASH.into());
            }
        }
        Ok(())
    }
}

/// Starts another when one has failed, and tells which.
struct Restarter(mpsc::Sender<ActorRef<Message>>);

impl Restarter {
    async fn start(&self, myself: &ActorRef<()>) -> Result<(), ActorProcessingErr> {
        let (next, _task) = Actor::spawn_linked(None, Small, (), myself.get_cell()).await?;
        self.0.send(next).await.map_err(|_| "nobody listens".into())
    }
}

impl Actor for Restarter {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        self.start(&myself).await
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(..) => self.start(&myself).await,
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ActorTerminated(..)
            | SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
        }
    }
}

async fn counted(one: &ActorRef<Message>) -> Result<u64, Failure> {
    match one.call(Message::Counted, None).await? {
        ractor::rpc::CallResult::Success(counted) => Ok(counted),
        ractor::rpc::CallResult::Timeout | ractor::rpc::CallResult::SenderError => Err("no answer".into()),
    }
}

async fn spawn() -> Result<ActorRef<Message>, Failure> {
    Ok(Actor::spawn(None, Small, ()).await?.0)
}

pub(super) async fn measure(metric: Metric) -> Measured {
    let measured = match metric {
        Metric::Call => {
            let one = spawn().await?;
            let began = Instant::now();
            for _ in 0..CALLS {
                counted(&one).await?;
            }
            each(began, CALLS)
        }
        Metric::Cast => casts(1).await?,
        Metric::CastFour => casts(4).await?,
        Metric::Spawn => {
            for _ in 0..SPAWNS {
                spawn().await?;
            }
            let began = Instant::now();
            for _ in 0..SPAWNS {
                spawn().await?;
            }
            each(began, SPAWNS)
        }
        Metric::Memory => {
            let before = resident()?;
            for _ in 0..IDLE {
                spawn().await?; // it lives without a reference
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
    let one = spawn().await?;
    let began = Instant::now();
    let tasks: Vec<_> = (0..senders)
        .map(|_| {
            let one = one.clone();
            Handle::current().spawn(async move { (0..CASTS / senders).try_for_each(|_| one.cast(Message::Count(1))) })
        })
        .collect();
    for task in tasks {
        task.await?.map_err(|error| error.to_string())?;
    }
    while counted(&one).await? < CASTS {}
    Ok(per_second(began, CASTS))
}

async fn crashes(panics: bool) -> Result<Vec<f64>, Failure> {
    let (started, mut ones) = mpsc::channel(1);
    let (_restarter, _task) = Actor::spawn(None, Restarter(started), ()).await?;
    let mut one = ones.recv().await.ok_or("the supervisor has gone")?;
    let mut samples = Vec::with_capacity(CRASHES);
    for _ in 0..CRASHES {
        let stamp = Stamp::default();
        one.cast(Message::Crash(Arc::clone(&stamp), panics)).map_err(|error| error.to_string())?;
        one = ones.recv().await.ok_or("the supervisor has gone")?;
        counted(&one).await?;
        samples.push(since(&stamp)?);
    }
    Ok(percentiles(samples))
}
