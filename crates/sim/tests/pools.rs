//! Clusters laid out in pools: regions, hubs, leaves, in virtual time.

use std::time::Duration;

use covenant_membership::{Health, Paces};
use covenant_sim::land::{Land, hub, leaf, member};
use covenant_types::{LinkTier, Region, Role};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Two hubs and two members in each of two regions, a leaf in each, a region of one hub and a member, and one of a member.
fn land(seed: u64) -> Land {
    let places = vec![
        hub(Region::Africa),
        hub(Region::Africa),
        member(Region::Africa),
        member(Region::Africa),
        leaf(Region::Africa),
        hub(Region::Asia),
        hub(Region::Asia),
        member(Region::Asia),
        member(Region::Asia),
        leaf(Region::Asia),
        hub(Region::Europe),
        member(Region::Europe),
        member(Region::Oceania),
    ];
    let mut land = Land::new(places, Paces::loopback(), seed);
    land.until("all see all", seconds(20), |land| land.complete());
    land
}

#[test]
fn everybody_sees_everybody_though_few_are_connected() {
    let land = land(1);
    assert_eq!(land.degree(4), 2, "a leaf has its two hubs");
    assert_eq!(land.degree(2), 3, "a member has its region");
    assert!(!land.connected(2, 7) && land.sees(2, 7, Health::Alive));
}

#[test]
fn a_crash_anywhere_is_known_everywhere_within_six_seconds_and_stays_so() {
    for victim in [0, 2, 4, 5, 11, 12] {
        for seed in 0..4 {
            let mut land = land(seed);
            land.crash(victim);
            land.until("down everywhere", seconds(6), |land| land.all_see(victim, Health::Down));
            land.run(seconds(30));
            assert!(land.all_see(victim, Health::Down) && land.complete(), "{victim} stays down, and alone");
        }
    }
}

#[test]
fn a_node_that_comes_back_is_seen_everywhere_in_its_next_boot() {
    for victim in [0, 2, 4] {
        let mut land = land(3);
        land.crash(victim);
        land.until("down everywhere", seconds(6), |land| land.all_see(victim, Health::Down));
        land.boot(victim);
        land.until("back everywhere", seconds(20), |land| land.complete());
        assert_eq!(land.epoch(9, victim), Some(2));
    }
}

#[test]
fn a_goodbye_is_a_goodbye_everywhere_and_a_return_a_return() {
    for who in [2, 4, 12] {
        let mut land = land(4);
        land.leave(who);
        land.until("left everywhere", seconds(5), |land| land.all_see(who, Health::Left));
        land.run(seconds(20));
        assert!(land.all_see(who, Health::Left), "{who} is not down");
        land.come_back(who);
        land.until("back everywhere", seconds(20), |land| land.complete());
    }
}

#[test]
fn a_leaf_that_loses_one_hub_takes_another_and_is_never_down() {
    let mut land = land(5);
    for victim in [0, 1] {
        land.crash(victim);
        land.never("the leaf down", seconds(20), |land| land.anybody_sees(4, Health::Down));
    }
    assert_eq!(land.degree(4), 2, "hubs of other regions");
    assert!(land.complete());
}

#[test]
fn a_region_cut_off_is_down_for_the_others_and_comes_back_whole() {
    let mut land = land(6);
    let africa = [0, 1, 2, 3, 4];
    land.cut(&africa);
    land.until("down outside", seconds(10), |land| {
        (5..13)
            .filter(|viewer| *viewer != 12)
            .all(|viewer| africa.iter().all(|node| land.sees(viewer, *node, Health::Down)))
    });
    assert!(africa.iter().all(|one| africa.iter().all(|other| one == other || land.sees(*one, *other, Health::Alive))));
    land.heal();
    land.until("whole again", seconds(60), |land| land.complete());
}

#[test]
fn when_all_hubs_die_those_left_wait_for_them_and_are_whole_again_without_a_restart() {
    let mut land = land(8);
    let hubs = [0, 1, 5, 6, 10];
    hubs.iter().for_each(|hub| land.crash(*hub));
    land.until("all hubs down", seconds(10), |land| hubs.iter().all(|hub| land.all_see(*hub, Health::Down)));
    land.run(seconds(60));
    assert!(land.sees(4, 9, Health::Down), "nobody answers for a leaf elsewhere");
    assert!(land.sees(2, 3, Health::Alive), "who watch each other need no hub");
    hubs.iter().for_each(|hub| land.boot(*hub));
    land.until("whole again", seconds(30), |land| land.complete());
    assert_eq!(land.epoch(0, 4), Some(1), "the leaf did not restart");
}

#[test]
fn one_that_lies_about_the_pool_it_is_in_is_not_heard() {
    let mut land = land(7);
    let before = land.refused(0);
    // A datagram of the hubs' pool, and a board, from a member.
    land.inject(2, 0, true, &[1, 1, 0, 1, 1, 2, 3]);
    land.inject(2, 0, false, &[2, 1, 3, 0, 0, 0, 0, 0, 0, 0, 1]);
    land.inject(2, 0, false, &[2, 1, 2]);
    land.inject(2, 0, false, &[9, 9]);
    land.run(seconds(1));
    assert_eq!(land.refused(0), before + 4);
    land.run(seconds(10));
    assert!(land.complete());
}

#[test]
fn a_leaf_at_rest_costs_less_than_sixty_kilobytes_a_day() {
    let places = vec![hub(Region::Africa), hub(Region::Africa), hub(Region::Asia), leaf(Region::Africa)];
    let (leaf, hours) = (3, 2);
    assert_eq!((places[leaf].role, places[leaf].tier), (Role::Tower, LinkTier::Satellite));
    let mut land = Land::new(places, Paces::network(), 8);
    land.until("all see all", seconds(180), |land| land.complete());
    land.run(seconds(300));
    let before = land.traffic(leaf);
    land.run(seconds(hours * 3600));
    let (bytes, messages) = land.traffic_since(leaf, before);
    // IP, UDP and QUIC put 62 bytes around each.
    let day = (bytes + messages * 62) * 24 / hours;
    assert!(day <= 60_000, "{day} bytes a day, {bytes} of payload in {messages} messages in {hours} hours");
    assert!(messages > 0, "it keeps in touch");
    assert!(land.complete());
}
