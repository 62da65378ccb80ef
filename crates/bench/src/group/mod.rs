//! Three processes that agree beside three of etcd, in one run, on one disk, for the same number of clients.

mod etcd;
mod grpc;
mod ours;
mod voter;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use self::etcd::Etcd;
use self::ours::Ours;
pub(crate) use self::voter::run as voter;
use crate::Failure;
use crate::disk::{Place, synced_records};
use crate::load::{Load, Round, Target};
use crate::report::{Outcome, Report, Row, Unit};
use crate::stats::{p50_p99, rate};

const MEMBERS: usize = 3;
const CLIENTS: usize = 64;
const BATCH: usize = 100;
const RECORD_BYTES: usize = 256;
const ROUNDS: usize = 5;
/// Long enough for a sync to be slow once in a while.
const ROUND: Duration = Duration::from_secs(1);
/// What no step takes.
const PATIENCE: Duration = Duration::from_secs(30);
const NOTES: &str = "notes";
const BOOK: &str = "book";
/// The marks: of etcd's puts a second, one by one and a hundred at a time; seconds for one in a hundred at etcd's
/// rate; two election timeouts.
const TIMES: f64 = 2.0;
const TIMES_BATCHED: f64 = 20.0;
const P99_MARK: f64 = 0.025;
const AGAIN_MARK: f64 = 2.0;
/// The rate at which p99 is taken where there is no etcd: about what it does on two cores.
const RATE_WITHOUT: f64 = 3_000.0;

/// What one system did over all rounds.
#[derive(Default)]
struct Measured {
    one_by_one: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    /// Processor time of all members for one write.
    cpu: Vec<f64>,
    batched: Vec<f64>,
    /// The same for one record of a batch.
    cpu_batched: Vec<f64>,
    at_pace: Vec<f64>,
}

/// Prints the table.
pub(crate) fn run(json: bool) -> Result<(), Failure> {
    let mut report = Report::new();
    let outcome = measure(&mut report)?;
    report.add("group", outcome);
    let mut out = std::io::stdout().lock();
    if json {
        report.write_json(&mut out)?;
    } else {
        report.write_table(&mut out)?;
    }
    if report.has_failed() { Err("there is no etcd to measure beside".into()) } else { Ok(()) }
}

fn measure(report: &mut Report) -> Result<Outcome, Failure> {
    let scratch = tempfile::tempdir()?;
    let version = etcd::version();
    let mut ours = Ours::start(scratch.path())?;
    let mut etcd = match &version {
        Some(_) => Some(Etcd::start(scratch.path())?),
        None => {
            report.failed(
                "etcd",
                "it is not installed, so NOTHING HERE IS MEASURED BESIDE IT: apt-get install etcd-server, or name its \
                 program in COVENANT_ETCD"
                    .to_owned(),
            );
            None
        }
    };
    let puts = match &etcd {
        Some(etcd) => Some(Arc::new(ours.host.work_on(etcd.puts())?)),
        None => None,
    };
    let (mut notes, mut book, mut theirs, mut syncs) =
        (Measured::default(), Measured::default(), Measured::default(), Vec::new());
    let mut next = 1_000;
    for round in 0..=ROUNDS {
        let keep = round > 0;
        let mut stage = Stage { ours: &ours, next: &mut next, keep };
        let pids = ours.processes();
        let pace = match (&puts, &etcd) {
            (Some(puts), Some(etcd)) => stage.unpaced(puts, &etcd.processes(), &mut theirs)?,
            _ => RATE_WITHOUT,
        };
        stage.unpaced(&ours.notes(), &pids, &mut notes)?;
        stage.unpaced(&ours.book(), &pids, &mut book)?;
        stage.paced(&ours.notes(), pace, &mut notes)?;
        stage.paced(&ours.book(), pace, &mut book)?;
        if let Some(puts) = &puts {
            stage.paced(puts, pace, &mut theirs)?;
        }
        // Last, for what they leave the disk to do.
        if let (Some(puts), Some(etcd)) = (&puts, &etcd) {
            stage.batched(puts, &etcd.processes(), &mut theirs)?;
        }
        stage.batched(&ours.notes(), &pids, &mut notes)?;
        stage.batched(&ours.book(), &pids, &mut book)?;
        let synced = synced_records(scratch.path(), Place::End, &[7; RECORD_BYTES], ROUND / 4)?;
        if keep {
            syncs.push(rate(synced.0, synced.1));
        }
    }
    let (again, answered) = ours.writes_after_kill()?;
    let theirs_again = match etcd.as_mut() {
        Some(etcd) => Some(ours.host.work_on(etcd.writes_after_kill())?),
        None => None,
    };
    ours.close();
    drop(puts);
    drop(etcd);
    Ok(table(&version, notes, book, theirs, syncs, (again, answered, theirs_again)))
}

/// One round, where its numbers go.
struct Stage<'a> {
    ours: &'a Ours,
    next: &'a mut u64,
    /// The first round warms up.
    keep: bool,
}

impl Stage<'_> {
    fn load<T: Target>(&mut self, target: &Arc<T>, records: usize, pace: Option<f64>) -> Result<Round, Failure> {
        let load = Load { clients: CLIENTS, records, during: ROUND, pace };
        // Nobody pays for pages that another one left unwritten.
        rustix::fs::sync();
        self.ours.host.on_work(load.against(target, self.next))
    }

    /// As fast as answers come, one by one. Gives back the rate.
    fn unpaced<T: Target>(&mut self, target: &Arc<T>, pids: &[u32], into: &mut Measured) -> Result<f64, Failure> {
        let before = cpu_seconds(pids)?;
        let round = self.load(target, 1, None)?;
        let (spent, rate) = (cpu_seconds(pids)? - before, round.rate());
        if self.keep {
            into.one_by_one.push(rate);
            into.cpu.push(spent / round.done() as f64);
            let (half, most) = p50_p99(round.took);
            into.p50.push(half);
            into.p99.push(most);
        }
        Ok(rate)
    }

    /// The same, a hundred records at a time.
    fn batched<T: Target>(&mut self, target: &Arc<T>, pids: &[u32], into: &mut Measured) -> Result<(), Failure> {
        let before = cpu_seconds(pids)?;
        let round = self.load(target, BATCH, None)?;
        let spent = cpu_seconds(pids)? - before;
        if self.keep {
            into.batched.push(round.rate() * BATCH as f64);
            into.cpu_batched.push(spent / (round.done() * BATCH) as f64);
        }
        Ok(())
    }

    fn paced<T: Target>(&mut self, target: &Arc<T>, pace: f64, into: &mut Measured) -> Result<(), Failure> {
        let round = self.load(target, 1, Some(pace))?;
        if self.keep {
            into.at_pace.push(p50_p99(round.took).1);
        }
        Ok(())
    }
}

type Again = (Duration, Duration, Option<Duration>);

fn table(
    version: &Option<String>,
    notes: Measured,
    book: Measured,
    theirs: Measured,
    syncs: Vec<f64>,
    again: Again,
) -> Outcome {
    let there = version.is_some();
    let beside = |row: Row, what: &str, rounds: &[f64], times: Option<f64>| match times {
        _ if !there => row,
        None => row.beside(what, rounds.to_vec()),
        Some(times) => row.beside(what, rounds.to_vec()).ratio_at_least(times),
    };
    let mut rows = Vec::new();
    for (what, ours) in [("entries", notes), ("transfers", book)] {
        let row = |name: String, unit, rounds| Row::new(format!("{what}, {name}"), unit, rounds);
        let clients = format!("{CLIENTS} clients");
        let batches = format!("{clients}, {BATCH} in a command");
        rows.extend([
            beside(row(clients, Unit::PerSecond, ours.one_by_one), "etcd, puts", &theirs.one_by_one, Some(TIMES)),
            beside(row("… p50".into(), Unit::Seconds, ours.p50), "etcd", &theirs.p50, None),
            beside(row("… p99".into(), Unit::Seconds, ours.p99), "etcd", &theirs.p99, None),
            beside(
                row("… processor time of the members, each".into(), Unit::Seconds, ours.cpu),
                "etcd",
                &theirs.cpu,
                None,
            ),
            beside(
                row("p99 at the rate that etcd came to".into(), Unit::Seconds, ours.at_pace).at_most(P99_MARK),
                "etcd",
                &theirs.at_pace,
                None,
            ),
            beside(
                row(batches.clone(), Unit::PerSecond, ours.batched.clone()),
                "etcd, puts one by one",
                &theirs.one_by_one,
                Some(TIMES_BATCHED),
            ),
            beside(
                row(batches, Unit::PerSecond, ours.batched),
                "etcd, 100 puts in a transaction",
                &theirs.batched,
                None,
            ),
            beside(
                row("… processor time of the members, each record".into(), Unit::Seconds, ours.cpu_batched),
                "etcd",
                &theirs.cpu_batched,
                None,
            ),
        ]);
    }
    let (first, answered, theirs_again) = again;
    let seconds = |time: Duration| vec![time.as_secs_f64()];
    let kill = Row::new("leader killed → another one takes a write", Unit::Seconds, seconds(first)).at_most(AGAIN_MARK);
    rows.push(match theirs_again {
        Some(theirs) => kill.beside("etcd", seconds(theirs)),
        None => kill,
    });
    rows.push(Row::new("leader killed → a client that knew it is answered", Unit::Seconds, seconds(answered)));
    rows.push(Row::new("plain file, append of an entry and fsync", Unit::PerSecond, syncs));
    let notes = vec![
        format!(
            "{MEMBERS} processes of ours and {MEMBERS} of {}, one disk, {CLIENTS} clients in one process, {ROUNDS} rounds in turn of \
             {} s for each number; every write is answered when it is synced at a majority and applied",
            version.as_deref().unwrap_or("nothing, for etcd is not there"),
            ROUND.as_secs_f64(),
        ),
        format!(
            "entries of {RECORD_BYTES} B, which the members count; transfers of {} B, which the book keeps; puts of \
             {RECORD_BYTES} B with their key, over gRPC to the member that leads",
            ours::transfer_bytes()
        ),
        "at a rate: clients are due at fixed times, and time counts from then; before each load the file systems are \
         synced; the leader is killed once"
            .to_owned(),
    ];
    Outcome { rows, notes }
}

/// So many records as one command that begins with its number.
fn record(number: u64, records: usize) -> Vec<u8> {
    let mut bytes = [7; RECORD_BYTES].repeat(records);
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Processor time of these processes so far.
fn cpu_seconds(pids: &[u32]) -> Result<f64, Failure> {
    let mut sum = 0.0;
    for pid in pids {
        sum += crate::processor_time::cpu_seconds(Path::new(&format!("/proc/{pid}/stat")))?;
    }
    Ok(sum)
}
