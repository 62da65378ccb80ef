//! How long callers of an actor that crashed wait for its next incarnation, beside a bare task that is started again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use covenant_env::Spawner;
use covenant_runtime::{Ref, Resources};

use crate::Failure;
use crate::actor::{CRASH, Message, Stamp};
use crate::nodes::{AMPLE, Host, start_subject};
use crate::report::{Outcome, Row, Unit};
use crate::stats::p50_p99;

const ROUNDS: usize = 9;
const CRASHES: usize = 2000;
/// The mark for the p50.
const MARK: f64 = 20e-6;

/// What makes the actor crash.
type Crash = fn(Stamp) -> Message;

pub(crate) fn run() -> Result<Outcome, Failure> {
    let host = Host::new(1)?;
    let (system, subject) = start_subject(&host, Resources::new())?;
    let mut rows = Vec::new();
    for (kind, crash) in [("panic", Message::Panic as Crash), ("error", Message::Fail)] {
        let (mut p50s, mut p99s) = (Vec::new(), Vec::new());
        let (mut bare_p50s, mut bare_p99s) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let (p50, p99) = p50_p99(host.on_work(crashes(subject.clone(), crash))?);
            let (bare_p50, bare_p99) = p50_p99(host.on_work(respawns(host.env.work.clone(), kind == "panic"))?);
            // The first warms up.
            if round > 0 {
                p50s.push(p50);
                p99s.push(p99);
                bare_p50s.push(bare_p50);
                bare_p99s.push(bare_p99);
            }
        }
        let what = format!("{kind} in a handler → next incarnation has answered");
        let bare = "bare task, joined and started again";
        rows.push(Row::new(format!("{what}, p50"), Unit::Seconds, p50s).at_most(MARK).beside(bare, bare_p50s));
        rows.push(Row::new(format!("{what}, p99"), Unit::Seconds, p99s).beside(bare, bare_p99s));
    }
    host.on_work(async move { Ok(system.stop(AMPLE).await) })?;
    host.close();
    let notes = vec![
        format!(
            "{ROUNDS} rounds of {CRASHES} crashes; from the last line before the crash to the answer in the hands of a caller that kept its Ref"
        ),
        "the bare task has no mailbox, no caller that waits and no policy: its starter joins it, starts the next and joins that"
            .to_owned(),
        "nothing prints panics or logs here; a node's standard panic hook writes a line to stderr".to_owned(),
    ];
    Ok(Outcome { rows, notes })
}

async fn crashes(subject: Ref<Message>, crash: Crash) -> Result<Vec<Duration>, Failure> {
    let mut samples = Vec::with_capacity(CRASHES);
    let mut before = subject.call(Message::Incarnation, AMPLE).await?;
    for _ in 0..CRASHES {
        let stamp = Stamp::default();
        subject.cast(crash(Arc::clone(&stamp))).await?;
        let now = subject.call(Message::Incarnation, AMPLE).await?;
        let answered = Instant::now();
        if now != before + 1 {
            return Err(format!("incarnation {now} answered after {before}: it did not crash once").into());
        }
        before = now;
        let crashed = stamp.get().ok_or("the actor did not note when it crashed")?;
        samples.push(answered.duration_since(*crashed));
    }
    Ok(samples)
}

/// The same by hand.
async fn respawns(spawner: Spawner, panics: bool) -> Result<Vec<Duration>, Failure> {
    let mut samples = Vec::with_capacity(CRASHES);
    for _ in 0..CRASHES {
        let stamp = Stamp::default();
        let noted = Arc::clone(&stamp);
        let task = spawner.spawn(async move {
            noted.get_or_init(Instant::now);
            if panics {
                panic!("{}", CRASH);
            }
            Err::<(), _>(CRASH)
        });
        if matches!(task.await, Ok(Ok(()))) {
            return Err("a task that crashes ended well".into());
        }
        spawner.spawn(async {}).await.map_err(|error| format!("a task that does nothing ended early: {error:?}"))?;
        let answered = Instant::now();
        let crashed = stamp.get().ok_or("the task did not note when it crashed")?;
        samples.push(answered.duration_since(*crashed));
    }
    Ok(samples)
}
