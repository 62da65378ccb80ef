//! What is allowed in a tree and still a mistake: the warnings of `covenant tree check`.
//!
//! A tree that loads can run. Whether it mends itself is another question: a supervisor that forgives more restarts than its
//! child can need never passes a fault on, one that forgives none passes on every one, and one that is not permanent stays
//! away after it gave up. Such trees look healthy until the night they are needed.
//!
//! A warning that is meant is silenced in its file, with a reason: `# allow(budget-never-spent): a watcher must not end a node`.

mod allow;
mod budget;
mod places;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use covenant_types::format_duration;

use crate::{ChildNode, ChildSpec, Restart, Shutdown, TreeError, TreeFiles, TreeSpec, Work, load_tree};
use places::{Anchor, Places};

/// What a warning is about. Its word is what `# allow(...)` and `--json` use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LintCode {
    /// However fast a child fails, the restarts that are forgiven are never used up: nobody above ever hears of it.
    BudgetNeverSpent,
    /// A supervisor below gives up once, and this one gives up with it.
    DiesAtFirstGiveUp,
    /// A supervisor that is not permanent: giving up ends with `shutdown`, in order, so it is not started again.
    SupervisorNotPermanent,
    /// An orderly stop can take longer than the node has.
    StopBeyondDrain,
    /// A worker is waited for without a limit.
    WorkerWaitsForever,
    /// A supervisor is killed before its children had the time they were given.
    SubtreeCutShort,
    /// An `# allow(...)` that silences nothing, or gives no reason.
    UselessAllow,
}

impl LintCode {
    /// Every code.
    pub const ALL: [Self; 7] = [
        Self::BudgetNeverSpent,
        Self::DiesAtFirstGiveUp,
        Self::SupervisorNotPermanent,
        Self::StopBeyondDrain,
        Self::WorkerWaitsForever,
        Self::SubtreeCutShort,
        Self::UselessAllow,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BudgetNeverSpent => "budget-never-spent",
            Self::DiesAtFirstGiveUp => "dies-at-first-give-up",
            Self::SupervisorNotPermanent => "supervisor-not-permanent",
            Self::StopBeyondDrain => "stop-beyond-drain",
            Self::WorkerWaitsForever => "worker-waits-forever",
            Self::SubtreeCutShort => "subtree-cut-short",
            Self::UselessAllow => "useless-allow",
        }
    }
}

impl fmt::Display for LintCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One warning. Prints as `hub.toml:7:1: what [code]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LintWarning {
    /// The file, as `hub.toml`.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1 and in characters.
    pub column: usize,
    /// What it is about.
    pub code: LintCode,
    /// What is wrong, what comes of it and what to write instead.
    pub what: String,
}

impl fmt::Display for LintWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {} [{}]", self.file, self.line, self.column, self.what, self.code)
    }
}

/// Looks for mistakes in a tree that loads. `drain` is how long the node has for an orderly stop. Each warning is told once,
/// also where a file is used twice; the order is that of files and lines.
///
/// # Errors
/// The files are not a tree.
pub fn lint_tree(files: &TreeFiles, drain: Duration) -> Result<Vec<LintWarning>, TreeError> {
    let tree = load_tree(files.root(), files)?;
    let mut lint = Lint { findings: Vec::new() };
    lint.supervisor("", &tree);
    lint.drain(&tree, drain);
    let mut places = BTreeMap::new();
    for (name, text) in files.texts() {
        places.insert(name.as_str(), Places::of(name, text)?);
    }
    let mut warnings: Vec<LintWarning> =
        lint.findings.into_iter().filter_map(|finding| finding.placed(&places)).collect();
    for (name, text) in files.texts() {
        allow::apply(name, text, &mut warnings);
    }
    warnings.sort();
    warnings.dedup_by(|a, b| (&a.file, a.line, a.column, a.code) == (&b.file, b.line, b.column, b.code));
    Ok(warnings)
}

/// A warning before it is known at which line its file says so.
struct Finding {
    file: String,
    anchor: Anchor,
    code: LintCode,
    what: String,
}

impl Finding {
    fn placed(self, places: &BTreeMap<&str, Places>) -> Option<LintWarning> {
        let (line, column) = places.get(self.file.as_str())?.find(&self.anchor);
        let file = format!("{}.toml", self.file);
        Some(LintWarning { file, line, column, code: self.code, what: self.what })
    }
}

struct Lint {
    findings: Vec<Finding>,
}

/// A worker below a supervisor that, failing without end, makes the supervisor give up.
struct Failing {
    path: String,
    /// How soon after the supervisor's start, at the earliest.
    gives_up_after: Duration,
}

impl Lint {
    /// Looks at a supervisor and all below it; returns whose failing it passes on.
    fn supervisor(&mut self, path: &str, tree: &TreeSpec) -> Vec<Failing> {
        let mut passes_on = Vec::new();
        let mut swallowed: Vec<Swallowed> = Vec::new();
        // The parts of a partitioned supervisor are equal: one stands for all.
        let looked_at = if tree.partitions > 1 { 1 } else { tree.children.len() };
        for (at, child) in tree.children.iter().enumerate().take(looked_at) {
            let path = format!("{path}/{}", child.spec.id);
            let failing = match &child.work {
                Work::Behaviour { .. } => {
                    self.worker(tree, at, child);
                    vec![Failing { path, gives_up_after: Duration::ZERO }]
                }
                Work::Tree(below) => {
                    let failing = self.supervisor(&path, below);
                    self.subtree(tree, at, child, below);
                    failing
                }
            };
            if !comes_back(child) {
                continue; // its failing spends nothing
            }
            for Failing { path, gives_up_after: life } in failing {
                match budget::gives_up_after(tree, &child.spec, life) {
                    Some(gives_up_after) => passes_on.push(Failing { path, gives_up_after }),
                    None => swallowed.push(Swallowed { at, path, life }),
                }
            }
        }
        self.never_spent(tree, &swallowed);
        passes_on
    }

    fn worker(&mut self, tree: &TreeSpec, at: usize, child: &ChildNode) {
        if child.spec.shutdown == Shutdown::Infinity {
            let id = &child.spec.id;
            let what = format!(
                "{id} is waited for without a limit when it stops: one that hangs holds up the whole node; give it a time, \
                 as in shutdown = \"5s\""
            );
            self.found(tree, Anchor::child(at, "shutdown"), LintCode::WorkerWaitsForever, what);
        }
    }

    fn subtree(&mut self, tree: &TreeSpec, at: usize, child: &ChildNode, below: &TreeSpec) {
        let ChildSpec { id, restart, shutdown, .. } = &child.spec;
        // A significant one ends its supervisor with it, which is what `auto_shutdown` is for.
        if !comes_back(child) && !child.spec.significant {
            let word = if *restart == Restart::Transient { "transient" } else { "temporary" };
            let what = format!(
                "{id} is a {word} supervisor: giving up is an orderly end, `shutdown`, after which it is not started again; \
                 remove restart = {word:?}"
            );
            self.found(tree, Anchor::child(at, "restart"), LintCode::SupervisorNotPermanent, what);
        } else if comes_back(child) && budget::forgiven(tree, &child.spec).0 == 0 {
            let what = format!(
                "no restart is forgiven, so the first time {id} gives up this supervisor gives up too and the restarts of \
                 {id} mend nothing; forgive at least 1"
            );
            self.found(tree, Anchor::supervisor("intensity"), LintCode::DiesAtFirstGiveUp, what);
        }
        let given = match shutdown {
            Shutdown::Infinity => return,
            Shutdown::BrutalKill => Duration::ZERO,
            Shutdown::Timeout(time) => *time,
        };
        let wanted = below.stop_bound();
        if wanted.is_none_or(|wanted| wanted > given) {
            let wanted =
                wanted.map_or_else(|| "without a limit".to_owned(), |wanted| format!("up to {}", readable(wanted)));
            let what = format!(
                "{id} is killed after {}, and its children may take {wanted}: they would die at once and without order; \
                 remove shutdown, which waits for them",
                readable(given)
            );
            self.found(tree, Anchor::child(at, "shutdown"), LintCode::SubtreeCutShort, what);
        }
    }

    fn never_spent(&mut self, tree: &TreeSpec, swallowed: &[Swallowed]) {
        let Some(first) = swallowed.first() else { return };
        let Some(child) = tree.children.get(first.at) else { return };
        let (intensity, period) = budget::forgiven(tree, &child.spec);
        let takes = budget::time_of_restarts(&child.spec, first.life, intensity);
        let others = match swallowed.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let what = format!(
            "{intensity} restarts within {} are never used up by {}{others}: {} of them take {} at least, so it fails for ever \
             and nobody above hears of it; forgive fewer, over a longer period or after shorter pauses",
            readable(period),
            first.path,
            u64::from(intensity) + 1,
            readable(takes),
        );
        let anchor = match child.spec.budget {
            Some(_) => Anchor::child(first.at, "budget"),
            None => Anchor::supervisor("intensity"),
        };
        self.found(tree, anchor, LintCode::BudgetNeverSpent, what);
    }

    fn drain(&mut self, tree: &TreeSpec, drain: Duration) {
        // Without any bound there is a worker that is waited for without a limit, which is told where it stands.
        let Some(bound) = tree.stop_bound().filter(|bound| *bound > drain) else { return };
        let longest = (0..tree.children.len()).max_by_key(|at| tree.children.get(*at).and_then(ChildNode::stop_bound));
        let Some((at, child)) = longest.and_then(|at| Some((at, tree.children.get(at)?))) else { return };
        let what = format!(
            "an orderly stop can take {}, and the node has {} before it kills what is left; {} alone can take {}: shorten \
             shutdown or kill_grace, or lengthen the node's drain_deadline",
            readable(bound),
            readable(drain),
            child.spec.id,
            child.stop_bound().map_or_else(String::new, readable),
        );
        let anchor = match tree.partitions {
            0 | 1 => Anchor::child(at, "shutdown"),
            _ => Anchor::supervisor("partitions"),
        };
        self.found(tree, anchor, LintCode::StopBeyondDrain, what);
    }

    fn found(&mut self, tree: &TreeSpec, anchor: Anchor, code: LintCode, what: String) {
        self.findings.push(Finding { file: tree.name.clone(), anchor, code, what });
    }
}

/// A worker whose failing a supervisor never passes on.
struct Swallowed {
    /// The child it is, or stands below.
    at: usize,
    path: String,
    /// How long that child lives each time, at the least.
    life: Duration,
}

/// Whether a child that fails is started again. A supervisor fails by giving up, which is an orderly end.
fn comes_back(child: &ChildNode) -> bool {
    match (&child.work, child.spec.restart) {
        (_, Restart::Permanent) => true,
        (Work::Behaviour { .. }, Restart::Transient) => true,
        (Work::Tree(_), Restart::Transient) | (_, Restart::Temporary) => false,
    }
}

/// A duration for people: to the millisecond where it is short.
fn readable(span: Duration) -> String {
    let rounded = if span >= Duration::from_secs(10) { Duration::from_secs(span.as_secs()) } else { span };
    format_duration(rounded)
}

#[cfg(test)]
mod tests;
