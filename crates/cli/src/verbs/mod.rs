//! One function per verb: ask, then print.

mod cluster;
pub(crate) mod content;
mod identity;
mod ledger;

use std::path::Path;

use clap::CommandFactory;
use covenant_node::api::ApiError;
use covenant_supervision::load_tree;

use crate::args::{ActorVerb, AuditVerb, ChaosVerb, Cli, Global, NodeVerb, TreeVerb, Verb};
use crate::output::Output;
use crate::{node_run, up};

/// Does what was typed.
pub(crate) fn run(cli: Cli, output: &Output) -> Result<(), ApiError> {
    let Cli { global, verb } = cli;
    match verb {
        Verb::Node(NodeVerb::Run(args)) => node_run::run(&global, &args),
        Verb::Tree(TreeVerb::Check { file }) => tree_check(&file, output),
        Verb::Chaos(ChaosVerb::Check { file }) => chaos_check(&file, output),
        Verb::Audit(AuditVerb::Verify { file }) => audit_verify(&file, output),
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "covenant", &mut std::io::stdout());
            Ok(())
        }
        verb => runtime()?.block_on(ask(global, verb, output)),
    }
}

/// Verbs that talk to nodes.
async fn ask(global: Global, verb: Verb, output: &Output) -> Result<(), ApiError> {
    match verb {
        Verb::Up(args) => up::run(&global, &args, output).await,
        Verb::Node(NodeVerb::Ls) => cluster::processes(&global, output).await,
        Verb::Node(NodeVerb::Kill { node, hold }) => cluster::node_kill(&global, node, hold, output).await,
        Verb::Node(NodeVerb::Start { node }) => cluster::node_start(&global, node, output).await,
        Verb::Members => cluster::members(&global, output).await,
        Verb::Status => cluster::status(&global, output).await,
        Verb::Tree(TreeVerb::Show { watch }) => cluster::tree(&global, watch, output).await,
        Verb::Actor(ActorVerb::Kill { path }) => cluster::actor_kill(&global, path, output).await,
        Verb::Incidents => cluster::incidents(&global, output).await,
        Verb::Ledger(verb) => ledger::run(&global, verb, output).await,
        Verb::Content(verb) => content::run(&global, verb, output).await,
        Verb::Init(args) => identity::init(&args, output),
        Verb::Token(verb) => identity::token(&global, verb, output).await,
        Verb::Join(args) => identity::join(&args, output).await,
        Verb::Operator(verb) => identity::operator(&global, verb, output).await,
        Verb::Node(NodeVerb::Run(_))
        | Verb::Tree(TreeVerb::Check { .. })
        | Verb::Chaos(_)
        | Verb::Audit(_)
        | Verb::Completions { .. } => {
            unreachable!("`run` does these without a runtime")
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, ApiError> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(ApiError::failure)
}

fn tree_check(file: &Path, output: &Output) -> Result<(), ApiError> {
    let (name, trees) = covenant_node::Trees::around(file).map_err(ApiError::usage)?;
    let tree = load_tree(&name, &trees).map_err(ApiError::usage)?;
    let children = covenant_node::behaviours_of(&tree);
    let registry = covenant_node::registry();
    let known: Vec<&str> = registry.names().collect();
    let unknown: Vec<&str> = children.iter().map(String::as_str).filter(|name| !known.contains(name)).collect();
    if !unknown.is_empty() {
        let message =
            format!("{}: unknown behaviour {}; there are {}", file.display(), unknown.join(", "), known.join(", "));
        return Err(ApiError::usage(message));
    }
    let answer = serde_json::json!({ "ok": true, "behaviours": children });
    output.view(&answer, |_| format!("{}: a valid tree of {} behaviours", file.display(), children.len()));
    Ok(())
}

fn chaos_check(file: &Path, output: &Output) -> Result<(), ApiError> {
    let text =
        std::fs::read_to_string(file).map_err(|error| ApiError::usage(format!("{}: {error}", file.display())))?;
    let scenario = covenant_chaos::Scenario::parse(&file.display().to_string(), &text).map_err(ApiError::usage)?;
    output.view(&serde_json::json!({ "ok": true, "id": scenario.id, "title": scenario.title }), |_| {
        format!("{}: a valid scenario: {}", file.display(), scenario.title)
    });
    Ok(())
}

fn audit_verify(file: &Path, output: &Output) -> Result<(), ApiError> {
    let lines = covenant_node::audit::verify(file).map_err(ApiError::failure)?;
    output.view(&serde_json::json!({ "ok": true, "lines": lines }), |_| {
        format!("{}: {lines} lines, the chain holds", file.display())
    });
    Ok(())
}
