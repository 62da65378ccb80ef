//! The process that calls. It does one thing, says what it measured, a name and a number on each line, and ends.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ractor::ActorRef;
use ractor::rpc::CallResult;

use crate::Failure;
use crate::link::{self, Carrier, Connected};
use crate::stats::{p50_p99, rate};
use crate::words::{Ask, LAST, WORKER};

/// What is said when the callee refused the connection.
pub(crate) const REFUSED: &str = "refused";
/// What a small message carries, and a large one.
pub(crate) const SMALL_BYTES: usize = 100;
pub(crate) const LARGE_BYTES: usize = 10 * 1024;
/// Calls before any that count.
const WARM_UP: u64 = 200;
/// How long an answer may take that has to come.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);
/// How long an answer of one that stops is waited for.
const LAST_WITHIN: Duration = Duration::from_secs(3);
/// How long members may take to be seen.
const SEEN_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// `caller WHAT COUNT CARRIER ADDRESS CERTIFICATE PID NAME`: `PID` is the callee's.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    let [what, count, carrier, address, certificate, pid, name] = arguments else {
        return Err("caller WHAT COUNT CARRIER ADDRESS CERTIFICATE PID NAME".into());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (carrier, address, count) = (Carrier::read(carrier)?, address.parse()?, count.parse()?);
        let certificate = unhex(certificate)?;
        let here = Process(std::process::id());
        let there = Process(pid.parse()?);
        if *what == "crowd" {
            return crowd(name, carrier, address, certificate, [here, there]).await;
        }
        let _connected = match link::connect(name, carrier, address, certificate).await {
            Ok(connected) => connected,
            Err(error) => return say(REFUSED, 1.0).and(if *what == "once" { Ok(()) } else { Err(error) }),
        };
        match *what {
            "call" => calls(count).await,
            "cast" => casts("cast", count, SMALL_BYTES).await,
            "large" => casts("large", count, LARGE_BYTES).await,
            "slow" => slow(count, [here, there]).await,
            "last" => lasts(count).await,
            "once" => {
                say("ready", 1.0)?;
                std::future::pending().await
            }
            _ => Err(format!("{what} is not measured").into()),
        }
    })
}

async fn calls(count: u64) -> Result<(), Failure> {
    let worker = worker().await?;
    let mut took = Vec::new();
    for call in 0..WARM_UP + count {
        let began = Instant::now();
        ask(&worker, |port| Ask::Echo(vec![7; SMALL_BYTES], port), ANSWER_WITHIN)
            .await
            .ok_or("a call had no answer")?;
        if call >= WARM_UP {
            took.push(began.elapsed());
        }
    }
    let (p50, p99) = p50_p99(took);
    say("p50", p50)?;
    say("p99", p99)
}

/// Casts as they are received: from the first that is taken to the last.
async fn casts(name: &str, count: u64, bytes: usize) -> Result<(), Failure> {
    let worker = worker().await?;
    for _ in 0..count {
        worker.cast(Ask::Take(vec![7; bytes]))?;
    }
    let took = ask(&worker, Ask::Took, ANSWER_WITHIN).await.ok_or("the casts were not taken in time")?;
    say(name, rate(count.saturating_sub(1), Duration::from_nanos(took)))
}

async fn slow(count: u64, processes: [Process; 2]) -> Result<(), Failure> {
    let worker = worker().await?;
    let before = processes.map(Process::resident);
    let began = Instant::now();
    for _ in 0..count {
        worker.cast(Ask::TakeSlowly(vec![7; LARGE_BYTES]))?;
        tokio::task::yield_now().await; // a producer that never waits would keep the connection's tasks from running
    }
    let sent = began.elapsed();
    let mut asked = tokio::spawn(async move { ask(&worker, Ask::Took, ANSWER_WITHIN).await });
    let mut most = processes.map(Process::resident);
    let took = loop {
        tokio::select! {
            biased;
            took = &mut asked => break took?.ok_or("the casts were not taken in time")?,
            () = tokio::time::sleep(LOOK_EVERY) => {
                let now = processes.map(Process::resident);
                most = [most[0].max(now[0]), most[1].max(now[1])];
            }
        }
    };
    say("held", sent.as_secs_f64() / Duration::from_nanos(took).as_secs_f64())?;
    say("growth", (most[0] + most[1]) - (before[0] + before[1]))?;
    say("sent", count as f64 * LARGE_BYTES as f64)
}

async fn lasts(count: u64) -> Result<(), Failure> {
    let members = members(LAST, usize::try_from(count)?).await?;
    let asked: Vec<_> = members
        .into_iter()
        .map(|member| tokio::spawn(async move { ask(&member, Ask::Last, LAST_WITHIN).await }))
        .collect();
    let mut lost = 0;
    for asked in asked {
        lost += u32::from(asked.await?.is_none());
    }
    say("lost", f64::from(lost))
}

async fn crowd(
    name: &str,
    carrier: Carrier,
    address: SocketAddr,
    certificate: Vec<u8>,
    processes: [Process; 2],
) -> Result<(), Failure> {
    let before = processes.map(Process::resident);
    let began = Instant::now();
    // Ready is said after all that is announced, and heard after all of it was taken in.
    let _connected: Connected = link::connect(name, carrier, address, certificate).await?;
    say("connect", began.elapsed().as_secs_f64())?;
    let after = processes.map(Process::resident);
    say("here", after[0] - before[0])?;
    say("there", after[1] - before[1])
}

async fn worker() -> Result<ActorRef<Ask>, Failure> {
    Ok(members(WORKER, 1).await?.remove(0))
}

async fn members(group: &str, count: usize) -> Result<Vec<ActorRef<Ask>>, Failure> {
    let seen = async {
        loop {
            let members = ractor::pg::get_members(&group.to_owned());
            if members.len() >= count {
                return members.into_iter().map(Into::into).collect();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    Ok(tokio::time::timeout(SEEN_WITHIN, seen).await?)
}

/// The answer; `None` where there is none in time.
async fn ask<T: Send + 'static>(
    actor: &ActorRef<Ask>,
    message: impl FnOnce(ractor::RpcReplyPort<T>) -> Ask,
    within: Duration,
) -> Option<T> {
    match actor.call(message, Some(within)).await.ok()? {
        CallResult::Success(answer) => Some(answer),
        CallResult::Timeout | CallResult::SenderError => None,
    }
}

fn say(name: &str, value: f64) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{name} {value}")?;
    Ok(out.flush()?)
}

fn unhex(text: &str) -> Result<Vec<u8>, Failure> {
    let digits = text.trim_end_matches('-');
    let byte = |at: usize| Ok(u8::from_str_radix(digits.get(at..at + 2).ok_or("half a byte")?, 16)?);
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// A process, by its id.
#[derive(Clone, Copy)]
struct Process(u32);

impl Process {
    /// Its resident memory in bytes; 0 where it has gone.
    fn resident(self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        kibibytes.unwrap_or(0.0) * 1024.0
    }
}
