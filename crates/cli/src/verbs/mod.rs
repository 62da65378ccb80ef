//! One function per verb: ask, then print.

mod actor;
mod authorities;
mod cert;
mod cluster;
pub(crate) mod content;
mod crash;
mod doctor;
mod fault;
mod http_files;
mod identity;
mod ledger;
pub(crate) mod ledger_verify;
mod offline;
mod part;
mod simulate;
mod snapshot;
pub(crate) mod tree;
mod whereabouts;

use std::path::Path;

use clap::CommandFactory;
use covenant_chaos::{Scenario, Verdict};
use covenant_node::api::{ApiError, ErrorKind};
use covenant_runtime::BehaviourRegistry;

use crate::args::{AuditVerb, ChaosVerb, Cli, Global, NodeVerb, Verb};
use crate::output::Output;
use crate::{node_run, up};

/// Does what was typed.
pub(crate) fn run(cli: Cli, behaviours: BehaviourRegistry, output: &Output) -> Result<(), ApiError> {
    let Cli { global, verb } = cli;
    // A node builds its own two runtimes.
    if let Verb::Node(NodeVerb::Run(args)) = &verb {
        return node_run::run(&global, args, behaviours);
    }
    runtime()?.block_on(perform(global, verb, &behaviours, output))
}

/// Every other verb.
async fn perform(global: Global, verb: Verb, behaviours: &BehaviourRegistry, output: &Output) -> Result<(), ApiError> {
    match verb {
        Verb::Up(args) => up::run(&global, &args, output).await,
        Verb::Node(verb) => cluster::node(&global, verb, output).await,
        Verb::Members { wide } => cluster::members(&global, wide, output).await,
        Verb::Top => crate::top::run(&global, output).await,
        Verb::Status => cluster::status(&global, output).await,
        Verb::Drain(args) => part::drain(&global, args, output).await,
        Verb::Sleep(args) => part::sleep(&global, args, output).await,
        Verb::Wake => part::wake(&global, output).await,
        Verb::Leave(args) => part::leave(&global, &args, output).await,
        Verb::Remove(args) => cert::remove(&global, args, output).await,
        Verb::Wait(args) => part::wait(&global, args, output).await,
        Verb::Events(args) => part::events(&global, &args, output).await,
        Verb::Doctor => doctor::run(&global, output).await,
        Verb::Where { what } => whereabouts::locate(&global, what, output).await,
        Verb::Tree(verb) => tree::run(&global, verb, behaviours, output).await,
        Verb::Actor(verb) => actor::run(&global, verb, output).await,
        Verb::New(verb) => crate::new::run(verb, output),
        Verb::Crash(verb) => crash::run(&global, verb, output).await,
        Verb::Incidents => cluster::incidents(&global, output).await,
        Verb::Ledger(verb) => ledger::run(&global, verb, output).await,
        Verb::Snapshot(verb) => snapshot::run(&global, verb, output).await,
        Verb::Content(verb) => content::run(&global, verb, output).await,
        Verb::Fault(verb) => fault::run(&global, verb, output).await,
        Verb::Chaos(ChaosVerb::Check { file }) => chaos_check(&file, output),
        Verb::Chaos(ChaosVerb::Run { file }) => chaos_run(&global, &file, output).await,
        Verb::Init(args) => identity::init(&args, output),
        Verb::Ca(verb) => authorities::ca(&global, verb, output).await,
        Verb::Token(verb) => identity::token(&global, verb, output).await,
        Verb::Join(args) => identity::join(&args, output).await,
        Verb::Operator(verb) => identity::operator(&global, verb, output).await,
        Verb::Cert(verb) => cert::run(&global, verb, output).await,
        Verb::Audit(AuditVerb::Verify { file }) => audit_verify(&file, output),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "covenant", &mut script);
            output.data(String::from_utf8_lossy(&script).trim_end());
            Ok(())
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, ApiError> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(ApiError::failure)
}

fn scenario(file: &Path) -> Result<Scenario, ApiError> {
    let text =
        std::fs::read_to_string(file).map_err(|error| ApiError::usage(format!("{}: {error}", file.display())))?;
    Scenario::parse(&file.display().to_string(), &text).map_err(ApiError::usage)
}

fn chaos_check(file: &Path, output: &Output) -> Result<(), ApiError> {
    let scenario = scenario(file)?;
    output.view(&serde_json::json!({ "ok": true, "id": scenario.id, "title": scenario.title }), |_| {
        format!("{}: a valid scenario: {}", file.display(), scenario.title)
    });
    Ok(())
}

async fn chaos_run(global: &Global, file: &Path, output: &Output) -> Result<(), ApiError> {
    let scenario = scenario(file)?;
    let outcome = up::scenario::run(&scenario, &global.folder, &global.layout()?).await?;
    output.view(&outcome, |_| format!("{}: {}\n{}", word(outcome.verdict), scenario.title, outcome.story.join("\n")));
    let no = |kind| Err(ApiError::new(kind, format!("{} did not pass", outcome.id)));
    match outcome.verdict {
        Verdict::Pass => Ok(()),
        // The exit codes of verdicts and of other verbs agree in these numbers.
        Verdict::Fail => no(ErrorKind::Failure),
        Verdict::Invalid => no(ErrorKind::Usage),
        Verdict::Inconclusive => no(ErrorKind::NotFound),
        Verdict::Aborted => no(ErrorKind::Denied),
        Verdict::Unhealed => no(ErrorKind::Conflict),
        Verdict::Refused => no(ErrorKind::Refused),
    }
}

fn word(verdict: Verdict) -> String {
    format!("{verdict:?}").to_uppercase()
}

fn audit_verify(file: &Path, output: &Output) -> Result<(), ApiError> {
    let lines = covenant_node::audit::verify(file).map_err(ApiError::failure)?;
    output.view(&serde_json::json!({ "ok": true, "lines": lines }), |_| {
        format!("{}: {lines} lines, the chain holds", file.display())
    });
    Ok(())
}
