//! Whole nodes in storms, small enough for every build. `just sim-many` runs more of them.

use std::time::Duration;

use covenant_sim::whole::{self, Mischief, Setup};

fn setup(mischief: Option<Mischief>) -> Setup {
    let (storm, quiet) = (Duration::from_secs(25), Duration::from_secs(5));
    Setup { nodes: 4, patient: false, storm, quiet, mischief }
}

#[test]
fn whole_nodes_mend_after_a_storm_and_two_runs_of_a_seed_are_one() {
    let mut traces = Vec::new();
    for seed in 0..2 {
        let outcome = whole::twice(&setup(None), seed).unwrap();
        assert!(outcome.broken.is_empty(), "seed {seed}: {:?}\n{}", outcome.broken, outcome.story.join("\n"));
        assert!(outcome.answered > 20, "seed {seed}: they talked all the time");
        traces.push(outcome.trace());
    }
    assert_ne!(traces[0], traces[1], "another seed is another storm");
}

#[test]
fn what_no_seed_decides_is_found() {
    let outcome = whole::twice(&setup(Some(Mischief::Chance)), 3).unwrap();
    let found = outcome.broken.join("\n");
    assert!(found.contains("two runs of this seed differ in their packets before"), "found: {found}");
}

#[test]
fn a_node_that_lives_twice_in_one_epoch_is_found() {
    // Not every storm starts a node again.
    let found = (0..6).flat_map(|seed| whole::once(&setup(Some(Mischief::OldEpoch)), seed).unwrap().broken);
    assert!(found.into_iter().any(|broken| broken.contains("epochs never go back")));
}

#[test]
fn bulk_on_a_narrow_line_makes_nobody_down() {
    let narrow = whole::narrow(Duration::from_secs(15), 1).unwrap();
    assert_eq!((narrow.missed, narrow.first_missed.as_slice()), (0, &[][..]));
    assert!(narrow.broken.is_empty(), "{:?}", narrow.broken);
    // A third of what the line carries, with the slow start of its stream: it was full for most of the time.
    assert!(narrow.bulk > 15 * 20_000_000 / 8 / 3 && narrow.dropped > 0, "{narrow:?}");
}
