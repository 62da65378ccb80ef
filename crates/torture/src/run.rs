//! One run from its first process to its verdict.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use covenant_history::{History, check};
use covenant_types::TransferId;
use futures_util::future::try_join_all;

use crate::clients::{ACCOUNTS, Client, Shared, Want};
use crate::disks::Disks;
use crate::options::Options;
use crate::plan::{Episode, Plan, VOTERS};
use crate::report::{self, Counts, Latency, Report};
use crate::voters::{NODES, Voters};
use crate::{finish, lock, say};

/// How long clients may go on asking for what is not known once all is well.
const SETTLE_WITHIN: Duration = Duration::from_secs(60);
/// How often there is a line of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// What was done to the voters.
#[derive(Debug, Default)]
struct Done {
    troubles: BTreeMap<&'static str, u64>,
    ended: Vec<String>,
}

/// Runs, reports, and says whether the ledger kept its word.
pub(crate) async fn run(options: &Options) -> anyhow::Result<bool> {
    let program = program(options)?;
    let scratch = tempfile::tempdir()?;
    let disks = if options.disks { Some(Disks::compile(scratch.path())?) } else { None };
    say(&format!("seed {}: three voters of {}, {} clients", options.seed, program.display(), options.clients));
    let voters = Voters::start(&program, &scratch.path().join("cluster"), disks).await?;
    let shared = Arc::new(Shared::new(std::array::from_fn(|voter| voters.socket(voter)), options.lasts));
    let ran = torture(options, &voters, &shared).await;
    let history = std::mem::take(&mut *lock(&shared.history));
    let (history, done) = match ran {
        Ok((replicas_and_book, done)) => {
            (History { attempts: history.attempts, reads: history.reads, ..replicas_and_book }, done)
        }
        Err(error) => {
            keep(options, &voters, &history)?;
            return Err(error);
        }
    };
    let verdict = check(&history);
    let report = Report {
        ok: verdict.holds() && done.ended.is_empty(),
        seed: options.seed,
        seconds: options.lasts.as_secs(),
        clients: options.clients,
        troubles: done.troubles,
        counts: Counts::of(&history),
        latency: Latency::of(&history),
        faults: report::faults(&verdict),
        listed: verdict.faults.iter().map(ToString::to_string).collect(),
        ended: done.ended,
        replicas: history
            .replicas
            .iter()
            .map(|replica| (replica.node.to_string(), (replica.position, replica.state.clone())))
            .collect(),
        longest_silence_s: report::longest_silence(&history),
    };
    let mut out = std::io::stdout().lock();
    if options.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        write!(out, "{}", report.table())?;
    }
    ensure!(
        report.counts.acknowledged > 0 && report.counts.reads > 0,
        "nothing was acknowledged or read: this shows nothing"
    );
    if !report.ok {
        keep(options, &voters, &history)?;
    }
    Ok(report.ok)
}

fn program(options: &Options) -> anyhow::Result<PathBuf> {
    let program = match &options.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("covenant"),
    };
    // The node is started in other folders.
    std::fs::canonicalize(&program)
        .with_context(|| format!("{} is not there: build it with `cargo build --release`", program.display()))
}

/// Lets clients and troubles run side by side, then has all be well, and takes down how it ended.
async fn torture(options: &Options, voters: &Voters, shared: &Arc<Shared>) -> anyhow::Result<(History, Done)> {
    open_accounts(options, shared).await?;
    let clients: Vec<_> = (1..=options.clients)
        .map(|number| {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            tokio::spawn(Client::new(number, options.seed, shared).run())
        })
        .collect();
    let mut done = Done::default();
    let troubled = trouble(options, voters, shared, &mut done).await;
    shared.stop(SETTLE_WITHIN);
    troubled?;
    try_join_all(clients).await.context("a client panicked")?;
    let mut history = History::default();
    finish::take_down(shared, &mut history).await?;
    done.ended.extend(ended(voters));
    Ok((history, done))
}

/// Books once on every account, so that each is shown from now on.
async fn open_accounts(options: &Options, shared: &Arc<Shared>) -> anyhow::Result<()> {
    let mut client = Client::new(0, options.seed, shared);
    let (first, others) = ACCOUNTS.split_first().context("there are accounts")?;
    for (number, to) in others.iter().enumerate() {
        let id = TransferId((1 << 127) | (number as u128 + 1));
        let want = Want { id, from: first, to, cents: 100 };
        let mut tries = 0;
        while client.until_known(&want).await != Some(true) {
            tries += 1;
            ensure!(tries < 100, "the first transfers were not booked");
        }
    }
    Ok(())
}

async fn trouble(options: &Options, voters: &Voters, shared: &Shared, done: &mut Done) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut told = Instant::now();
    for Episode { troubles, lasts, calm } in Plan::new(options.seed, options.disks) {
        let left = options.lasts.saturating_sub(began.elapsed());
        if left.is_zero() {
            break;
        }
        let lasts = lasts.min(left);
        let words: Vec<String> = troubles.iter().map(ToString::to_string).collect();
        for trouble in &troubles {
            *done.troubles.entry(trouble.name()).or_default() += 1;
        }
        done.ended.extend(ended(voters));
        let until = Instant::now() + lasts;
        let hurt = try_join_all(troubles.iter().map(|trouble| voters.hurt(*trouble, lasts))).await;
        tokio::time::sleep(until.saturating_duration_since(Instant::now())).await;
        // Also where one could not begin: another one may have.
        troubles.iter().try_for_each(|trouble| voters.heal(*trouble))?;
        hurt?;
        if told.elapsed() > PROGRESS_EVERY {
            told = Instant::now();
            progress(began, shared, &words);
        }
        tokio::time::sleep(calm.min(options.lasts.saturating_sub(began.elapsed()))).await;
    }
    Ok(())
}

/// Voters whose processes ended by themselves; they are started again.
fn ended(voters: &Voters) -> Vec<String> {
    let ended = |voter| voters.ended(voter).map(|how| format!("the process of {} ended: {how}", NODES[voter]));
    let ended: Vec<String> = (0..VOTERS).filter_map(ended).collect();
    for (voter, node) in NODES.iter().enumerate() {
        if let Err(error) = voters.begin(voter) {
            say(&format!("{node}: {error:#}"));
        }
    }
    ended
}

fn progress(began: Instant, shared: &Shared, words: &[String]) {
    let counts = Counts::of(&lock(&shared.history));
    let Counts { acknowledged, unknown, reads, .. } = counts;
    let secs = began.elapsed().as_secs();
    say(&format!(
        "{secs:>5} s: {acknowledged} acknowledged, {unknown} not known, {reads} reads; just now: {}",
        words.join(", ")
    ));
}

/// Leaves the history and the logs where somebody can look at them.
fn keep(options: &Options, voters: &Voters, history: &History) -> anyhow::Result<()> {
    let folder: &Path = &options.keep;
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("history-{}.jsonl", options.seed));
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
    history.write_to(&mut file)?;
    file.flush()?;
    for (voter, node) in NODES.iter().enumerate() {
        // One that never began has none.
        let _none = std::fs::copy(voters.log(voter), folder.join(format!("{node}-{}.log", options.seed)));
    }
    say(&format!("kept {} and the logs beside it: ledger-torture --recheck looks at it again", path.display()));
    Ok(())
}
