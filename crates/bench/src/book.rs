//! The book as a group's state on a disk: transfers applied, beside rows put into a plain redb in the same run.
//!
//! `covenant-bench book` takes a tenth of the size that is promised for, `covenant-bench book --full` all of it.

use std::path::Path;
use std::process::Command as Process;
use std::time::{Duration, Instant};

use covenant_book::{
    AccountId, AccountOrder, Action, Asset, Command, Limit, Movement, NewTransfer, Order, Period, Tags,
};
use covenant_consensus::{Command as Handed, Replicated};
use covenant_ledger_state::{Ledger, LedgerConfig, LedgerState};
use covenant_store::redb::{Database, Durability, TableDefinition};
use covenant_types::{TransferId, WallTime};
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::report::{Outcome, Report, Row, Unit};
use crate::stats::rate;

/// How much of it there is.
#[derive(Clone, Copy)]
struct Size {
    accounts: u64,
    transfers: u64,
}

const FULL: Size = Size { accounts: 1_000_000, transfers: 10_000_000 };
const TENTH: Size = Size { accounts: 100_000, transfers: 1_000_000 };
/// Transfers of one command, and commands whose bytes are made before their time is taken.
const BATCH: u64 = 100;
const PREPARED: u64 = 200;
/// Of ten sides of transfers so many are one of these accounts, where some are hot.
const HOT_OF_TEN: u64 = 8;
const HOT: u64 = 1000;
const OPEN_MARK: f64 = 10.0;
const MEMORY_MARK: f64 = 512.0 * 1024.0 * 1024.0;
/// Twenty times etcd's 3.2 k/s by three replicas on two cores leaves one of them this much of a core.
const CPU_MARK: f64 = 10e-6;

pub(crate) fn run(full: bool, json: bool) -> Result<(), Failure> {
    let mut report = Report::new();
    report.add("book", measured(if full { FULL } else { TENTH })?);
    let mut out = std::io::stdout().lock();
    if json {
        report.write_json(&mut out)?
    } else {
        report.write_table(&mut out)?
    }
    Ok(())
}

/// A book of so many accounts, with transfers in it that came one at a time.
pub(crate) fn with_transfers(folder: &Path, accounts: u64, transfers: u64) -> Result<Ledger, Failure> {
    let ledger = Ledger::open(folder, LedgerConfig::default())?;
    let size = Size { accounts, transfers };
    let mut load = Load { state: ledger.state()?, size, draw: 1, next: 0, hot: false };
    load.open_accounts()?;
    load.apply(transfers, 1, false)?;
    Ok(ledger)
}

/// What one way of applying took.
#[derive(Clone, Copy)]
struct Took {
    transfers: u64,
    wall: Duration,
    cpu: Duration,
    longest: Duration,
}

fn measured(size: Size) -> Result<Outcome, Failure> {
    let scratch = tempfile::tempdir()?;
    let folder = scratch.path().join("book");
    let ledger = Ledger::open(&folder, LedgerConfig::default())?;
    let mut load = Load { state: ledger.state()?, size, draw: 1, next: 0, hot: false };
    load.open_accounts()?;
    let batches = load.apply(size.transfers, BATCH, false)?;
    load.hot = true;
    let hot = load.apply(size.transfers / 10, BATCH, false)?;
    let single = load.apply(size.transfers / 20, 1, false)?;
    let synced = load.apply(size.transfers / 200, BATCH, true)?;
    let began = Instant::now();
    ledger.wait_until_merged();
    let merged = began.elapsed();
    drop(load.state.view()?);
    let (transfers, peak) = (load.next, memory("VmHWM:")?);
    drop((load, ledger));
    let bytes: u64 = std::fs::read_dir(&folder)?.map(|file| Ok(file?.metadata()?.len())).sum::<std::io::Result<_>>()?;
    let (checked, opened) = (opened(&folder, true)?, opened(&folder, false)?);
    let plain = plain_redb(&scratch.path().join("plain.redb"), size.transfers)?;

    let per_second = |took: Took| vec![rate(took.transfers, took.wall)];
    #[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^53")]
    let each = |took: Took| vec![took.cpu.as_secs_f64() / took.transfers as f64];
    let beside = "redb, 256 B values, 100 a transaction, no fsync";
    #[expect(clippy::cast_precision_loss, reason = "bytes here are far below 2^53")]
    let bytes_each = bytes as f64 / transfers as f64;
    let seconds = |time: Duration| vec![time.as_secs_f64()];
    let rows = vec![
        Row::new("transfers, batches of 100, any account", Unit::PerSecond, per_second(batches))
            .beside(beside, per_second(plain)),
        Row::new("… processor time of one", Unit::Seconds, each(batches)).at_most(CPU_MARK).beside(beside, each(plain)),
        Row::new("… the longest call", Unit::Seconds, seconds(batches.longest)).beside(beside, seconds(plain.longest)),
        Row::new("transfers, batches of 100, 8 of 10 sides in 1000 accounts", Unit::PerSecond, per_second(hot)),
        Row::new("… processor time of one", Unit::Seconds, each(hot)).at_most(CPU_MARK),
        Row::new("transfers, one at a time", Unit::PerSecond, per_second(single)),
        Row::new("… processor time of one", Unit::Seconds, each(single)),
        Row::new("transfers, batches of 100, each a synced run", Unit::PerSecond, per_second(synced)),
        Row::new("bytes on disk of one", Unit::Bytes, vec![bytes_each]),
        Row::new("merging what was left", Unit::Seconds, seconds(merged)),
        Row::new("open to ready, every byte checked", Unit::Seconds, vec![checked.seconds]).at_most(OPEN_MARK),
        Row::new("open to ready, tails checked", Unit::Seconds, vec![opened.seconds]).at_most(OPEN_MARK),
        Row::new("memory after opening", Unit::Bytes, vec![opened.bytes]).at_most(MEMORY_MARK),
        Row::new("memory at most while applying", Unit::Bytes, vec![peak]).at_most(MEMORY_MARK),
    ];
    let Size { accounts, transfers } = size;
    let notes = vec![
        format!("{accounts} accounts and {transfers} transfers; ids are random, which no order helps"),
        "processor time is that of the process, with merging".to_owned(),
    ];
    Ok(Outcome { rows, notes })
}

/// Makes commands, and applies them.
struct Load {
    state: LedgerState,
    size: Size,
    draw: u64,
    next: u64,
    hot: bool,
}

impl Load {
    fn open_accounts(&mut self) -> Result<(), Failure> {
        let numbers: Vec<u64> = (0..self.size.accounts).collect();
        for some in numbers.chunks(covenant_book::BATCH_MAX / 2) {
            let account = |number: &u64| AccountOrder { id: account(*number), asset: Asset::USD, limit: Limit::None };
            let order = Order::Open(some.iter().map(account).collect());
            self.state.apply(&[handed(order)], b"opened")?;
        }
        Ok(())
    }

    fn apply(&mut self, count: u64, batch: u64, synced: bool) -> Result<Took, Failure> {
        let mut took = Took { transfers: 0, wall: Duration::ZERO, cpu: Duration::ZERO, longest: Duration::ZERO };
        while took.transfers < count {
            let commands: Vec<Handed> = (0..PREPARED).map(|_| self.command(batch)).collect();
            let (began, before) = (Instant::now(), processor_time()?);
            for command in commands {
                let call = Instant::now();
                let answers = self.state.apply(std::slice::from_ref(&command), &self.next.to_be_bytes())?;
                if synced {
                    drop(self.state.view()?);
                }
                took.longest = took.longest.max(call.elapsed());
                if answers.iter().any(Vec::is_empty) {
                    return Err("a command was not understood".into());
                }
            }
            took.wall += began.elapsed();
            took.cpu += processor_time()?.saturating_sub(before);
            took.transfers += PREPARED * batch;
        }
        Ok(took)
    }

    fn command(&mut self, batch: u64) -> Handed {
        let transfers = (0..batch).map(|_| self.transfer()).collect();
        handed(Order::Transfer { transfers, whole: false })
    }

    fn transfer(&mut self) -> NewTransfer {
        self.next += 1;
        let (debit, credit) = (self.side(), self.side());
        let credit = if credit == debit { (credit + 1) % self.size.accounts } else { credit };
        let (debit, credit) = (account(debit), account(credit));
        let action = Action::Post(Movement { debit, credit, amount: 5, tags: Tags::default() });
        NewTransfer { id: TransferId(spread(self.next, 1)), action, period: Period(2026), linked: false }
    }

    fn side(&mut self) -> u64 {
        let of = if self.hot && self.drawn(10) < HOT_OF_TEN { HOT } else { self.size.accounts };
        self.drawn(of)
    }

    fn drawn(&mut self, bound: u64) -> u64 {
        self.draw += 1;
        u64::try_from(spread(self.draw, 2) % u128::from(bound)).unwrap_or(0)
    }
}

pub(crate) fn handed(order: Order) -> Handed {
    let at = WallTime(1);
    Handed { id: 0, bytes: Command { at, order }.to_bytes(), at }
}

pub(crate) fn account(number: u64) -> AccountId {
    AccountId(spread(number, 3))
}

/// A number of 127 bits that follows from a number and tells nothing of its neighbours.
pub(crate) fn spread(number: u64, kind: u8) -> u128 {
    let mut state = u128::from(number) << 8 | u128::from(kind) | 1 << 100;
    for _ in 0..2 {
        state = state.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        state ^= state >> 61;
    }
    state >> 1 | 1
}

/// The same number of rows in a plain redb: a random key of 16 bytes and a value of 256.
fn plain_redb(path: &Path, count: u64) -> Result<Took, Failure> {
    const ROWS: TableDefinition<'_, [u8; 16], &[u8]> = TableDefinition::new("rows");
    let database = Database::builder().set_cache_size(256 << 20).create(path)?;
    let value = [7; 256];
    let (began, before) = (Instant::now(), processor_time()?);
    let mut longest = Duration::ZERO;
    for first in (0..count).step_by(usize::try_from(BATCH)?) {
        let call = Instant::now();
        let mut write = database.begin_write()?;
        write.set_durability(Durability::None)?;
        {
            let mut rows = write.open_table(ROWS)?;
            for number in first..(first + BATCH).min(count) {
                rows.insert(spread(number, 4).to_be_bytes(), &value[..])?;
            }
        }
        write.commit()?;
        longest = longest.max(call.elapsed());
    }
    Ok(Took { transfers: count, wall: began.elapsed(), cpu: processor_time()?.saturating_sub(before), longest })
}

/// What opening took, told by the process that did it.
#[derive(Serialize, Deserialize)]
struct Opened {
    seconds: f64,
    bytes: f64,
}

/// Opens the book in a process of its own.
fn opened(folder: &Path, check: bool) -> Result<Opened, Failure> {
    let flag = if check { "check" } else { "trust" };
    let child = Process::new(std::env::current_exe()?).arg("--open-book").arg(folder).arg(flag).output()?;
    if !child.status.success() {
        return Err(String::from_utf8_lossy(&child.stderr).into());
    }
    Ok(serde_json::from_slice(&child.stdout)?)
}

/// The other side of [`opened`].
pub(crate) fn open(folder: &str, check: bool) -> Result<String, Failure> {
    let began = Instant::now();
    let config = LedgerConfig { check_on_open: check, ..LedgerConfig::default() };
    let ledger = Ledger::open(Path::new(folder), config)?;
    let book = ledger.reader().book()?;
    let first = book.transfer(0)?;
    let seconds = began.elapsed().as_secs_f64();
    if first.is_none() {
        return Err("the book is empty".into());
    }
    Ok(serde_json::to_string(&Opened { seconds, bytes: memory("VmRSS:")? })?)
}

/// How long the processor worked for this process.
pub(crate) fn processor_time() -> Result<Duration, Failure> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Ok(Duration::new(u64::try_from(time.tv_sec)?, u32::try_from(time.tv_nsec)?))
}

/// What the kernel says of this process under that name.
pub(crate) fn memory(field: &str) -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("the kernel does not say")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0)
}
