//! `covenant ledger verify`: checks the whole public log of the ledger and does all of it again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use covenant_ledger::{LedgerKeys, Replay, ReplayError, Replayed, quorum_of};
use covenant_node::api::{ApiError, ErrorKind};
use covenant_tlog::{
    CHECKPOINT_FILE, Checkpoint, Directory, Head, LogFiles, NOTE_BYTES_MAX, Policy, SignedNote, Verified, VerifierKey,
    VerifyError, verify,
};
use serde::Serialize;

use super::http_files::HttpFiles;
use crate::args::{Global, VerifyArgs};
use crate::client::Client;
use crate::output::{Output, Tone};

/// How often progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(200);

/// What was proved.
#[derive(Debug, Serialize)]
pub(crate) struct VerifyDone {
    /// Which log.
    pub(crate) log: String,
    pub(crate) entries: u64,
    pub(crate) root: String,
    /// Who cosigned, and how many it takes.
    pub(crate) cosigned_by: Vec<String>,
    pub(crate) quorum: usize,
    /// Whether a cluster was believed for the keys, and not whoever asks.
    keys_from_cluster: bool,
    /// How many earlier checkpoints it extends.
    earlier: usize,
    /// Whether there is no file that does not belong to the log; over HTTP nobody can tell.
    exact_files: bool,
    #[serde(flatten)]
    pub(crate) book: Replayed,
    seconds: f64,
}

/// Where a log is read from, as far as it says itself.
struct Source {
    files: Box<dyn LogFiles + Send>,
    from: String,
    remote: bool,
    /// What the checkpoint says, which nobody verified yet.
    said: Checkpoint,
}

/// Whom to believe.
struct Keys {
    log: VerifierKey,
    witnesses: Vec<VerifierKey>,
    quorum: usize,
    from_cluster: bool,
}

pub(crate) async fn run(global: &Global, args: &VerifyArgs, output: &Output) -> Result<(), ApiError> {
    let source = blocking(source(&args.from)?).await?;
    let keys = match &args.log {
        Some(log) => given(log, args)?,
        None => from_cluster(&global.client().await?, &source, args.quorum).await?,
    };
    let done = check(source, keys, &args.earlier, *output).await?;
    output.view(&done, |output| told(output, &done));
    Ok(())
}

/// Verifies the log at `from` by the keys that a cluster says.
pub(crate) async fn by_cluster(client: &Client, from: &str, output: Output) -> Result<VerifyDone, ApiError> {
    let source = blocking(source(from)?).await?;
    let keys = from_cluster(client, &source, None).await?;
    check(source, keys, &[], output).await
}

async fn check(source: Source, keys: Keys, earlier: &[PathBuf], output: Output) -> Result<VerifyDone, ApiError> {
    let (log, quorum, from_cluster) = (keys.log.to_string(), keys.quorum, keys.from_cluster);
    let policy = Policy::new(keys.log, keys.witnesses, keys.quorum).map_err(|error| usage(&error))?;
    let earlier = earlier.iter().map(|file| kept(&policy, file)).collect::<Result<Vec<_>, _>>()?;
    let (count, began) = (earlier.len(), Instant::now());
    let (verified, book) = blocking(move || replay(&source, &policy, &earlier, output)).await?;
    Ok(VerifyDone {
        log,
        entries: verified.head.size(),
        root: verified.head.root().to_string(),
        cosigned_by: verified.head.cosigned().iter().map(|by| by.witness.to_string()).collect(),
        quorum,
        keys_from_cluster: from_cluster,
        earlier: count,
        exact_files: verified.listed,
        book,
        seconds: began.elapsed().as_secs_f64(),
    })
}

fn told(output: &Output, done: &VerifyDone) -> String {
    let counted = &done.book.counted;
    let files = match done.exact_files {
        true => "and no file too many",
        false => "files that do not belong to it cannot be seen over HTTP",
    };
    let keys = match done.keys_from_cluster {
        true => "the cluster was believed for these keys: give --log and --witness to believe nobody",
        false => "by the keys that were given",
    };
    let witnesses = match done.cosigned_by.len() {
        0 => "by no witness".to_owned(),
        _ => format!("by {}", done.cosigned_by.join(", ")),
    };
    let earlier = match done.earlier {
        0 => String::new(),
        count => format!("\n  extends all {count} earlier checkpoints"),
    };
    format!(
        "{} in {:.1} s: {} entries\n  signed by {}\n  cosigned {witnesses}, which takes {}; {keys}\n  every hash holds up to root {}, {files}{earlier}\n  \
         {} commands done again lead to the same book at every step: {} accounts, {} transfers, each id once, all balances\n  \
         {} tables, {} assessments and {} distributions by the tables they name, {} refusals\n  state {}",
        output.paint(Tone::Good, "the log holds"),
        done.seconds,
        done.entries,
        done.log,
        done.quorum,
        done.root,
        counted.commands,
        done.book.accounts,
        done.book.transfers,
        counted.tables,
        counted.assessments,
        counted.distributions,
        counted.refused,
        done.book.state,
    )
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(ApiError::failure)?
}

/// Opens a folder or an address, and reads what its checkpoint says.
fn source(from: &str) -> Result<impl FnOnce() -> Result<Source, ApiError> + Send + 'static, ApiError> {
    let remote = from.contains("://");
    let files: Box<dyn LogFiles + Send> =
        if remote { Box::new(HttpFiles::new(from)?) } else { Box::new(Directory::new(from)) };
    let from = from.to_owned();
    Ok(move || {
        let read = files.read(CHECKPOINT_FILE, NOTE_BYTES_MAX).map_err(|error| {
            let kind = if remote { ErrorKind::Unreachable } else { ErrorKind::Failure };
            ApiError::new(kind, format!("the checkpoint of {from} cannot be read: {error}"))
        })?;
        let bytes = read.ok_or_else(|| {
            let what = format!("{from} has no checkpoint: it is not the folder of a log, or nothing was published yet");
            ApiError::new(ErrorKind::Usage, what)
        })?;
        let broken = |what: String| ApiError::failure(format!("the log does NOT hold: its checkpoint: {what}"));
        let note = SignedNote::parse(&bytes).map_err(|error| broken(error.to_string()))?;
        let said = Checkpoint::parse(note.text()).map_err(|error| broken(error.to_string()))?;
        Ok(Source { files, from, remote, said })
    })
}

fn usage(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::Usage, error.to_string())
}

fn key(text: &str) -> Result<VerifierKey, ApiError> {
    text.parse().map_err(|error| usage(&format_args!("{text:?} is no key: {error}")))
}

fn given(log: &str, args: &VerifyArgs) -> Result<Keys, ApiError> {
    let witnesses = args.witness.iter().map(|text| key(text)).collect::<Result<Vec<_>, _>>()?;
    let quorum = args.quorum.unwrap_or_else(|| quorum_of(witnesses.len() + 1));
    Ok(Keys { log: key(log)?, witnesses, quorum, from_cluster: false })
}

/// The keys as a node of the cluster says them, of the log that the checkpoint says it is.
async fn from_cluster(client: &Client, source: &Source, quorum: Option<usize>) -> Result<Keys, ApiError> {
    let all: LedgerKeys = client.get("/v1/ledger/keys").await?;
    let (mut found, mut witnesses) = (None, Vec::new());
    for voter in &all.voters {
        let (Some(log), Some(witness)) = (&voter.log, &voter.witness) else { continue };
        let log = key(log)?;
        if log.name().as_str() == source.said.origin {
            found = Some(log);
        } else {
            witnesses.push(key(witness)?);
        }
    }
    let log = found.ok_or_else(|| {
        let origin = &source.said.origin;
        let what =
            format!("no voter of the cluster that can be asked has a log called {origin}; give its key with --log");
        ApiError::new(ErrorKind::Refused, what)
    })?;
    Ok(Keys { log, witnesses, quorum: quorum.unwrap_or(all.quorum), from_cluster: true })
}

fn kept(policy: &Policy, file: &Path) -> Result<Head, ApiError> {
    let wrong = |what: &dyn std::fmt::Display| usage(&format_args!("{}: {what}", file.display()));
    let length = std::fs::metadata(file).map_err(|error| wrong(&error))?.len();
    if length > NOTE_BYTES_MAX as u64 {
        return Err(wrong(&"it is too long for a checkpoint"));
    }
    let bytes = std::fs::read(file).map_err(|error| wrong(&error))?;
    policy.open_kept(&bytes).map_err(|error| wrong(&error))
}

fn replay(
    source: &Source,
    policy: &Policy,
    earlier: &[Head],
    output: Output,
) -> Result<(Verified, Replayed), ApiError> {
    let temp = tempfile::Builder::new().prefix("covenant-verify-").tempdir();
    let temp =
        temp.map_err(|error| ApiError::failure(format!("no folder for the book that is made again: {error}")))?;
    let mut book = Replay::new(temp.path()).map_err(|error| broken(source, &error))?;
    let (total, mut shown) = (source.said.size, Instant::now());
    let result: Result<Verified, VerifyError<ReplayError>> = verify(&*source.files, policy, earlier, |index, entry| {
        if shown.elapsed() >= SHOWN_EVERY {
            shown = Instant::now();
            output.progress(&format!("{} {} of {total} entries", bar(index, total), index));
        }
        book.entry(index, entry)
    });
    output.progress("");
    let verified = result.map_err(|error| match &error {
        VerifyError::Read(file, cause) if source.remote => {
            let what = format!("{file} of {} cannot be read: {cause}; whether the log holds is not known", source.from);
            ApiError::new(ErrorKind::Unreachable, what)
        }
        VerifyError::Read(..) => ApiError::failure(format!("{}; whether the log holds is not known", chain(&error))),
        VerifyError::UnknownSignatures(_) => {
            let hint = "give the keys of all its witnesses with --witness";
            ApiError::failure(format!("the log does NOT hold: {error}: {hint}"))
        }
        VerifyError::Missing(_)
        | VerifyError::Unknown(_)
        | VerifyError::TooLarge(_)
        | VerifyError::Changed(_)
        | VerifyError::Checkpoint(_)
        | VerifyError::Root
        | VerifyError::Shorter { .. }
        | VerifyError::Rewritten { .. }
        | VerifyError::Entry { .. }
        | _ => ApiError::failure(format!("the log does NOT hold: {}", chain(&error))),
    })?;
    let book = book.finish().map_err(|error| broken(source, &error))?;
    Ok((verified, book))
}

fn broken(source: &Source, error: &ReplayError) -> ApiError {
    match error {
        ReplayError::Open(_) | ReplayError::Disk(_) => {
            let what = format!("{}; whether the log of {} holds is not known", chain(error), source.from);
            ApiError::failure(what)
        }
        ReplayError::Entry { .. } | ReplayError::Cut | ReplayError::Unbalanced(_) | _ => {
            ApiError::failure(format!("the log does NOT hold: {}", chain(error)))
        }
    }
}

fn bar(done: u64, total: u64) -> String {
    const WIDTH: u64 = 30;
    let filled = (done.min(total) * WIDTH).checked_div(total).unwrap_or(WIDTH);
    let part = |count: u64, with: &str| with.repeat(usize::try_from(count).unwrap_or(0));
    format!("[{}{}]", part(filled, "#"), part(WIDTH - filled, "."))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        said.push_str(": ");
        said.push_str(&cause.to_string());
        next = cause.source();
    }
    said
}
