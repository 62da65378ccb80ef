//! The same small jobs on our two hosts, on a bare tokio task, on other actor libraries and on Erlang.
//!
//! Every cell of the table runs in a process of its own, so that none inherits another's memory or threads, and the engines
//! take turns round by round, so that whatever else the machine does hits all of them.

mod bare;
mod erlang;
mod kameo_actor;
mod ours;
mod ractor_actor;
mod recorder;
mod stop;
mod table;

use std::process::Command;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use covenant_supervision::Host as ActorHost;

use crate::Failure;
use crate::stats::p50_p99;

/// Rounds of each cell when nothing else is asked for.
pub(crate) const ROUNDS: usize = 5;
/// Casts of one round, from all senders together.
const CASTS: u64 = 1_000_000;
/// Messages a bounded mailbox takes.
const MAILBOX: usize = 1024;
const CALLS: u32 = 200_000;
/// Actors started to warm up, and then the same number timed.
const SPAWNS: u32 = 20_000;
/// Idle actors that are weighed.
const IDLE: u32 = 100_000;
const CRASHES: usize = 2000;
/// Children that are stopped together, and how many are few of them.
const STOPPED: u32 = 100_000;
const STOPPED_FEW: u32 = 1000;
/// How often few are stopped: it takes milliseconds.
const STOPPED_FEW_TIMES: usize = 15;

/// What is measured. The numbers of a cell are in seconds, per second, or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metric {
    Call,
    Cast,
    CastFour,
    Spawn,
    Memory,
    CrashError,
    CrashPanic,
    /// The stop of a supervisor whose children stop one after the other, and of one whose instances stop all at once: by
    /// child, of many and of few.
    Stop,
    StopInstances,
    /// What the flight recorder takes of the throughput of casts: the median of pairs, and its interval.
    Recorder,
    /// The plan of a change.
    Plan,
}

impl Metric {
    pub(super) const ALL: [Self; 11] = [
        Self::CrashError,
        Self::CrashPanic,
        Self::Call,
        Self::Cast,
        Self::CastFour,
        Self::Spawn,
        Self::Memory,
        Self::Stop,
        Self::StopInstances,
        Self::Recorder,
        Self::Plan,
    ];

    /// Whether one round says it all.
    fn is_once(self) -> bool {
        matches!(self, Self::Recorder)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Cast => "cast",
            Self::CastFour => "cast-four",
            Self::Spawn => "spawn",
            Self::Memory => "memory",
            Self::CrashError => "crash-error",
            Self::CrashPanic => "crash-panic",
            Self::Stop => "stop",
            Self::StopInstances => "stop-instances",
            Self::Recorder => "recorder",
            Self::Plan => "plan",
        }
    }
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Hosted,
    Light,
    Tokio,
    Ractor,
    Kameo,
    Erlang,
}

impl Engine {
    pub(super) const ALL: [Self; 6] = [Self::Hosted, Self::Light, Self::Tokio, Self::Ractor, Self::Kameo, Self::Erlang];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Hosted => "hosted",
            Self::Light => "light",
            Self::Tokio => "tokio",
            Self::Ractor => "ractor",
            Self::Kameo => "kameo",
            Self::Erlang => "erlang",
        }
    }
}

fn parse<T: Copy>(text: &str, all: &[T], word: impl Fn(T) -> &'static str) -> Result<T, Failure> {
    all.iter().copied().find(|one| word(*one) == text).ok_or_else(|| format!("{text:?} is no such thing").into())
}

/// Runs one cell in this process. The answer is one line of numbers.
pub(crate) fn cell(metric: &str, engine: &str) -> Result<String, Failure> {
    let metric = parse(metric, &Metric::ALL, Metric::word)?;
    let numbers = match parse(engine, &Engine::ALL, Engine::word)? {
        Engine::Hosted => ours::measure(metric, ActorHost::Hosted)?,
        Engine::Light => ours::measure(metric, ActorHost::Light)?,
        Engine::Tokio => on_tokio(bare::measure(metric))?,
        Engine::Ractor => on_tokio(ractor_actor::measure(metric))?,
        Engine::Kameo => on_tokio(kameo_actor::measure(metric))?,
        Engine::Erlang => erlang::measure(metric)?,
    };
    Ok(numbers.map_or_else(
        || "-".to_owned(),
        |numbers| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    ))
}

/// What a cell measured; `None` where an engine has no such thing.
type Measured = Result<Option<Vec<f64>>, Failure>;

/// Runs the cells of these metrics `rounds` times, or of all where none is named, and prints the table.
pub(crate) fn run(rounds: usize, names: &[&str], json: bool) -> Result<(), Failure> {
    let program = std::env::current_exe()?;
    let named = names.iter().map(|name| parse(name, &Metric::ALL, Metric::word)).collect::<Result<Vec<_>, _>>()?;
    let metrics = if named.is_empty() { Metric::ALL.to_vec() } else { named };
    let mut table = table::Table::new();
    for round in 0..rounds {
        for &metric in metrics.iter().filter(|metric| round == 0 || !metric.is_once()) {
            for turn in 0..Engine::ALL.len() {
                let engine = Engine::ALL[(turn + round) % Engine::ALL.len()];
                let output = Command::new(&program).args(["--peer-cell", metric.word(), engine.word()]).output()?;
                let said = String::from_utf8_lossy(&output.stdout);
                if !output.status.success() {
                    let why = String::from_utf8_lossy(&output.stderr);
                    return Err(format!("{} on {}: {}", metric.word(), engine.word(), why.trim()).into());
                }
                let numbers = said.split_whitespace().map(f64::from_str).collect::<Result<Vec<f64>, _>>();
                table.note(metric, engine, numbers.unwrap_or_default());
            }
        }
    }
    table.write(&mut std::io::stdout().lock(), rounds, json)?;
    Ok(())
}

/// The middle one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs `future` as a task of a runtime of two threads, as a node's behaviours run.
fn on_tokio(future: impl Future<Output = Measured> + Send + 'static) -> Measured {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let handle = covenant_env::Spawner::new(runtime.handle().clone());
    runtime.block_on(handle.spawn(future)).map_err(|error| format!("the task ended early: {error:?}"))?
}

/// When an incarnation began to crash.
type Stamp = Arc<OnceLock<Instant>>;

fn since(stamp: &Stamp) -> Result<Duration, Failure> {
    let now = Instant::now();
    Ok(now.duration_since(*stamp.get().ok_or("the actor did not note when it crashed")?))
}

fn percentiles(samples: Vec<Duration>) -> Vec<f64> {
    let (p50, p99) = p50_p99(samples);
    vec![p50, p99]
}

fn each(began: Instant, count: u32) -> Vec<f64> {
    vec![began.elapsed().as_secs_f64() / f64::from(count)]
}

fn per_second(began: Instant, count: u64) -> Vec<f64> {
    vec![crate::stats::rate(count, began.elapsed())]
}

/// Bytes of this process that are in memory.
pub(crate) fn resident() -> Result<f64, Failure> {
    const PAGE: f64 = 4096.0;
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = statm.split_whitespace().nth(1).ok_or("/proc/self/statm has no second number")?.parse()?;
    Ok(pages * PAGE)
}
