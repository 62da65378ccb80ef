//! How soon a child that always fails uses up what its supervisor forgives, at the earliest.
//!
//! A child that always fails does so at once, or after about the same time. Where neither the fastest of the one kind nor the
//! fastest of the other uses a budget up, no such child ever does.

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

/// The shortest time from a child's first failure to the one that is `intensity` restarts later, if it fails the same way
/// every time: as soon as it can, or as soon as its pauses begin afresh.
pub(super) fn time_of_restarts(child: &ChildSpec, life: Duration, intensity: u32) -> Duration {
    let intensity = intensity.min(INTENSITY_MAX);
    let Some(backoff) = &child.backoff else { return life.saturating_mul(intensity) };
    let shortest = |restart: u32| backoff.pause(restart, 1.0);
    let afresh = life.max(backoff.reset_after).saturating_add(shortest(0)).saturating_mul(intensity);
    if life >= backoff.reset_after {
        return afresh;
    }
    let doubling = intensity.min(DOUBLINGS_MAX);
    let pauses = (0..doubling).fold(Duration::ZERO, |sum, restart| sum.saturating_add(shortest(restart)));
    let longest = shortest(u32::MAX).saturating_mul(intensity - doubling);
    let at_once = life.saturating_mul(intensity).saturating_add(pauses).saturating_add(longest);
    at_once.min(afresh)
}

/// After so many doublings every pause has reached its maximum: a nanosecond has then become longer than any duration.
const DOUBLINGS_MAX: u32 = 96;
/// The most restarts that a supervisor forgives, whatever its spec says.
const INTENSITY_MAX: u32 = 1_000_000;
