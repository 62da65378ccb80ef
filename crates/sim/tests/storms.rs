//! The membership core in storms, small enough for every build. `just sim-core` runs larger ones.

use std::time::Duration;

use covenant_sim::swim::storm::{self, Storm};
use covenant_sim::swim::{Setup, World};

fn storm(nodes: usize, seed: u64) -> Storm {
    let setup = if seed.is_multiple_of(2) { Setup::lan(nodes) } else { Setup::mixed(nodes) };
    Storm { setup, span: Duration::from_secs(200), calm: Duration::from_secs(240) }
}

#[test]
fn after_a_storm_all_see_all_again_and_two_runs_of_a_seed_are_one() {
    for seed in 0..6 {
        let outcome = storm::run(&storm(12, seed), seed);
        assert!(outcome.broken.is_empty(), "seed {seed}: {:?}\n{}", outcome.broken, outcome.story.join("\n"));
        assert_eq!(storm::run(&storm(12, seed), seed).trace, outcome.trace, "seed {seed}");
    }
}

#[test]
fn another_seed_is_another_storm() {
    assert_ne!(storm::run(&storm(5, 2), 2).trace, storm::run(&storm(5, 4), 4).trace);
}

#[test]
fn a_loss_of_five_percent_kills_nobody() {
    let mut world = World::formed(Setup::mixed(40), 5);
    world.lines.loss = 0.05;
    let rest = covenant_sim::swim::measure::rest(&mut world, Duration::from_secs(1200));
    assert!(world.lost > 100, "the fault worked");
    assert_eq!((rest.downs, rest.renewals), (0, 0));
}
