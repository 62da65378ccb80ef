//! `covenant snapshot`: backups of the ledger.

use std::fs::File;
use std::path::{Path, PathBuf};

use covenant_env::{Env, Metrics};
use covenant_ledger::{BackupChecked, BackupError, BackupFile, BackupHead, RestoreDone, Until, check_backup};
use covenant_node::RestoreError;
use covenant_node::api::{ApiError, ErrorKind};
use serde::Serialize;

use crate::args::{Global, SnapshotRestore, SnapshotVerb};
use crate::output::{Output, Tone, bytes};

/// So many commands pass between two lines of progress.
const SAY_EVERY: u64 = 100_000;

pub(crate) async fn run(global: &Global, verb: SnapshotVerb, output: &Output) -> Result<(), ApiError> {
    match verb {
        SnapshotVerb::Save { file } => save(global, &file, output).await,
        SnapshotVerb::Inspect { file } => inspect(&file, output),
        SnapshotVerb::Verify { file } => verify(&file, output),
        SnapshotVerb::Restore(args) => restore(&args, output).await,
    }
}

/// A backup, as it is shown.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    file: &'a Path,
    bytes: u64,
    #[serde(flatten)]
    head: &'a BackupHead,
}

fn show(output: &Output, path: &Path, backup: &BackupFile, said: &str) {
    let head = backup.head();
    output.view(&Shown { file: path, bytes: backup.bytes(), head }, |_| {
        format!(
            "{said}: the ledger of {} as {} had it at {} s since 1970: {} transfers at position {}, state {}, {}",
            head.cluster,
            head.node,
            head.taken.0,
            head.transfers,
            head.position,
            head.state.get(..16).unwrap_or(&head.state),
            bytes(backup.bytes())
        )
    });
}

/// Under another name until it is whole, so that no cut backup is taken for one.
async fn save(global: &Global, file: &Path, output: &Output) -> Result<(), ApiError> {
    let failed = |error: std::io::Error| {
        ApiError::failure(format!("{} cannot be written: {error}; no backup was made", file.display()))
    };
    if file.exists() {
        return Err(ApiError::usage(format!("{} is there already; choose another name", file.display())));
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut making = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    global.client().await?.download("/v1/ledger/backup", making.as_file_mut()).await?;
    let whole = BackupFile::open(making.path()).map_err(no)?;
    whole.check_hash().map_err(no)?;
    making.as_file().sync_all().map_err(failed)?;
    making.persist_noclobber(file).map_err(|error| failed(error.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    show(output, file, &whole, "saved");
    output.talk(&format!("covenant snapshot verify {} does all of it again", file.display()));
    Ok(())
}

fn inspect(file: &Path, output: &Output) -> Result<(), ApiError> {
    show(output, file, &BackupFile::open(file).map_err(no)?, "it says");
    output.talk("nothing of it was checked: that is what verify does");
    Ok(())
}

fn verify(file: &Path, output: &Output) -> Result<(), ApiError> {
    let backup = BackupFile::open(file).map_err(no)?;
    let scratch = tempfile::tempdir().map_err(ApiError::failure)?;
    let checked = check_backup(&backup, &scratch.path().join("book"), said(output, &backup)).map_err(no)?;
    let BackupChecked { position, transfers, state, problems, .. } = &checked;
    output.view(&checked, |output| {
        let said = format!("{transfers} transfers, {position} commands done again, state {state}");
        match problems.is_empty() {
            true => output.paint(Tone::Good, &format!("the backup holds: {said}")),
            false => output.paint(Tone::Bad, &format!("its book does NOT add up: {said}: {}", problems.join("; "))),
        }
    });
    if problems.is_empty() { Ok(()) } else { Err(ApiError::failure("the book in the backup does not add up")) }
}

async fn restore(args: &SnapshotRestore, output: &Output) -> Result<(), ApiError> {
    let backup = BackupFile::open(&args.file).map_err(no)?;
    let until = match (args.position, args.until) {
        (Some(position), _) => Until::Position(position),
        (None, Some(seconds)) => Until::Time(covenant_types::WallTime(seconds)),
        (None, None) => Until::End,
    };
    let config: &PathBuf = &args.config;
    let how = (until, args.same_cluster, args.dry_run);
    let handle = tokio::runtime::Handle::current();
    let env = Env::real(handle.clone(), handle, covenant_node::entropy(), Metrics::none());
    let done = covenant_node::restore(config, &backup, how, &env, said(output, &backup)).await.map_err(refused)?;
    let RestoreDone { position, transfers, state, restored, .. } = &done;
    output.view(&done, |_| {
        let what = format!("{transfers} transfers at position {position}, state {state}");
        match restored {
            true => format!("restored: {what}"),
            false => format!("it would be restored: {what}; nothing was changed"),
        }
    });
    if done.restored {
        output.talk(
            "start the node: it is the only voter of a new ledger. Give others a vote with covenant ledger voters add; keep \
             every voter of before from ever starting again",
        );
    }
    Ok(())
}

/// Tells how far it is, every now and then.
fn said(output: &Output, backup: &BackupFile) -> impl FnMut(u64) {
    let (output, whole, mut next) = (*output, backup.head().position, SAY_EVERY);
    move |done| {
        if done >= next {
            output.talk(&format!("{done} of {whole} commands done again"));
            next = done + SAY_EVERY;
        }
    }
}

fn no(error: BackupError) -> ApiError {
    let kind = match error {
        BackupError::Damaged { .. } | BackupError::Io { .. } => ErrorKind::Failure,
        BackupError::Refused(_) | _ => ErrorKind::Refused,
    };
    ApiError::new(kind, error.to_string())
}

fn refused(error: RestoreError) -> ApiError {
    match error {
        RestoreError::Backup(error) => no(error),
        RestoreError::Config(_) | RestoreError::Files(_) | _ => ApiError::usage(error),
    }
}
