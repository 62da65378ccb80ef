//! Supervision trees: draw the running one, check a file, compare the two.

use std::path::Path;
use std::time::Duration;

use covenant_node::Trees;
use covenant_node::api::tree::{ApplyTree, ChangedChild, FindDrift, TreeApplied, TreeBundle, TreePlan};
use covenant_node::api::{ApiError, ErrorKind};
use covenant_runtime::{ActorState, BehaviourRegistry, TreeView};
use covenant_supervision::{LintWarning, TreeFiles, TreeSpec, lint_tree};
use covenant_types::format_duration;
use serde::Serialize;

use super::simulate;
use crate::args::{Global, TreeVerb};
use crate::output::{Output, Tone};
use crate::rates::{Rates, RatesView};

/// How often a watched view is drawn again.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// How long an apply may take: it waits for every stop.
const APPLY_WITHIN: Duration = Duration::from_secs(600);
/// How long messages are counted for a view that is drawn once.
const COUNT_FOR: Duration = Duration::from_millis(250);

/// Does one verb about trees.
pub(crate) async fn run(
    global: &Global,
    verb: TreeVerb,
    known: &BehaviourRegistry,
    output: &Output,
) -> Result<(), ApiError> {
    match verb {
        TreeVerb::Show { watch: true } => watch(global, output).await,
        TreeVerb::Show { watch: false } => show(global, output).await,
        TreeVerb::Check { file, drain, strict } => check(&file, known, drain, strict, output),
        TreeVerb::Plan { file } => plan(global, &bundle(&file, known)?, &file, output).await,
        TreeVerb::Apply { file, plan } => {
            let tree = bundle(&file, known)?;
            apply(global, ApplyTree { tree, plan }, &file, output).await
        }
        TreeVerb::Simulate(args) => simulate::run(&args, output),
        TreeVerb::Drift { file } => {
            let with = file.as_deref().map(|file| bundle(file, known)).transpose()?;
            drift(global, FindDrift { with }, file.as_deref(), output).await
        }
    }
}

/// The running tree of one node.
async fn show(global: &Global, output: &Output) -> Result<(), ApiError> {
    let client = global.client().await?;
    let mut tree: TreeView = client.get("/v1/tree").await?;
    let mut rates = Rates::new();
    rates.count(&tree);
    if !output.json() {
        tokio::time::sleep(COUNT_FOR).await;
        tree = client.get("/v1/tree").await?;
    }
    let counted = rates.count(&tree);
    output.view(&tree, |output| table(&tree, &counted, *output));
    Ok(())
}

/// One line of `tree show --watch --json`.
#[derive(Serialize)]
struct Tick<'a> {
    tree: &'a TreeView,
    /// Messages a second, by path; none in the first line.
    rates: &'a RatesView,
}

/// The same, again and again. A node that is away for a moment is waited for.
async fn watch(global: &Global, output: &Output) -> Result<(), ApiError> {
    let client = global.client().await?;
    let mut rates = Rates::new();
    let mut answered = false;
    loop {
        match client.get::<TreeView>("/v1/tree").await {
            Ok(tree) => {
                answered = true;
                let counted = rates.count(&tree);
                if output.json() {
                    let line = serde_json::to_string(&Tick { tree: &tree, rates: &counted });
                    output.data(&line.map_err(ApiError::failure)?);
                } else {
                    output.redraw(&table(&tree, &counted, *output));
                }
            }
            Err(error) if !answered => return Err(error),
            Err(error) if output.json() => output.error(&error),
            Err(error) => output.redraw(&output.paint(Tone::Bad, &error.message)),
        }
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(WATCH_EVERY) => {}
        }
    }
}

fn table(tree: &TreeView, rates: &RatesView, output: Output) -> String {
    let mut rows = Vec::new();
    branch(tree, rates, "", "", &mut rows);
    let heading = ["ACTOR", "STATE", "INCARNATION", "RESTARTS", "MAILBOX", "HANDLED", "PER SECOND", "BEHAVIOUR"];
    output.table(&heading, &rows)
}

fn branch(view: &TreeView, rates: &RatesView, lead: &str, below: &str, rows: &mut Vec<Vec<(Tone, String)>>) {
    let name = if view.path.is_root() { "/" } else { view.path.id() };
    let none = || "-".to_owned();
    let mailbox = view.mailbox.map_or_else(none, |mailbox| format!("{}/{}", mailbox.depth, mailbox.capacity));
    let worker = view.behaviour.is_some();
    rows.push(vec![
        (Tone::Plain, format!("{lead}{name}")),
        (tone(view.state), view.state.to_string()),
        (Tone::Plain, view.incarnation.to_string()),
        (Tone::Plain, view.restarts.to_string()),
        (Tone::Plain, mailbox),
        (Tone::Plain, if worker { view.handled.to_string() } else { none() }),
        (Tone::Plain, rates.get(&view.path).filter(|_| worker).map_or_else(none, |rate| format!("{rate:.1}"))),
        (Tone::Dim, view.behaviour.clone().unwrap_or_default()),
    ]);
    let last = view.children.len().saturating_sub(1);
    for (at, child) in view.children.iter().enumerate() {
        let (corner, bar) = if at == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        branch(child, rates, &format!("{below}{corner}"), &format!("{below}{bar}"), rows);
    }
}

/// What a state means to whoever looks.
pub(crate) fn tone(state: ActorState) -> Tone {
    match state {
        ActorState::Running => Tone::Good,
        ActorState::Undefined => Tone::Dim,
        ActorState::Starting
        | ActorState::Suspended
        | ActorState::Draining
        | ActorState::Restarting
        | ActorState::Stopping
        | ActorState::Unkillable => Tone::Warn,
    }
}

/// What `tree check --json` says of a file that is a tree.
#[derive(Serialize)]
struct Checked {
    ok: bool,
    behaviours: Vec<String>,
    warnings: Vec<Warning>,
}

#[derive(Serialize)]
struct Warning {
    file: String,
    line: usize,
    column: usize,
    code: &'static str,
    message: String,
}

fn check(
    file: &Path,
    known: &BehaviourRegistry,
    drain: Duration,
    strict: bool,
    output: &Output,
) -> Result<(), ApiError> {
    let (files, tree) = read(file, known)?;
    let warnings = lint_tree(&files, drain).map_err(ApiError::usage)?;
    let warning = |LintWarning { file, line, column, code, what }: &LintWarning| Warning {
        file: file.clone(),
        line: *line,
        column: *column,
        code: code.as_str(),
        message: what.clone(),
    };
    let answer = Checked {
        ok: warnings.is_empty(),
        behaviours: covenant_node::behaviours_of(&tree),
        warnings: warnings.iter().map(warning).collect(),
    };
    output.view(&answer, |output| {
        let lines = warnings.iter().map(|warning| format!("{} {warning}", output.paint(Tone::Warn, "warning:")));
        let said = match warnings.len() {
            0 => format!("{}: a valid tree of {} behaviours", file.display(), answer.behaviours.len()),
            count => format!("{}: a valid tree with {}", file.display(), counted(count, "warning")),
        };
        lines.chain([said]).collect::<Vec<_>>().join("\n")
    });
    if strict && !warnings.is_empty() {
        let message = format!("{} has {}, and --strict wants none", file.display(), counted(warnings.len(), "warning"));
        return Err(ApiError::new(ErrorKind::Refused, message));
    }
    Ok(())
}

async fn plan(global: &Global, tree: &TreeBundle, file: &Path, output: &Output) -> Result<(), ApiError> {
    let plan: TreePlan = global.client().await?.post("/v1/tree/plan", tree).await?;
    output.view(&plan, |output| {
        if plan.empty {
            return format!("{} runs what {} says: nothing to do", plan.node, file.display());
        }
        let apply = format!("covenant tree apply {} --plan {} --node {}", file.display(), plan.plan, plan.node);
        format!("{}\n{}", drawn(&plan, *output), output.paint(Tone::Dim, &apply))
    });
    Ok(())
}

async fn apply(global: &Global, request: ApplyTree, file: &Path, output: &Output) -> Result<(), ApiError> {
    let client = global.client().await?;
    let applied: TreeApplied = client.post_within("/v1/tree/apply", &request, APPLY_WITHIN).await?;
    output.view(&applied, |_| {
        let kept = counted(applied.plan.kept, "actor");
        let said = format!("{} runs what {} says; {kept} untouched", applied.plan.node, file.display());
        applied.done.iter().cloned().chain([said]).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}

async fn drift(global: &Global, request: FindDrift, file: Option<&Path>, output: &Output) -> Result<(), ApiError> {
    let against = file.map_or_else(|| "the tree in force".to_owned(), |file| file.display().to_string());
    let found: TreePlan = global.client().await?.post("/v1/tree/drift", &request).await?;
    output.view(&found, |output| {
        if found.empty {
            return format!("{} runs {against}: no drift", found.node);
        }
        format!("{} does not run {against}; to make it so:\n{}", found.node, drawn(&found, *output))
    });
    if found.empty {
        return Ok(());
    }
    Err(ApiError::new(ErrorKind::Conflict, format!("{} has drifted from {against}", found.node)))
}

/// A plan for people.
pub(crate) fn drawn(plan: &TreePlan, output: Output) -> String {
    let mut lines = Vec::new();
    for supervisor in &plan.supervisors {
        for rule in &supervisor.rules {
            lines.push(format!(
                "{} {:<24} {rule}",
                output.paint(Tone::Plain, "~ rules  "),
                supervisor.path.to_string()
            ));
        }
    }
    let mut children = |verb: &str, tone: Tone, changes: &[ChangedChild]| {
        for ChangedChild { path, runs, why, size } in changes {
            let below = if *size > 1 { format!(" and {} below", size - 1) } else { String::new() };
            let why = why.join(", ");
            lines.push(format!("{} {:<24} {runs}{below}: {why}", output.paint(tone, verb), path.to_string()));
        }
    };
    children("- stop   ", Tone::Bad, &plan.stops);
    children("± restart", Tone::Warn, &plan.restarts);
    children("+ start  ", Tone::Good, &plan.starts);
    let stopping = match plan.stop_bound_ms {
        Some(0) => "nothing stops".to_owned(),
        Some(bound) => format!("stopping may take {}", format_duration(Duration::from_millis(bound))),
        None => "stopping may take for ever: something is waited for without a limit".to_owned(),
    };
    lines.push(format!("= keep    {} untouched; {stopping}", counted(plan.kept, "actor")));
    lines.join("\n")
}

/// The files of a tree, read once, checked here as the node will check them.
fn bundle(file: &Path, known: &BehaviourRegistry) -> Result<TreeBundle, ApiError> {
    let (files, _) = read(file, known)?;
    Ok(TreeBundle { root: files.root().to_owned(), files: files.texts().clone() })
}

fn read(file: &Path, known: &BehaviourRegistry) -> Result<(TreeFiles, TreeSpec), ApiError> {
    let (name, trees) = Trees::around(file).map_err(ApiError::usage)?;
    let (files, tree) = TreeFiles::read(&name, &trees).map_err(ApiError::usage)?;
    covenant_runtime::check_tree(&tree, known).map_err(ApiError::usage)?;
    Ok((files, tree))
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
