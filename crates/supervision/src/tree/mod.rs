//! Trees as files: one TOML file per supervisor, read strictly.
//!
//! A file that is wrong is refused with its name, line and column, what is wrong and what to write instead; nothing is
//! guessed. Keys that mean something only in a later release are refused by name, never ignored.

mod error;
mod keys;
pub(crate) mod text;

use std::time::Duration;

use covenant_types::parse_duration;
use toml::de::{DeTable, DeValue};

use crate::spec::{AutoShutdown, Budget, ChildId, ChildKind, ChildSpec, Restart, Shutdown, Strategy, SupervisorSpec};
use crate::{Backoff, SpecError};
use error::short;
pub use error::{TreeError, TreeSourceError};
pub(crate) use keys::unknown;
use keys::{Keys, Known, WORD_CHARS_MAX};
use text::Text;

/// Where tree files come from.
pub trait TreeSource {
    /// The text of the file `name`, without `.toml`.
    ///
    /// # Errors
    /// There is no such file, or it cannot be read.
    fn read(&self, name: &str) -> Result<String, TreeSourceError>;
}

/// A supervisor, its children and theirs.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeSpec {
    /// The file's name without `.toml`.
    pub name: String,
    /// What the supervisor is to be; its children in start order.
    pub spec: SupervisorSpec,
    /// What its children do, in the same order.
    pub children: Vec<ChildNode>,
    /// How many equal supervisors share the work: then `children` are these, named `0`, `1`, …, and what the file says is
    /// what each of them is. 1 where the file's children are this supervisor's own.
    pub partitions: u32,
}

impl TreeSpec {
    /// The longest an orderly stop of the whole tree can take: children stop one after the other, and a subtree that is
    /// waited for without a limit takes as long as its own children. `None` where a worker is waited for without a limit.
    pub fn stop_bound(&self) -> Option<Duration> {
        self.children.iter().try_fold(Duration::ZERO, |sum, child| sum.checked_add(child.stop_bound()?))
    }

    /// How many actors and supervisors it has, itself included. A template of instances counts as one.
    pub fn size(&self) -> usize {
        1 + self.children.iter().map(ChildNode::size).sum::<usize>()
    }
}

/// One child of a tree file.
#[derive(Clone, Debug, PartialEq)]
pub struct ChildNode {
    /// How it is supervised.
    pub spec: ChildSpec,
    /// Its mailbox.
    pub mailbox: Mailbox,
    /// What runs it.
    pub host: Host,
    /// What it does.
    pub work: Work,
}

impl ChildNode {
    /// The longest an orderly stop of it and all below it can take. `None` where a worker is waited for without a limit.
    pub fn stop_bound(&self) -> Option<Duration> {
        match (&self.work, self.spec.stop_bound()) {
            (Work::Behaviour { .. }, own) => own,
            (Work::Tree(tree), None) => tree.stop_bound(),
            (Work::Tree(tree), Some(own)) => Some(tree.stop_bound().map_or(own, |below| below.min(own))),
        }
    }

    /// How many actors and supervisors it is, those below included.
    pub fn size(&self) -> usize {
        match &self.work {
            Work::Behaviour { .. } => 1,
            Work::Tree(tree) => tree.size(),
        }
    }
}

/// What a child does.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// It runs a behaviour.
    Behaviour {
        /// The registered name.
        name: String,
        /// Its `config` table.
        config: toml::Table,
        /// The file it stands in, for errors.
        file: String,
        /// The line it stands at.
        line: usize,
    },
    /// It is a supervisor of its own.
    Tree(TreeSpec),
}

/// What runs a child. Both hosts behave alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Host {
    /// An actor of the library, for services and whatever such actors link to.
    #[default]
    Hosted,
    /// A task, for instances in large numbers.
    Light,
}

/// A mailbox: how much waits, and what happens to more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// Messages that may wait.
    pub capacity: usize,
    /// What happens to one more.
    pub overflow: Overflow,
}

/// What happens to a message when a mailbox is full. Never a crash of the sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Its sender waits.
    #[default]
    Wait,
    /// Its sender is told.
    Fail,
    /// It is dropped.
    DropNewest,
    /// The one that waited longest is dropped.
    DropOldest,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self { capacity: 1024, overflow: Overflow::Wait }
    }
}

/// The longest tree file, in bytes.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// All files of a tree together; one that is named twice counts twice.
const TREE_BYTES_MAX: usize = 8 * FILE_BYTES_MAX;
/// Tree files within tree files.
const DEPTH_MAX: usize = 16;
/// Children of all files together.
const CHILDREN_MAX: usize = 10_000;
/// The most partitions of one supervisor.
const PARTITIONS_MAX: i64 = 1024;
/// The largest mailbox.
const CAPACITY_MAX: i64 = 1_000_000;

/// Reads the tree whose root is the file `name`, and the files it names.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn load_tree(name: &str, source: &dyn TreeSource) -> Result<TreeSpec, TreeError> {
    let mut loader = Loader { source, chain: Vec::new(), children: 0, bytes: 0 };
    loader.file(name, None)
}

struct Loader<'a> {
    source: &'a dyn TreeSource,
    /// The files on the way from the root to the one that is read.
    chain: Vec<String>,
    /// Children and bytes read so far.
    children: usize,
    bytes: usize,
}

/// Where a tree file was named.
struct NamedAt<'a> {
    keys: &'a Keys<'a>,
    key: &'a str,
}

impl Loader<'_> {
    fn file(&mut self, name: &str, named: Option<&NamedAt<'_>>) -> Result<TreeSpec, TreeError> {
        let complain = |what: String| match named {
            Some(at) => at.keys.error_at_value(at.key, what),
            None => TreeError::of_file(name, what),
        };
        if self.chain.iter().any(|above| above == name) {
            return Err(complain(format!(
                "tree files name each other in a circle: {} -> {name}",
                self.chain.join(" -> ")
            )));
        }
        if self.chain.len() >= DEPTH_MAX {
            return Err(complain(format!("tree files are nested deeper than {DEPTH_MAX}")));
        }
        if ChildId::new(name).is_err() {
            return Err(complain(format!(
                "{:?} is not a tree file's name: use a-z, 0-9, '_' and '-', without .toml",
                short(name, WORD_CHARS_MAX)
            )));
        }
        let text = self.source.read(name).map_err(|error| complain(format!("{name}.toml {error}")))?;
        if text.len() > FILE_BYTES_MAX {
            return Err(complain(format!(
                "{name}.toml is {} bytes long, at most {FILE_BYTES_MAX} are read",
                text.len()
            )));
        }
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > TREE_BYTES_MAX {
            return Err(complain(format!("with {name}.toml the tree is more than {TREE_BYTES_MAX} bytes long")));
        }
        self.chain.push(name.to_owned());
        let tree = self.parse(name, &text);
        self.chain.pop();
        tree
    }

    fn parse(&mut self, name: &str, text: &str) -> Result<TreeSpec, TreeError> {
        let file = format!("{name}.toml");
        let place = Text::new(&file, text);
        let bad_toml = |error: toml::de::Error| {
            TreeError::at(&file, place.place(error.span().map_or(0, |span| span.start)), error.message())
        };
        let table = DeTable::parse(text).map_err(bad_toml)?;
        // A second reading without places: a behaviour's `config` is handed on as it is.
        let plain: toml::Table = text.parse().map_err(bad_toml)?;
        let keys = Keys { text: &place, table: table.get_ref(), offset: table.span().start };
        keys.only(&SUPERVISOR_KEYS)?;
        let strategy = keys.word("strategy", &STRATEGIES)?.unwrap_or_default();
        let partitions = keys.integer("partitions", 1, PARTITIONS_MAX)?.unwrap_or(1);
        let before = self.children;
        let mut children = Vec::new();
        for (at, child) in keys.tables("child")?.iter().enumerate() {
            self.children += 1;
            if self.children > CHILDREN_MAX {
                return Err(child.error_here(format!("the tree has more than {CHILDREN_MAX} children")));
            }
            let config = plain.get("child").and_then(|list| list.get(at)).and_then(|child| child.get("config"));
            let node = self.child(child, config)?;
            if node.host == Host::Light && strategy != Strategy::Dynamic {
                let what = "host \"light\" is for the children of a dynamic supervisor: use \"hosted\"".to_owned();
                return Err(child.error_at_value("host", what));
            }
            children.push(node);
        }
        if let Ok(parts @ 2..) = usize::try_from(partitions) {
            let of_each = self.children - before;
            self.children = of_each.saturating_add(1).saturating_mul(parts).saturating_add(before);
        }
        if self.children > CHILDREN_MAX {
            return Err(keys.error_here(format!("the tree has more than {CHILDREN_MAX} children")));
        }
        let spec = SupervisorSpec {
            strategy,
            intensity: match keys.integer("intensity", 0, i64::from(u32::MAX))? {
                Some(value) => u32::try_from(value).unwrap_or(u32::MAX),
                None => 1,
            },
            period: keys.duration("period")?.unwrap_or(Duration::from_secs(5)),
            auto_shutdown: keys.word("auto_shutdown", &AUTO_SHUTDOWNS)?.unwrap_or_default(),
            children: children.iter().map(|child| child.spec.clone()).collect(),
        };
        spec.validate().map_err(|error| match &error {
            SpecError::DuplicateId(id) => keys.error_at_duplicate(id.as_str(), error.to_string()),
            SpecError::ZeroPeriod => keys.error_at_value("period", error.to_string()),
            SpecError::DynamicAutoShutdown => keys.error_at_value("auto_shutdown", error.to_string()),
            SpecError::NotOneTemplate(_) => keys.error_at_value("strategy", error.to_string()),
            SpecError::SignificantNever(id) => keys.error_at_child(id.as_str(), "significant", error.to_string()),
            // These were looked at where they stand, or are not about files.
            SpecError::BadId(_)
            | SpecError::BadBackoff(_)
            | SpecError::ZeroKillGrace(_)
            | SpecError::ZeroBudgetPeriod(_)
            | SpecError::SignificantPermanent(_)
            | SpecError::StrategyChanged
            | SpecError::TooManyChildren(_) => keys.error_here(error.to_string()),
        })?;
        Ok(partition(TreeSpec { name: name.to_owned(), spec, children, partitions: 1 }, partitions))
    }

    fn child(&mut self, keys: &Keys<'_>, config: Option<&toml::Value>) -> Result<ChildNode, TreeError> {
        keys.only(&CHILD_KEYS)?;
        let id = keys.text("id")?.ok_or_else(|| keys.error_here("this child has no id".to_owned()))?;
        let id = ChildId::new(id).map_err(|error| keys.error_at_value("id", error.to_string()))?;
        let work = match (keys.text("behaviour")?, keys.text("tree")?) {
            (Some(name), None) if !is_behaviour_name(name) => {
                let what = format!(
                    "{:?} is not a behaviour's name: use 1 to 64 of a-z, 0-9, '.', '_' and '-'",
                    short(name, WORD_CHARS_MAX)
                );
                return Err(keys.error_at_value("behaviour", what));
            }
            (Some(name), None) => Work::Behaviour {
                name: name.to_owned(),
                config: match config {
                    None => toml::Table::new(),
                    Some(toml::Value::Table(table)) => table.clone(),
                    Some(_) => return Err(keys.error_at_value("config", "config must be a table".to_owned())),
                },
                file: keys.text.file.to_owned(),
                line: keys.line(),
            },
            (None, Some(name)) => {
                if config.is_some() {
                    let what = "a child with a tree takes no config: the behaviours in that file do".to_owned();
                    return Err(keys.error_at_key("config", what));
                }
                if keys.has("mailbox") {
                    return Err(keys.error_at_key("mailbox", "a supervisor has no mailbox to configure".to_owned()));
                }
                let name = name.to_owned();
                Work::Tree(self.file(&name, Some(&NamedAt { keys, key: "tree" }))?)
            }
            (Some(_), Some(_)) => {
                return Err(keys.error_at_key("tree", format!("{id} has a behaviour and a tree: give it one of them")));
            }
            (None, None) => return Err(keys.error_here(format!("{id} has neither a behaviour nor a tree"))),
        };
        let kind = if matches!(work, Work::Tree(_)) { ChildKind::Supervisor } else { ChildKind::Worker };
        let mut spec = ChildSpec::new(id, kind);
        if let Some(restart) = keys.word("restart", &RESTARTS)? {
            spec.restart = restart;
        }
        if let Some(shutdown) = shutdown(keys)? {
            spec.shutdown = shutdown;
        }
        if let Some(grace) = keys.duration("kill_grace")? {
            spec.kill_grace = grace;
        }
        if spec.kill_grace.is_zero() {
            return Err(keys.error_at_value("kill_grace", "kill_grace must be longer than zero".to_owned()));
        }
        spec.backoff = backoff(keys)?;
        spec.budget = budget(keys)?;
        spec.significant = keys.boolean("significant")?.unwrap_or(false);
        if let Err(error @ SpecError::SignificantPermanent(_)) = spec.validate() {
            return Err(keys.error_at_value("significant", error.to_string()));
        }
        spec.allow_overlap = keys.boolean("allow_overlap")?.unwrap_or(false);
        let host = keys.word("host", &HOSTS)?.unwrap_or_default();
        if kind == ChildKind::Supervisor && host == Host::Light {
            return Err(keys.error_at_value("host", "a supervisor has no host to choose".to_owned()));
        }
        Ok(ChildNode { spec, mailbox: mailbox(keys)?, host, work })
    }
}

/// A supervisor of `count` supervisors that are each as `one`.
///
/// It forgives as much as one of them: a part that gives up more often than that has a fault that restarts do not mend.
fn partition(one: TreeSpec, count: i64) -> TreeSpec {
    if count == 1 {
        return one;
    }
    let part = |number: i64| {
        let id = ChildId::new(&number.to_string()).ok()?;
        let spec = ChildSpec::new(id, ChildKind::Supervisor);
        let (mailbox, host) = (Mailbox::default(), Host::default());
        Some(ChildNode { spec, mailbox, host, work: Work::Tree(one.clone()) })
    };
    let children: Vec<ChildNode> = (0..count).filter_map(part).collect();
    let specs = children.iter().map(|child| child.spec.clone()).collect();
    let (intensity, period) = (one.spec.intensity, one.spec.period);
    let spec = SupervisorSpec { intensity, period, ..SupervisorSpec::new(Strategy::OneForOne, specs) };
    TreeSpec { name: one.name, spec, children, partitions: u32::try_from(count).unwrap_or(u32::MAX) }
}

fn budget(keys: &Keys<'_>) -> Result<Option<Budget>, TreeError> {
    let Some(table) = keys.table("budget")? else { return Ok(None) };
    table.only(&BUDGET_KEYS)?;
    let intensity = table.integer("intensity", 0, i64::from(u32::MAX))?;
    let intensity = intensity.ok_or_else(|| table.error_here("a budget needs intensity".to_owned()))?;
    let period = table.duration("period")?.ok_or_else(|| table.error_here("a budget needs period".to_owned()))?;
    if period.is_zero() {
        return Err(table.error_at_value("period", "the period of a budget must be longer than zero".to_owned()));
    }
    Ok(Some(Budget { intensity: u32::try_from(intensity).unwrap_or(u32::MAX), period }))
}

fn is_behaviour_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

fn shutdown(keys: &Keys<'_>) -> Result<Option<Shutdown>, TreeError> {
    let Some(text) = keys.text("shutdown")? else { return Ok(None) };
    match text {
        "brutal_kill" => Ok(Some(Shutdown::BrutalKill)),
        "infinity" => Ok(Some(Shutdown::Infinity)),
        span => {
            let span = parse_duration(span);
            let bad = |error| keys.error_at_value("shutdown", format!("{error}, or \"brutal_kill\" or \"infinity\""));
            span.map(|span| Some(Shutdown::Timeout(span))).map_err(bad)
        }
    }
}

fn backoff(keys: &Keys<'_>) -> Result<Option<Backoff>, TreeError> {
    let Some(table) = keys.table("backoff")? else { return Ok(None) };
    table.only(&BACKOFF_KEYS)?;
    let min = table.duration("min")?.ok_or_else(|| table.error_here("a backoff needs min".to_owned()))?;
    let max = table.duration("max")?.ok_or_else(|| table.error_here("a backoff needs max".to_owned()))?;
    let jitter = table.float("jitter")?.unwrap_or(0.0);
    let reset_after = table.duration("reset_after")?.unwrap_or(max);
    let backoff = Backoff { min, max, jitter, reset_after };
    if backoff.is_valid() {
        Ok(Some(backoff))
    } else {
        Err(table.error_here("a backoff needs 0 < min <= max and 0 <= jitter <= 1".to_owned()))
    }
}

fn mailbox(keys: &Keys<'_>) -> Result<Mailbox, TreeError> {
    let Some(table) = keys.table("mailbox")? else { return Ok(Mailbox::default()) };
    table.only(&MAILBOX_KEYS)?;
    let default = Mailbox::default();
    let capacity = match table.integer("capacity", 1, CAPACITY_MAX)? {
        Some(capacity) => usize::try_from(capacity).unwrap_or(default.capacity),
        None => default.capacity,
    };
    Ok(Mailbox { capacity, overflow: table.word("overflow", &OVERFLOWS)?.unwrap_or_default() })
}

const STRATEGIES: [(&str, Strategy); 4] = [
    ("one_for_one", Strategy::OneForOne),
    ("one_for_all", Strategy::OneForAll),
    ("rest_for_one", Strategy::RestForOne),
    ("dynamic", Strategy::Dynamic),
];
const AUTO_SHUTDOWNS: [(&str, AutoShutdown); 3] = [
    ("never", AutoShutdown::Never),
    ("any_significant", AutoShutdown::AnySignificant),
    ("all_significant", AutoShutdown::AllSignificant),
];
const HOSTS: [(&str, Host); 2] = [("hosted", Host::Hosted), ("light", Host::Light)];
const RESTARTS: [(&str, Restart); 3] =
    [("permanent", Restart::Permanent), ("transient", Restart::Transient), ("temporary", Restart::Temporary)];
const OVERFLOWS: [(&str, Overflow); 4] = [
    ("wait", Overflow::Wait),
    ("fail", Overflow::Fail),
    ("drop-newest", Overflow::DropNewest),
    ("drop-oldest", Overflow::DropOldest),
];
const SUPERVISOR_KEYS: Known =
    Known { here: &["strategy", "intensity", "period", "auto_shutdown", "partitions", "child"], later: &[] };
const CHILD_KEYS: Known = Known {
    here: &[
        "id",
        "behaviour",
        "tree",
        "restart",
        "shutdown",
        "significant",
        "backoff",
        "budget",
        "mailbox",
        "host",
        "allow_overlap",
        "kill_grace",
        "config",
    ],
    later: &["placement"],
};
const BUDGET_KEYS: Known = Known { here: &["intensity", "period"], later: &[] };
const BACKOFF_KEYS: Known = Known { here: &["min", "max", "jitter", "reset_after"], later: &[] };
const MAILBOX_KEYS: Known = Known { here: &["capacity", "overflow"], later: &[] };

/// A value as an error names it.
fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests;
