//! One case, and how it is written: as tree files and a script for people, as a term for Erlang.

use std::fmt::{self, Write as _};

use covenant_supervision::simulation::{AdminCall, Happening, NewChild, ScriptedEvent, read_script};
use covenant_supervision::{
    AutoShutdown, ChildNode, ChildSpec, Restart, Shutdown, Strategy, TreeSource, TreeSourceError, TreeSpec, Work,
    load_tree,
};
use covenant_types::{ActorPath, ExitReason};

/// A tree and what befalls it.
///
/// Events of one time are one step. A step of more than one is about children of one supervisor: some of them end, and then
/// there may be a call. It hears of all of that before it has dealt with the first; `covenant tree simulate` would take them
/// one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) tree: TreeSpec,
    pub(crate) events: Vec<ScriptedEvent>,
}

struct Files<'a>(&'a [(&'a str, &'a str)]);

impl TreeSource for Files<'_> {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        let found = self.0.iter().find(|(file, _)| *file == name);
        found.map(|(_, text)| (*text).to_owned()).ok_or(TreeSourceError::NotFound)
    }
}

impl Case {
    /// The case of these tree files, the root's first, and this script.
    pub(crate) fn read(files: &[(&str, &str)], script: &str) -> Self {
        let tree = load_tree(files[0].0, &Files(files)).unwrap_or_else(|error| panic!("{error}"));
        let events = read_script(script.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        Self { tree, events }
    }

    /// The tree files of this case, the root's first.
    pub(crate) fn files(&self) -> Vec<(String, String)> {
        let mut files = Vec::new();
        tree_file(&self.tree, &mut files);
        files
    }

    pub(crate) fn script(&self) -> String {
        self.events.iter().map(|event| format!("{}\n", event_line(event))).collect()
    }

    /// Whether there is a dynamic supervisor in the tree.
    pub(crate) fn has_instances(&self) -> bool {
        has_instances(&self.tree)
    }

    /// What happens at one moment, moment after moment.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &[ScriptedEvent]> {
        self.events.chunk_by(|one, next| one.at == next.at)
    }

    /// The case as `otp_diff.erl` reads it.
    pub(crate) fn term(&self) -> String {
        let steps: Vec<String> = self.steps().map(|step| self.step_term(step)).collect();
        format!("{{'case',{},[{}]}}.", tree_term(&self.tree), steps.join(","))
    }

    fn step_term(&self, step: &[ScriptedEvent]) -> String {
        let terms: Vec<String> = step.iter().map(|event| self.event_term(event)).collect();
        if terms.len() == 1 { terms.concat() } else { format!("{{together,[{}]}}", terms.join(",")) }
    }

    fn event_term(&self, event: &ScriptedEvent) -> String {
        let path = event.path.as_str();
        match &event.what {
            Happening::Exit(reason) => format!("{{exit,\"{path}\",{}}}", reason_term(reason)),
            Happening::StartFails { times } => format!("{{start_fails,\"{path}\",{times}}}"),
            Happening::StartIgnored { times } => format!("{{start_ignored,\"{path}\",{times}}}"),
            Happening::Call(call) => {
                let more = match call {
                    _ if self.is_instance(&event.path) => "dynamic".to_owned(),
                    AdminCall::StartChild(new) => new_term(new.unwrap_or_default()),
                    AdminCall::TerminateChild | AdminCall::RestartChild | AdminCall::DeleteChild => "static".to_owned(),
                };
                format!("{{call,{},\"{path}\",\"{}\",{more}}}", call.word(), event.path.id())
            }
            Happening::StartTakes(_) | Happening::StopTakes(_) => panic!("nothing may depend on time here"),
        }
    }

    /// Whether a path names an instance of a dynamic supervisor, by what the tree says.
    fn is_instance(&self, path: &ActorPath) -> bool {
        let mut tree = Some(&self.tree);
        let ids: Vec<&str> = path.ids().collect();
        for id in &ids[..ids.len().saturating_sub(1)] {
            tree = tree.and_then(|tree| match child(tree, id).map(|node| &node.work) {
                Some(Work::Tree(below)) => Some(below),
                Some(Work::Behaviour { .. }) | None => None,
            });
        }
        tree.is_some_and(|tree| tree.spec.strategy == Strategy::Dynamic)
    }
}

fn has_instances(tree: &TreeSpec) -> bool {
    let below = |node: &ChildNode| match &node.work {
        Work::Tree(below) => has_instances(below),
        Work::Behaviour { .. } => false,
    };
    tree.spec.strategy == Strategy::Dynamic || tree.children.iter().any(below)
}

/// What runs at `id` below a tree: of a dynamic one, the template.
pub(crate) fn child<'t>(tree: &'t TreeSpec, id: &str) -> Option<&'t ChildNode> {
    match tree.spec.strategy {
        Strategy::Dynamic => tree.children.first(),
        Strategy::OneForOne | Strategy::OneForAll | Strategy::RestForOne => {
            tree.children.iter().find(|node| node.spec.id.as_str() == id)
        }
    }
}

/// For people: files that `covenant tree simulate` plays.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, text) in self.files() {
            writeln!(f, "# {name}.toml\n{}", text.trim_end())?;
        }
        writeln!(f, "# events.jsonl\n{}", self.script().trim_end())
    }
}

/// Writes the file of a tree behind those that are there, and those of the trees below it. Says its name.
fn tree_file(tree: &TreeSpec, files: &mut Vec<(String, String)>) -> String {
    let name = if files.is_empty() { "root".to_owned() } else { format!("below{}", files.len()) };
    let at = files.len();
    files.push((name.clone(), String::new()));
    let spec = &tree.spec;
    let mut text =
        format!("strategy = \"{}\"\nintensity = {}\nperiod = \"1h\"\n", strategy(spec.strategy), spec.intensity);
    if spec.auto_shutdown != AutoShutdown::Never {
        writeln!(text, "auto_shutdown = \"{}\"", auto_shutdown(spec.auto_shutdown))
            .expect("a text takes all that is written");
    }
    for node in &tree.children {
        let ChildSpec { id, restart, significant, shutdown, .. } = &node.spec;
        let shutdown = match shutdown {
            Shutdown::BrutalKill => "brutal_kill",
            Shutdown::Timeout(_) => "5s",
            Shutdown::Infinity => "infinity",
        };
        let work = match &node.work {
            Work::Behaviour { .. } => "behaviour = \"x\"".to_owned(),
            Work::Tree(below) => format!("tree = \"{}\"", tree_file(below, files)),
        };
        writeln!(text, "[[child]]\nid = \"{id}\"\n{work}\nrestart = \"{}\"\nshutdown = \"{shutdown}\"", word(*restart))
            .expect("a text takes all that is written");
        if *significant {
            text.push_str("significant = true\n");
        }
    }
    files[at].1 = text;
    name
}

fn event_line(event: &ScriptedEvent) -> String {
    let (at, path) = (event.at.as_millis(), event.path.as_str());
    match &event.what {
        Happening::Exit(reason) => {
            let reason = match reason {
                ExitReason::Normal => "\"normal\"".to_owned(),
                ExitReason::Shutdown => "\"shutdown\"".to_owned(),
                ExitReason::ShutdownWith(text) => format!("{{\"shutdown\": \"{text}\"}}"),
                ExitReason::Panicked(_) => "\"panic\"".to_owned(),
                ExitReason::Error(text) => format!("{{\"error\": \"{text}\"}}"),
                ExitReason::Killed => "\"killed\"".to_owned(),
                other @ (ExitReason::NoConnection | ExitReason::NameConflict(_) | ExitReason::Rebalanced) => {
                    panic!("a script has no {other}")
                }
            };
            format!("{{\"at\": {at}, \"exit\": \"{path}\", \"reason\": {reason}}}")
        }
        Happening::StartFails { times } => format!("{{\"at\": {at}, \"start_fails\": \"{path}\", \"times\": {times}}}"),
        Happening::StartIgnored { times } => {
            format!("{{\"at\": {at}, \"start_ignored\": \"{path}\", \"times\": {times}}}")
        }
        Happening::Call(call) => {
            let more = match call {
                AdminCall::StartChild(Some(NewChild { restart, significant, .. })) => {
                    format!(", \"restart\": \"{}\", \"significant\": {significant}", word(*restart))
                }
                AdminCall::StartChild(None)
                | AdminCall::TerminateChild
                | AdminCall::RestartChild
                | AdminCall::DeleteChild => String::new(),
            };
            format!("{{\"at\": {at}, \"call\": \"{}\", \"path\": \"{path}\"{more}}}", call.word())
        }
        Happening::StartTakes(_) | Happening::StopTakes(_) => panic!("nothing may depend on time here"),
    }
}

fn tree_term(tree: &TreeSpec) -> String {
    let spec = &tree.spec;
    let strategy = match spec.strategy {
        Strategy::Dynamic => "simple_one_for_one",
        other @ (Strategy::OneForOne | Strategy::OneForAll | Strategy::RestForOne) => strategy(other),
    };
    let children: Vec<String> = tree.children.iter().map(child_term).collect();
    format!("{{sup,{strategy},{},{},[{}]}}", spec.intensity, auto_shutdown(spec.auto_shutdown), children.join(","))
}

fn child_term(node: &ChildNode) -> String {
    let ChildSpec { id, restart, significant, shutdown, .. } = &node.spec;
    let work = match &node.work {
        Work::Behaviour { .. } => "worker".to_owned(),
        Work::Tree(below) => tree_term(below),
    };
    format!("{{child,\"{id}\",{},{},{significant},{work}}}", word(*restart), shutdown_term(*shutdown))
}

fn new_term(new: NewChild) -> String {
    let shutdown = new.shutdown.map_or_else(|| "5000".to_owned(), shutdown_term);
    format!("{{{},{shutdown},{}}}", word(new.restart), new.significant)
}

fn shutdown_term(shutdown: Shutdown) -> String {
    match shutdown {
        Shutdown::BrutalKill => "brutal_kill".to_owned(),
        Shutdown::Timeout(timeout) => timeout.as_millis().to_string(),
        Shutdown::Infinity => "infinity".to_owned(),
    }
}

fn reason_term(reason: &ExitReason) -> String {
    match reason {
        ExitReason::Normal => "normal".to_owned(),
        ExitReason::Shutdown => "shutdown".to_owned(),
        ExitReason::ShutdownWith(text) => format!("{{shutdown,\"{text}\"}}"),
        ExitReason::Killed => "kill".to_owned(),
        ExitReason::Panicked(_)
        | ExitReason::Error(_)
        | ExitReason::NoConnection
        | ExitReason::NameConflict(_)
        | ExitReason::Rebalanced => format!("{{crash,\"{reason}\"}}"),
    }
}

fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::OneForOne => "one_for_one",
        Strategy::OneForAll => "one_for_all",
        Strategy::RestForOne => "rest_for_one",
        Strategy::Dynamic => "dynamic",
    }
}

fn auto_shutdown(auto_shutdown: AutoShutdown) -> &'static str {
    match auto_shutdown {
        AutoShutdown::Never => "never",
        AutoShutdown::AnySignificant => "any_significant",
        AutoShutdown::AllSignificant => "all_significant",
    }
}

fn word(restart: Restart) -> &'static str {
    match restart {
        Restart::Permanent => "permanent",
        Restart::Transient => "transient",
        Restart::Temporary => "temporary",
    }
}
