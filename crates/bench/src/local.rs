//! Messages within one node.

use std::time::{Duration, Instant};

use covenant_runtime::{Ref, Resources};
use covenant_transport::Bytes;
use covenant_types::CallError;

use crate::Failure;
use crate::actor::Message;
use crate::nodes::{AMPLE, Host, start_subject, start_unrecorded_subject};
use crate::report::{Outcome, Row, Unit};
use crate::stats::{p50_p99, rate};

const ROUNDS: usize = 9;
const CALLS: usize = 20_000;
const CASTS: u64 = 1_000_000;

pub(crate) fn run() -> Result<Outcome, Failure> {
    let host = Host::new(1)?;
    let (system, subject) = start_subject(&host, Resources::new())?;
    let (unrecorded, bare) = start_unrecorded_subject(&host)?;
    let (mut p50s, mut p99s, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bare_p50s, mut bare_rates) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (p50, p99) = p50_p99(host.on_work(calls(subject.clone(), CALLS, Bytes::new()))?);
        let took = host.on_work(casts(subject.clone(), CASTS, Bytes::new()))?;
        let (bare_p50, _) = p50_p99(host.on_work(calls(bare.clone(), CALLS, Bytes::new()))?);
        let bare_took = host.on_work(casts(bare.clone(), CASTS, Bytes::new()))?;
        if round > 0 {
            p50s.push(p50);
            p99s.push(p99);
            rates.push(rate(CASTS, took));
            bare_p50s.push(bare_p50);
            bare_rates.push(rate(CASTS, bare_took));
        }
    }
    host.on_work(async move { Ok((system.stop(AMPLE).await, unrecorded.stop(AMPLE).await)) })?;
    host.close();
    let rows = vec![
        Row::new("local call, p50", Unit::Seconds, p50s),
        Row::new("local call, p99", Unit::Seconds, p99s),
        Row::new("local casts, one sender to one actor", Unit::PerSecond, rates),
        Row::new("local call, p50, without flight recorder", Unit::Seconds, bare_p50s),
        Row::new("local casts, without flight recorder", Unit::PerSecond, bare_rates),
    ];
    let notes = vec![format!(
        "{ROUNDS} rounds of {CALLS} calls, one at a time, and {CASTS} casts into a mailbox of 1024, counted by the actor"
    )];
    Ok(Outcome { rows, notes })
}

/// How long each of `count` calls took, one after another.
pub(crate) async fn calls(subject: Ref<Message>, count: usize, payload: Bytes) -> Result<Vec<Duration>, Failure> {
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        let answer = subject.call(|reply| Message::Echo(payload.clone(), reply), AMPLE).await?;
        samples.push(began.elapsed());
        if answer != payload {
            return Err("the answer is not what was sent".into());
        }
    }
    Ok(samples)
}

/// How long it took until `count` casts were handled, not merely sent.
pub(crate) async fn casts(subject: Ref<Message>, count: u64, payload: Bytes) -> Result<Duration, Failure> {
    let before = counted(&subject).await?;
    let began = Instant::now();
    for _ in 0..count {
        subject.cast(Message::Count(payload.clone())).await?;
    }
    // A call may overtake casts that wait for room, and is refused where there is none: ask until all are there.
    loop {
        match counted(&subject).await {
            Ok(now) if now >= before + count => break,
            Ok(_) | Err(CallError::MailboxFull) if began.elapsed() < AMPLE => tokio::task::yield_now().await,
            Ok(now) => return Err(format!("{} of {count} casts arrived", now - before).into()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(began.elapsed())
}

async fn counted(subject: &Ref<Message>) -> Result<u64, CallError> {
    subject.call(Message::Counted, AMPLE).await
}
