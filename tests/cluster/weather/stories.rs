//! The stories. Each ends in [`Village::end`], which asks for what must hold after all of them.

use std::time::{Duration, Instant};

use super::village::{HEAL_WITHIN, NODES, Village};
use super::{is_long, secs};
use crate::harness::{turn, wait_for};

#[test]
fn a_partition_of_two_and_three_heals_by_itself_and_harms_neither_side() {
    let _turn = turn();
    let mut village = Village::start();
    let (here, there) = NODES.split_at(2);
    let lasts = secs(12, 60);
    // The witness stands on the side of the two. Both ways are cut at one end; the lease's end is the heal.
    let cut = Instant::now();
    for node in there {
        for other in here.iter().chain(&["witness"]) {
            village.fault(node, &["--partition", "--with", other], lasts);
        }
    }
    village.measured("cutting took", format!("{} ms", cut.elapsed().as_millis()));
    village.until(here[0], there[0], "down");
    village.until(there[0], here[0], "down");
    village.measured("each side called the other down after", format!("{} ms", cut.elapsed().as_millis()));
    village.until_no_fault_holds();
    let healed = village.until_views_are_equal("all to see the same after the partition");
    village.measured("until all saw the same after the heal", format!("{} ms", healed.as_millis()));
    assert!(healed <= HEAL_WITHIN, "{healed:?}");

    let downs = village.downs();
    let side = |name: &str| !there.contains(&name);
    let within_a_side: Vec<_> = downs.iter().filter(|(by, of)| side(by) == side(of)).collect();
    assert!(within_a_side.is_empty(), "nobody on one's own side was called down: {within_a_side:?}");
    village.measured("called down across the cut", downs.len());
    village.measured("called down on one's own side", within_a_side.len());
    for node in here {
        assert_eq!(village.witness.ends(node, ""), 0, "monitors on this side stand: {:?}", village.witness.all_ends());
    }
    for node in there {
        let fired = village.witness.ends(node, "cannot be reached");
        assert!(fired >= 1, "the monitor on {node} told of the cut: {:?}", village.witness.all_ends());
    }
    assert!(there.iter().all(|node| village.faulted(node, "blocked") > 0), "the cut met datagrams");
    village.end("partition 2|3");
}

#[test]
fn lines_that_lose_a_fifth_or_one_whole_direction_make_nobody_down() {
    let _turn = turn();
    let mut village = Village::start();
    // What kandy sends does not reach asia; everything else passes.
    let lasts = secs(12, 60);
    village.fault("hub-asia", &["--partition", "--from", "tower-kandy"], lasts);
    village.until_no_fault_holds();
    let healed = village.until_views_are_equal("all to see the same after one direction was lost");
    village.measured("one direction lost for", format!("{} s", lasts.as_secs()));
    village.measured("until all saw the same after it", format!("{} ms", healed.as_millis()));
    village.measured("datagrams it kept back", village.faulted("hub-asia", "blocked"));
    assert!(village.faulted("hub-asia", "blocked") > 0);

    let lasts = secs(15, 600);
    for node in NODES {
        village.fault(node, &["--loss", "20%", "--to", "all"], lasts);
    }
    village.until_lossy_time_is_over(lasts);
    village.measured("a fifth lost for", format!("{} s", lasts.as_secs()));
    let dropped: u64 = NODES.iter().map(|node| village.faulted(node, "dropped")).sum();
    let seen: u64 = NODES.iter().map(|node| village.faulted(node, "seen")).sum();
    village.measured("datagrams lost", format!("{dropped} of {seen}"));
    assert!(dropped * 100 >= seen * 10, "the loss met datagrams: {dropped} of {seen}");
    let downs = village.downs();
    village.measured("called down", downs.len());
    assert!(downs.is_empty(), "nobody was down: {downs:?}");
    assert_eq!(village.witness.all_ends(), [], "no monitor fired: nothing it watches ended");
    village.end("one direction lost, then a fifth of everything");
}

#[test]
fn a_tower_that_sleeps_is_asleep_to_all_and_back_when_it_said() {
    let _turn = turn();
    let mut village = Village::start();
    let lasts = secs(8, 300);
    let for_time = format!("{}s", lasts.as_secs());
    village.act(&["sleep", "--node", "tower-kandy", "--for", &for_time, "--yes"]);
    for node in NODES.iter().filter(|node| **node != "tower-kandy") {
        village.until(node, "tower-kandy", "asleep");
    }
    village.measured("asleep for", for_time);
    village.until_awake("tower-kandy", lasts);
    let healed = village.until_views_are_equal("all to see it back");
    village.measured("until all saw it back", format!("{} ms", healed.as_millis()));
    let downs = village.downs();
    village.measured("called down", downs.len());
    assert!(downs.is_empty(), "sleep is no death: {downs:?}");
    village.end("a tower asleep");
}

#[test]
fn every_node_is_restarted_in_turn_and_one_is_killed_again_and_again_and_each_boot_is_accepted() {
    let _turn = turn();
    let mut village = Village::start();
    for node in NODES {
        village.act(&["leave", "--node", node, "--yes"]);
        wait_for(&format!("{node} to have ended"), || village.pid(node).is_none().then_some(()));
        let began = Instant::now();
        village.act(&["node", "start", node]);
        village.until_views_are_equal(&format!("all to see {node} back"));
        village.measured(&format!("{node} back after"), format!("{} ms", began.elapsed().as_millis()));
    }
    let downs = village.downs();
    assert!(downs.is_empty(), "who leaves in order is not down: {downs:?}");
    village.measured("called down while restarted in turn", downs.len());

    village.begin();
    let rounds = if is_long() { 50 } else { 5 };
    let (mut accepted, mut slowest) = (0, Duration::ZERO);
    let first = village.epoch("tower-kisumu");
    for round in 1..=rounds {
        village.act(&["node", "kill", "tower-kisumu", "--hold"]);
        let began = Instant::now();
        village.act(&["node", "start", "tower-kisumu"]);
        wait_for("all to see the new boot", || (village.epoch("tower-kisumu") == first + round).then_some(()));
        village.until_views_are_equal("all to see the new boot");
        accepted += 1;
        slowest = slowest.max(began.elapsed());
    }
    village.measured("restarts of one identity accepted", format!("{accepted} of {rounds}"));
    village.measured("the slowest", format!("{} ms", slowest.as_millis()));
    let others: Vec<_> = village.downs().into_iter().filter(|(_, of)| of != "tower-kisumu").collect();
    assert!(others.is_empty(), "nobody else was down: {others:?}");
    village.end("restarts");
}
