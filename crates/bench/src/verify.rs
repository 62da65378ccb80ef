//! The whole public log of a ledger verified and done again, as `covenant ledger verify` does it.
//!
//! `covenant-bench verify` makes a log of a million entries in a folder, nearly all with one transfer, and verifies it.

use std::path::Path;
use std::time::{Duration, Instant};

use covenant_identity::NodeKey;
use covenant_ledger::{Replay, ReplayError, entries_of};
use covenant_ledger_state::Reader;
use covenant_tlog::{
    CHECKPOINT_FILE, Checkpoint, Directory, KeyKind, KeyName, Policy, TileBuilder, TileFile, VerifierKey, VerifyError,
    sign, verify,
};

use crate::Failure;
use crate::book::{memory, processor_time, with_transfers};
use crate::report::{Outcome, Report, Row, Unit};

const ENTRIES: u64 = 1_000_000;
const ACCOUNTS: u64 = 100_000;
const PAGE: usize = 4096;
/// How long all of it may take on one core.
const MARK: f64 = 30.0;

pub(crate) fn run(json: bool) -> Result<(), Failure> {
    let mut report = Report::new();
    report.add("verify", measured()?);
    let mut out = std::io::stdout().lock();
    if json {
        report.write_json(&mut out)?
    } else {
        report.write_table(&mut out)?
    }
    Ok(())
}

fn measured() -> Result<Outcome, Failure> {
    let scratch = tempfile::tempdir()?;
    let (public, key) = (scratch.path().join("public"), NodeKey::generate());
    let name: KeyName = "bench.example/ledger".parse()?;
    let ledger = with_transfers(&scratch.path().join("book"), ACCOUNTS, ENTRIES)?;
    let bytes = write_log(&public, &ledger.reader(), &name, &key)?;
    drop(ledger);
    std::fs::remove_dir_all(scratch.path().join("book"))?;
    let policy = Policy::new(VerifierKey::new(name, KeyKind::Note, key.public_key()), Vec::new(), 0)?;
    let mut replay = Replay::new(&scratch.path().join("again"))?;
    let (began, cpu) = (Instant::now(), processor_time()?);
    let verified = verify(&Directory::new(&public), &policy, &[], |index, entry| replay.entry(index, entry));
    let verified = verified.map_err(|error: VerifyError<ReplayError>| Failure::from(error.to_string()))?;
    let replayed = replay.finish()?;
    let (took, cpu) = (began.elapsed(), processor_time()?.saturating_sub(cpu));
    let began = Instant::now();
    verify(&Directory::new(&public), &policy, &[], |_, _| Ok::<(), ReplayError>(()))
        .map_err(|error| Failure::from(error.to_string()))?;
    let hashing = began.elapsed();
    let entries = verified.head.size();
    #[expect(clippy::cast_precision_loss, reason = "a number to show")]
    let per_entry = bytes as f64 / entries as f64;
    let seconds = |took: Duration| vec![took.as_secs_f64()];
    Ok(Outcome {
        rows: vec![
            Row::new(format!("{entries} entries verified and done again"), Unit::Seconds, seconds(took)).at_most(MARK),
            Row::new("… processor time, all threads", Unit::Seconds, seconds(cpu)).at_most(MARK),
            Row::new("… hashes and files alone", Unit::Seconds, seconds(hashing)),
            Row::new("bytes of the log for an entry", Unit::Bytes, vec![per_entry]),
            Row::new("memory at most, making the log too", Unit::Bytes, vec![memory("VmHWM:")?]),
        ],
        notes: vec![format!("{} transfers, {} accounts at its end", replayed.transfers, replayed.accounts)],
    })
}

/// Writes the files of a log of all commands, unsynced. Says how many bytes they have.
fn write_log(folder: &Path, reader: &Reader, name: &KeyName, key: &NodeKey) -> Result<u64, Failure> {
    let (mut builder, mut from, mut bytes) = (TileBuilder::default(), 0, 0);
    let mut write = |file: TileFile| -> Result<(), Failure> {
        let path = folder.join(file.path.to_string());
        std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
        bytes += file.bytes.len() as u64;
        Ok(std::fs::write(path, file.bytes)?)
    };
    loop {
        let page = reader.commands(from, PAGE)?;
        if page.is_empty() {
            break;
        }
        for applied in page {
            from += 1;
            for entry in entries_of(from, applied.as_bytes()) {
                builder.append(&entry)?.into_iter().try_for_each(&mut write)?;
            }
        }
    }
    builder.edge().into_iter().try_for_each(&mut write)?;
    let head =
        Checkpoint { origin: name.to_string(), size: builder.size(), root: builder.root(), extensions: Vec::new() };
    std::fs::write(folder.join(CHECKPOINT_FILE), sign(name, key, head.to_string()).to_string())?;
    Ok(bytes)
}
