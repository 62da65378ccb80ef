//! What must be true, and whether it is.

use std::fmt;
use std::str::FromStr;

use covenant_types::{ActorPath, NodeName, RemotePath};
use serde::Serialize;
use toml::de::DeValue;

use crate::observation::{ActorPattern, Observation};
use crate::reader::{InvalidScenario, Table};

/// A sentence that must be true in some phases of the scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hypothesis {
    /// The sentence.
    pub name: String,
    /// What is looked at.
    pub probe: Probe,
    /// When.
    pub phases: Vec<Phase>,
    /// How what is seen compares to `value`.
    pub op: Op,
    /// What it is compared to.
    pub value: Expected,
}

/// What is looked at. Truth counts as 1, falsehood as 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `actors.count('hub-africa:/sync/*')`: how many of these actors run.
    ActorsCount(ActorPattern),
    /// `actor.incarnation('hub-africa:/sync/scheduler')`.
    ActorIncarnation(NodeName, ActorPath),
    /// `actor.answers('hub-africa:/sync/scheduler')`: whether it runs and answered when it was asked.
    ActorAnswers(NodeName, ActorPath),
    /// `members.reachable('hub-africa')`: how many members this node calls reachable, itself among them.
    MembersReachable(NodeName),
}

/// A part of a scenario's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Before the first fault.
    Baseline,
    /// After the last fault took effect.
    Recovery,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Op {
    /// `==`
    #[serde(rename = "==")]
    Equal,
    /// `!=`
    #[serde(rename = "!=")]
    NotEqual,
    /// `>=`
    #[serde(rename = ">=")]
    AtLeast,
    /// `<=`
    #[serde(rename = "<=")]
    AtMost,
    /// `>`
    #[serde(rename = ">")]
    More,
    /// `<`
    #[serde(rename = "<")]
    Less,
}

/// What a probe is compared to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Expected {
    /// A constant.
    Constant(u32),
    /// What the same probe showed in the baseline, and so many more: `"baseline"`, `"baseline + 1"`.
    Baseline(u32),
}

/// Why a hypothesis could not be said to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deviation {
    /// The hypothesis, its probe and the numbers.
    pub text: String,
    /// Whether nothing could be seen, so that nothing is known either way.
    pub blind: bool,
}

impl Hypothesis {
    /// Whether this must hold in `phase`.
    pub fn applies_in(&self, phase: Phase) -> bool {
        self.phases.contains(&phase)
    }

    /// Judges what was seen against the baseline.
    ///
    /// # Errors
    /// It does not hold, or its probe was blind.
    pub fn judge(&self, baseline: &Observation, seen: &Observation) -> Result<(), Deviation> {
        let blind =
            |when| Deviation { text: format!("{}: {} could not be seen {when}", self.name, self.probe), blind: true };
        let expected = match self.value {
            Expected::Constant(value) => value,
            Expected::Baseline(more) => {
                self.probe.look(baseline).ok_or_else(|| blind("in the baseline"))?.saturating_add(more)
            }
        };
        let found = self.probe.look(seen).ok_or_else(|| blind("now"))?;
        if self.op.holds(found, expected) {
            Ok(())
        } else {
            let text = format!("{}: {} is {found}, must be {} {expected}", self.name, self.probe, self.op.as_str());
            Err(Deviation { text, blind: false })
        }
    }

    /// Reads one `[[hypothesis]]`.
    pub(crate) fn read(mut table: Table<'_>) -> Result<Self, InvalidScenario> {
        let (name, name_at) = table.required_text("name")?;
        if name.trim().is_empty() {
            return Err(table.wrong(name_at, "`name` is the sentence that must be true: write it"));
        }
        let probe = table.required("probe", str::parse)?;
        let mut phases = Vec::new();
        for (word, at) in table.texts("phase")? {
            phases.push(phase(&word).map_err(|what| table.wrong(at, what))?);
        }
        if phases.is_empty() {
            phases.push(Phase::Recovery);
        }
        let op = table.required("op", str::parse)?;
        let value = expected(&mut table)?;
        table.finish(&["every", "min_samples"])?;
        Ok(Self { name, probe, phases, op, value })
    }
}

fn expected(table: &mut Table<'_>) -> Result<Expected, InvalidScenario> {
    let (value, at) = table.any("value").ok_or_else(|| table.wrong(table.at, "a hypothesis needs `value`"))?;
    let constant = match &value {
        DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok().map(Expected::Constant),
        DeValue::Boolean(value) => Some(Expected::Constant(u32::from(*value))),
        DeValue::String(text) => text.strip_prefix("baseline").and_then(|rest| match rest.trim() {
            "" => Some(Expected::Baseline(0)),
            rest => rest.strip_prefix('+')?.trim().parse().ok().map(Expected::Baseline),
        }),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    };
    constant
        .ok_or_else(|| table.wrong(at, "`value` must be a whole number, true, false, \"baseline\" or \"baseline + 1\""))
}

fn phase(word: &str) -> Result<Phase, String> {
    match word {
        "baseline" => Ok(Phase::Baseline),
        "recovery" => Ok(Phase::Recovery),
        "fault" => Err("phase \"fault\" is not supported yet: use \"baseline\" or \"recovery\"".into()),
        _ => Err("a phase is \"baseline\" or \"recovery\"".into()),
    }
}

impl Probe {
    /// What it shows; `None` where it is blind.
    pub fn look(&self, seen: &Observation) -> Option<u32> {
        match self {
            Self::ActorsCount(pattern) => seen.running(pattern),
            Self::ActorIncarnation(node, path) => seen.actor(node, path).map(|actor| actor.incarnation.0),
            Self::ActorAnswers(node, path) => {
                let actor = seen.actor(node, path)?;
                Some(u32::from(actor.running && actor.answers?))
            }
            Self::MembersReachable(node) => seen.reachable.get(node).copied(),
        }
    }

    /// The actor that the runner must ask for an answer, if this probe wants one asked.
    pub fn asks(&self) -> Option<(&NodeName, &ActorPath)> {
        match self {
            Self::ActorAnswers(node, path) => Some((node, path)),
            Self::ActorsCount(_) | Self::ActorIncarnation(..) | Self::MembersReachable(_) => None,
        }
    }
}

impl FromStr for Probe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let call = text.strip_suffix("')").and_then(|text| text.split_once("('"));
        let (name, argument) = call.ok_or_else(|| format!("write it as one of {}", PROBES.join(", ")))?;
        let actor = || -> Result<(NodeName, ActorPath), String> {
            let remote: RemotePath = argument.parse().map_err(|error| format!("{error}"))?;
            let node = remote.node.ok_or("name the node too, as in 'hub-africa:/sync/scheduler'")?;
            Ok((node, remote.path))
        };
        match name {
            "actors.count" => argument.parse().map(Self::ActorsCount),
            "actor.incarnation" => actor().map(|(node, path)| Self::ActorIncarnation(node, path)),
            "actor.answers" => actor().map(|(node, path)| Self::ActorAnswers(node, path)),
            "members.reachable" => {
                NodeName::new(argument).map(Self::MembersReachable).map_err(|error| error.to_string())
            }
            _ => Err(format!("unknown probe: this release has {}", PROBES.join(", "))),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ActorsCount(pattern) => write!(f, "actors.count('{pattern}')"),
            Self::ActorIncarnation(node, path) => write!(f, "actor.incarnation('{node}:{path}')"),
            Self::ActorAnswers(node, path) => write!(f, "actor.answers('{node}:{path}')"),
            Self::MembersReachable(node) => write!(f, "members.reachable('{node}')"),
        }
    }
}

impl Serialize for Probe {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Op {
    /// The sign for it in scenario files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::AtLeast => ">=",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::Less => "<",
        }
    }

    fn holds(self, found: u32, expected: u32) -> bool {
        match self {
            Self::Equal => found == expected,
            Self::NotEqual => found != expected,
            Self::AtLeast => found >= expected,
            Self::AtMost => found <= expected,
            Self::More => found > expected,
            Self::Less => found < expected,
        }
    }
}

impl FromStr for Op {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let all = [Self::Equal, Self::NotEqual, Self::AtLeast, Self::AtMost, Self::More, Self::Less];
        all.into_iter().find(|op| op.as_str() == text).ok_or("use ==, !=, >=, <=, > or <")
    }
}

/// The probes of this release, as a file writes them.
const PROBES: [&str; 4] = [
    "actors.count('NODE:/PATH/*')",
    "actor.incarnation('NODE:/PATH')",
    "actor.answers('NODE:/PATH')",
    "members.reachable('NODE')",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::ActorSeen;
    use covenant_types::Incarnation;

    fn scene(incarnation: u32, answers: Option<bool>) -> Observation {
        let mut seen = Observation::default();
        let key = (NodeName::new("hub-africa").unwrap(), "/sync/scheduler".parse().unwrap());
        seen.actors.insert(key, ActorSeen { running: true, incarnation: Incarnation(incarnation), answers });
        seen
    }

    fn judge(probe: &str, op: &str, value: Expected, seen: &Observation) -> Result<(), Deviation> {
        let hypothesis = Hypothesis {
            name: "it holds".into(),
            probe: probe.parse().unwrap(),
            phases: vec![Phase::Recovery],
            op: op.parse().unwrap(),
            value,
        };
        hypothesis.judge(&scene(1, None), seen)
    }

    #[test]
    fn the_next_incarnation_is_one_more_than_the_baseline() {
        let probe = "actor.incarnation('hub-africa:/sync/scheduler')";
        assert_eq!(judge(probe, "==", Expected::Baseline(1), &scene(2, None)), Ok(()));
        let error = judge(probe, "==", Expected::Baseline(1), &scene(3, None)).unwrap_err();
        assert_eq!(error, Deviation { text: format!("it holds: {probe} is 3, must be == 2"), blind: false });
    }

    #[test]
    fn a_probe_that_sees_nothing_does_not_hold() {
        let answers = "actor.answers('hub-africa:/sync/scheduler')";
        assert_eq!(judge(answers, "==", Expected::Constant(1), &scene(1, Some(true))), Ok(()));
        assert!(!judge(answers, "==", Expected::Constant(1), &scene(1, Some(false))).unwrap_err().blind);
        for probe in [answers, "members.reachable('hub-asia')", "actors.count('hub-asia:/sync/*')"] {
            assert!(judge(probe, "==", Expected::Constant(0), &scene(1, None)).unwrap_err().blind, "{probe}");
        }
    }

    #[test]
    fn probes_are_printed_as_they_are_written() {
        for text in PROBES.map(|probe| probe.replace("NODE", "hub-africa").replace("/PATH", "/sync")) {
            assert_eq!(text.parse::<Probe>().unwrap().to_string(), text);
        }
        for bad in ["actors.count", "actor.answers('/sync')", "actor.cpu('hub-africa:/sync')", "members.reachable('')"]
        {
            assert!(bad.parse::<Probe>().is_err(), "{bad}");
        }
    }
}
