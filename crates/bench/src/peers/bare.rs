//! A tokio task behind a bounded channel, and nothing else: no policy, no name, no restart.

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{
    CALLS, CASTS, CRASHES, IDLE, MAILBOX, Measured, Metric, SPAWNS, Stamp, each, per_second, percentiles, resident,
    since,
};
use crate::actor::CRASH;

enum Message {
    Count(u64),
    Counted(oneshot::Sender<u64>),
    Crash(Stamp, bool),
}

fn spawn(ready: Option<oneshot::Sender<()>>) -> (mpsc::Sender<Message>, JoinHandle<Result<(), &'static str>>) {
    let (sender, mut receiver) = mpsc::channel(MAILBOX);
    let task = Handle::current().spawn(async move {
        ready.map(|ready| ready.send(()));
        let mut counted = 0;
        while let Some(message) = receiver.recv().await {
            match message {
                Message::Count(number) => counted += number,
                Message::Counted(reply) => drop(reply.send(counted)),
                Message::Crash(stamp, panics) => {
                    stamp.get_or_init(Instant::now);
                    if panics {
                        panic!("{}", CRASH);
                    }
                    return Err(CRASH);
                }
            }
        }
        Ok(())
    });
    (sender, task)
}

async fn started() -> Result<mpsc::Sender<Message>, oneshot::error::RecvError> {
    let (ready, is_ready) = oneshot::channel();
    let (sender, _task) = spawn(Some(ready));
    is_ready.await?;
    Ok(sender)
}

async fn counted(one: &mpsc::Sender<Message>) -> Result<u64, crate::Failure> {
    let (reply, answer) = oneshot::channel();
    one.send(Message::Counted(reply)).await.map_err(|_| "the task has gone")?;
    Ok(answer.await?)
}

pub(super) async fn measure(metric: Metric) -> Measured {
    let measured = match metric {
        Metric::Call => {
            let one = started().await?;
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
                all.push(started().await?);
            }
            let began = Instant::now();
            for _ in 0..SPAWNS {
                all.push(started().await?);
            }
            each(began, SPAWNS)
        }
        Metric::Memory => {
            let mut all = Vec::with_capacity(IDLE as usize);
            let before = resident()?;
            for _ in 0..IDLE {
                all.push(started().await?);
            }
            vec![(resident()? - before) / f64::from(IDLE)]
        }
        Metric::CrashError => crashes(false).await?,
        Metric::CrashPanic => crashes(true).await?,
        Metric::Stop | Metric::StopInstances | Metric::Recorder | Metric::Plan => return Ok(None),
    };
    Ok(Some(measured))
}

async fn casts(senders: u64) -> Result<Vec<f64>, crate::Failure> {
    let one = started().await?;
    let began = Instant::now();
    let tasks: Vec<_> = (0..senders)
        .map(|_| {
            let one = one.clone();
            Handle::current().spawn(async move {
                for _ in 0..CASTS / senders {
                    if one.send(Message::Count(1)).await.is_err() {
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

/// By hand: who sends the crash joins the task, starts another and asks that.
async fn crashes(panics: bool) -> Result<Vec<f64>, crate::Failure> {
    let mut samples = Vec::with_capacity(CRASHES);
    let (mut one, mut task) = spawn(None);
    for _ in 0..CRASHES {
        let stamp = Stamp::default();
        one.send(Message::Crash(Arc::clone(&stamp), panics)).await.map_err(|_| "the task has gone")?;
        if matches!(task.await, Ok(Ok(()))) {
            return Err("a task that crashes ended well".into());
        }
        (one, task) = spawn(None);
        counted(&one).await?;
        samples.push(since(&stamp)?);
    }
    Ok(percentiles(samples))
}
