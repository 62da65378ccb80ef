//! From the last fault's effect to the steady state, or to the end of patience.

use std::time::Duration;

use covenant_types::{Uptime, format_duration};

use crate::hypothesis::{Deviation, Hypothesis, Phase};
use crate::observation::Observation;
use crate::scenario::{RecoveryGoal, Scenario};
use crate::verdict::Verdict;

/// Decides when a cluster has recovered.
///
/// Steady means that every hypothesis of the recovery holds, and goes on to hold for `hold`. The recovery took from the
/// effect of the fault to the beginning of that window, which must lie within `within`.
#[derive(Clone, Debug)]
pub struct Recovery {
    hypotheses: Vec<Hypothesis>,
    baseline: Observation,
    goal: RecoveryGoal,
    effective_at: Uptime,
    steady_since: Option<Uptime>,
}

/// Where a recovery stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// Not steady yet.
    Waiting(Vec<Deviation>),
    /// Steady, but not for long enough yet.
    Holding,
    /// Steady for long enough; the steady state began so long after the effect.
    Recovered(Duration),
    /// Patience is over.
    Failed(Vec<Deviation>),
}

impl Progress {
    /// The verdict this comes to; `None` while it is open. Where nothing was seen to deviate and something could not be
    /// seen, nothing was shown either way.
    pub fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::Waiting(_) | Self::Holding => None,
            Self::Recovered(_) => Some(Verdict::Pass),
            Self::Failed(why) if why.iter().all(|deviation| deviation.blind) => Some(Verdict::Inconclusive),
            Self::Failed(_) => Some(Verdict::Fail),
        }
    }
}

impl Recovery {
    /// The recovery of `scenario` from what took effect at `effective_at`.
    pub fn new(scenario: &Scenario, baseline: Observation, effective_at: Uptime) -> Self {
        let in_recovery = |hypothesis: &&Hypothesis| hypothesis.applies_in(Phase::Recovery);
        let hypotheses = scenario.hypotheses.iter().filter(in_recovery).cloned().collect();
        Self { hypotheses, baseline, goal: scenario.recovery, effective_at, steady_since: None }
    }

    /// Takes what was seen at `now`.
    pub fn observe(&mut self, now: Uptime, seen: &Observation) -> Progress {
        let broken: Vec<Deviation> =
            self.hypotheses.iter().filter_map(|hypothesis| hypothesis.judge(&self.baseline, seen).err()).collect();
        let patience_ends = self.effective_at.after(self.goal.within);
        if !broken.is_empty() {
            self.steady_since = None;
            return if now > patience_ends { Progress::Failed(broken) } else { Progress::Waiting(broken) };
        }
        let since = *self.steady_since.get_or_insert(now);
        let took = since.since(self.effective_at);
        if since > patience_ends {
            let text = format!("steady again only after {}, which is too late", format_duration(took));
            return Progress::Failed(vec![Deviation { text, blind: false }]);
        }
        if now.since(since) >= self.goal.hold { Progress::Recovered(took) } else { Progress::Holding }
    }
}

#[cfg(test)]
mod tests {
    use covenant_types::{Incarnation, NodeName};

    use super::*;
    use crate::observation::ActorSeen;

    fn seen(incarnation: Option<u32>) -> Observation {
        let mut seen = Observation::default();
        if let Some(incarnation) = incarnation {
            let key = (NodeName::new("hub-africa").unwrap(), "/sync/scheduler".parse().unwrap());
            let actor = ActorSeen { running: true, incarnation: Incarnation(incarnation), answers: Some(true) };
            seen.actors.insert(key, actor);
        }
        seen
    }

    /// Feeds `(second, incarnation seen)` to a recovery within 5 s that must hold 2 s, from an effect in second 10.
    fn recovery(looks: &[(u64, Option<u32>)]) -> Vec<Progress> {
        let scenario = Scenario::parse("test.toml", include_str!("../tests/smallest.toml")).unwrap();
        let mut recovery = Recovery::new(&scenario, seen(Some(1)), Uptime::from_millis(10_000));
        looks
            .iter()
            .map(|&(at, incarnation)| recovery.observe(Uptime::from_millis(at * 1000), &seen(incarnation)))
            .collect()
    }

    fn verdict(looks: &[(u64, Option<u32>)]) -> Option<Verdict> {
        recovery(looks).pop().and_then(|progress| progress.verdict())
    }

    #[test]
    fn it_took_until_the_steady_state_began_not_until_it_was_believed() {
        let steady = [(11, Some(1)), (12, Some(2)), (13, Some(2)), (14, Some(2))];
        assert_eq!(recovery(&steady).pop(), Some(Progress::Recovered(Duration::from_secs(2))));
    }

    #[test]
    fn a_relapse_begins_the_window_anew() {
        assert_eq!(verdict(&[(11, Some(2)), (12, Some(3)), (13, Some(2)), (14, Some(2))]), None);
        assert_eq!(verdict(&[(11, Some(2)), (12, Some(3)), (13, Some(2)), (15, Some(2))]), Some(Verdict::Pass));
    }

    #[test]
    fn the_end_of_patience_is_a_failure_and_only_after_it() {
        assert_eq!(verdict(&[(15, Some(1))]), None);
        assert_eq!(verdict(&[(16, Some(1))]), Some(Verdict::Fail));
    }

    #[test]
    fn steady_too_late_is_a_failure() {
        assert_eq!(verdict(&[(14, Some(1)), (16, Some(2))]), Some(Verdict::Fail));
    }

    #[test]
    fn steady_at_the_last_moment_may_still_hold() {
        assert_eq!(verdict(&[(15, Some(2)), (17, Some(2))]), Some(Verdict::Pass));
    }

    #[test]
    fn a_cluster_nobody_sees_has_shown_nothing() {
        assert_eq!(verdict(&[(16, None)]), Some(Verdict::Inconclusive));
    }
}
