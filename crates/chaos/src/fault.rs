//! What a scenario breaks.

use std::time::Duration;

use covenant_types::{ActorPath, NodeName};
use serde::Serialize;

use crate::reader::{InvalidScenario, Table};

/// One fault of a scenario, and the proof that it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Its name in the scenario.
    pub id: String,
    /// What breaks.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// How long to wait before the first time, counted from the start or from the effect of the last fault in `after`.
    pub at: Duration,
    /// The faults that must have taken effect before.
    pub after: Vec<String>,
    /// How often to inject it.
    pub times: u32,
    /// How long to wait between two times.
    pub every: Duration,
    /// What must be seen, or the scenario is inconclusive.
    pub effective: Effect,
}

/// What breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type")]
pub enum FaultKind {
    /// An actor is killed at once, without its `stop`. Its supervisor decides what comes next.
    #[serde(rename = "actor.kill")]
    ActorKill(ActorKill),
    /// A node's process gets SIGKILL.
    #[serde(rename = "node.kill")]
    NodeKill {
        /// The node.
        node: NodeName,
        /// Whether it stays down until someone starts it.
        hold: bool,
    },
}

/// The actor that an `actor.kill` is aimed at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ActorKill {
    /// The node it runs on.
    pub on: NodeName,
    /// Its path there.
    #[serde(rename = "actor")]
    pub path: ActorPath,
}

/// The proof that a fault happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// What must be seen.
    pub event: EffectEvent,
    /// How often.
    pub at_least: u32,
}

/// What shows that a fault happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum EffectEvent {
    /// A supervisor saw its child end.
    #[serde(rename = "supervisor.child_exit")]
    ChildExit,
    /// A node's process was seen to end.
    #[serde(rename = "process.exit")]
    ProcessExit,
}

impl EffectEvent {
    /// The word for it in scenario files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChildExit => "supervisor.child_exit",
            Self::ProcessExit => "process.exit",
        }
    }
}

impl Effect {
    /// Whether `seen` times are proof.
    pub fn is_proved_by(self, seen: u32) -> bool {
        seen >= self.at_least
    }
}

impl FaultKind {
    /// The word for it in scenario files.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::ActorKill(_) => "actor.kill",
            Self::NodeKill { .. } => "node.kill",
        }
    }

    fn effect_event(&self) -> EffectEvent {
        match self {
            Self::ActorKill(_) => EffectEvent::ChildExit,
            Self::NodeKill { .. } => EffectEvent::ProcessExit,
        }
    }
}

impl Fault {
    /// Reads one `[[fault]]`.
    pub(crate) fn read(mut table: Table<'_>) -> Result<Self, InvalidScenario> {
        let id = table.required("id", scenario_id)?;
        let (kind, kind_at) = table.required_text("type")?;
        let target = table.required_table("target")?;
        let args = table.table("args")?;
        let kind = match kind.as_str() {
            "actor.kill" => actor_kill(target, args)?,
            "node.kill" => node_kill(target, args)?,
            other => return Err(table.wrong(kind_at, unknown_type(other))),
        };
        let at = table.duration("at")?.unwrap_or_default();
        let after = table.texts("after")?.into_iter().map(|(id, _)| id).collect();
        let times = table.number("times", 1..=TIMES_MAX)?.unwrap_or(1);
        let every = table.duration("every")?;
        if times > 1 && every.is_none() {
            return Err(table.wrong(table.at, format!("fault \"{id}\" happens {times} times and needs `every`")));
        }
        let event = kind.effect_event();
        let at_least = effect_count(&mut table, event, times)?;
        table.finish(&["for"])?;
        let effective = Effect { event, at_least };
        Ok(Self { id, kind, at, after, times, every: every.unwrap_or_default(), effective })
    }
}

fn actor_kill(mut target: Table<'_>, args: Option<Table<'_>>) -> Result<FaultKind, InvalidScenario> {
    let path = target.required("actor", str::parse)?;
    let on = target.required("on", NodeName::new)?;
    target.finish(&["role", "pick", "from", "except"])?;
    if let Some(mut args) = args {
        if let Some((mode, at)) = args.text("mode")? {
            match mode.as_str() {
                "abrupt" => {}
                "panic" | "poison-message" | "stop" => {
                    return Err(args.wrong(at, format!("mode \"{mode}\" is not supported yet: use \"abrupt\"")));
                }
                _ => return Err(args.wrong(at, "`mode` must be \"abrupt\"")),
            }
        }
        args.finish(&[])?;
    }
    Ok(FaultKind::ActorKill(ActorKill { on, path }))
}

fn node_kill(mut target: Table<'_>, args: Option<Table<'_>>) -> Result<FaultKind, InvalidScenario> {
    let node = target.required("node", NodeName::new)?;
    target.finish(&["role", "pick", "from", "except"])?;
    let mut hold = false;
    if let Some(mut args) = args {
        hold = args.boolean("hold")?.unwrap_or(false);
        args.finish(&[])?;
    }
    Ok(FaultKind::NodeKill { node, hold })
}

fn effect_count(table: &mut Table<'_>, event: EffectEvent, times: u32) -> Result<u32, InvalidScenario> {
    let Some(mut effective) = table.table("effective")? else { return Ok(times) };
    let (word, at) = effective.required_text("event")?;
    if word != event.as_str() {
        return Err(effective.wrong(at, format!("this fault is proved by the event \"{}\"", event.as_str())));
    }
    let at_least = effective.number("at_least", 1..=times)?.unwrap_or(times);
    effective.finish(&["counter"])?;
    Ok(at_least)
}

fn unknown_type(word: &str) -> String {
    let shown: String = word.chars().take(64).collect();
    match crate::reader::closest(word, &TYPES) {
        Some(known) => format!("unknown fault type \"{shown}\": did you mean \"{known}\"?"),
        None => format!("unknown fault type \"{shown}\": this release has {}", TYPES.join(" and ")),
    }
}

/// An id of a scenario or of a fault: short and fit for a file's name.
pub(crate) fn scenario_id(text: &str) -> Result<String, &'static str> {
    let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if plain && (1..=64).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err("an id is 1 to 64 of a-z, 0-9 and '-'")
    }
}

/// The fault types of this release.
const TYPES: [&str; 2] = ["actor.kill", "node.kill"];

/// The most times one fault may be injected.
const TIMES_MAX: u32 = 1000;
