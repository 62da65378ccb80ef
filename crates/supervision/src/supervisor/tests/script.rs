//! How children and steps are written.
//!
//! `2/5s a b:temporary:1s`: an intensity of 2 in 5 s (else 9 in 5 s), a permanent child `a`, a temporary one `b` with one
//! second to stop. `2/5s/any` and `2/5s/all` end with their significant children. Further traits: `transient` `brutal`
//! `infinity` `sup` (a supervisor), `sig` (significant), `overlap`, `back=1s..8s` (a back-off without jitter, reset after
//! 10 s), `own=1/5s` (a budget of its own); and of their behaviour: `slow` (its start waits for `up`, `fail` or `ignore`), `lasting` (does
//! not stop when asked), `immortal` (does not end when killed either), `ignored`, `bad` (every start fails), `taken` (every
//! start finds that another runs in its place), `tells` (who starts it hears `extra`).

use std::time::Duration;

use covenant_types::parse_duration;

use crate::{
    AutoShutdown, Backoff, Budget, ChildId, ChildKind, ChildSpec, Restart, Shutdown, Strategy, SupervisorSpec,
};

/// How a child of the bench behaves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Nature {
    pub(crate) slow: bool,
    pub(crate) lasting: bool,
    pub(crate) immortal: bool,
    pub(crate) ignored: bool,
    pub(crate) taken: bool,
    pub(crate) tells: bool,
    /// How many of its next starts fail.
    pub(crate) fails: u32,
}

pub(crate) fn id(text: &str) -> ChildId {
    ChildId::new(text).unwrap()
}

pub(crate) fn supervisor(strategy: Strategy, text: &str) -> (SupervisorSpec, Vec<Nature>) {
    let (limits, children) = match text.split_once(' ') {
        Some((limits, children)) if limits.contains('/') => (limits, children),
        _ => ("9/5s", text),
    };
    let (intensity, period) = limits.split_once('/').unwrap();
    let (period, auto) = period.split_once('/').unwrap_or((period, "never"));
    let auto_shutdown = match auto {
        "any" => AutoShutdown::AnySignificant,
        "all" => AutoShutdown::AllSignificant,
        _ => AutoShutdown::Never,
    };
    let (children, natures) = children.split_whitespace().map(child).unzip();
    let (intensity, period) = (intensity.parse().unwrap(), parse_duration(period).unwrap());
    (SupervisorSpec { intensity, period, auto_shutdown, ..SupervisorSpec::new(strategy, children) }, natures)
}

pub(crate) fn child(text: &str) -> (ChildSpec, Nature) {
    let mut traits = text.split(':');
    let id = id(traits.next().unwrap());
    let kind = if text.contains(":sup") { ChildKind::Supervisor } else { ChildKind::Worker };
    let (mut spec, mut nature) = (ChildSpec::new(id, kind), Nature::default());
    for word in traits {
        match word {
            "transient" => spec.restart = Restart::Transient,
            "temporary" => spec.restart = Restart::Temporary,
            "brutal" => spec.shutdown = Shutdown::BrutalKill,
            "infinity" => spec.shutdown = Shutdown::Infinity,
            "sup" => {}
            "sig" => spec.significant = true,
            "overlap" => spec.allow_overlap = true,
            "slow" => nature.slow = true,
            "lasting" => nature.lasting = true,
            "immortal" => (nature.lasting, nature.immortal) = (true, true),
            "ignored" => nature.ignored = true,
            "taken" => nature.taken = true,
            "tells" => nature.tells = true,
            "bad" => nature.fails = u32::MAX,
            word => match word.strip_prefix("back=") {
                Some(pauses) => spec.backoff = Some(backoff(pauses)),
                None if word.starts_with("own=") => spec.budget = Some(budget(&word[4..])),
                None => spec.shutdown = Shutdown::Timeout(parse_duration(word).unwrap()),
            },
        }
    }
    (spec, nature)
}

fn budget(text: &str) -> Budget {
    let (intensity, period) = text.split_once('/').unwrap();
    Budget { intensity: intensity.parse().unwrap(), period: parse_duration(period).unwrap() }
}

fn backoff(text: &str) -> Backoff {
    let (min, max) = text.split_once("..").unwrap();
    let (min, max) = (parse_duration(min).unwrap(), parse_duration(max).unwrap());
    Backoff { min, max, jitter: 0.0, reset_after: Duration::from_secs(10) }
}
