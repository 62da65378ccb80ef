//! How soon a child that always fails uses up what its supervisor forgives, at the earliest.
//!
//! Only the earliest counts: where even the fastest crash loop does not use a budget up, nothing ever does.

use std::time::Duration;

use crate::{ChildSpec, Strategy, TreeSpec};

/// How many restarts of `child` are forgiven, and over how long: its own budget, or its supervisor's.
pub(super) fn forgiven(tree: &TreeSpec, child: &ChildSpec) -> (u32, Duration) {
    child.budget.map_or((tree.spec.intensity, tree.spec.period), |own| (own.intensity, own.period))
}

/// When the supervisor gives up, counted from its start, if `child` lives for `life` each time. `None`: never.
pub(super) fn gives_up_after(tree: &TreeSpec, child: &ChildSpec, life: Duration) -> Option<Duration> {
    if tree.spec.strategy == Strategy::Dynamic {
        return Some(life); // its instances may all fail at once
    }
    let (intensity, period) = forgiven(tree, child);
    let takes = time_of_restarts(child, life, intensity);
    (takes <= period).then(|| life.saturating_add(takes))
}

/// The shortest time from a child's first failure to the one that is `intensity` restarts later.
pub(super) fn time_of_restarts(child: &ChildSpec, life: Duration, intensity: u32) -> Duration {
    let Some(backoff) = &child.backoff else { return life.saturating_mul(intensity) };
    let afresh = life.max(backoff.reset_after).saturating_add(backoff.pause(0, 1.0));
    let mut takes = Duration::ZERO;
    for restart in 0..intensity.min(DOUBLINGS_MAX) {
        takes = takes.saturating_add(life.saturating_add(backoff.pause(restart, 1.0)).min(afresh));
    }
    let longest = life.saturating_add(backoff.pause(u32::MAX, 1.0)).min(afresh);
    takes.saturating_add(longest.saturating_mul(intensity.saturating_sub(DOUBLINGS_MAX)))
}

/// After so many doublings every pause has reached its maximum: a nanosecond has then become longer than any duration.
const DOUBLINGS_MAX: u32 = 96;
