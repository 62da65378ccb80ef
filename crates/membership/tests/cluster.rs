//! Clusters of cores: what a member may rely on.

mod net;

use std::time::Duration;

use covenant_membership::{Event, Health, Profile};
use net::{Net, id};

const SEEDS: std::ops::Range<u64> = 0..8;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn any_member_will_do_as_the_seed_of_a_join() {
    for seed in SEEDS {
        let mut net = Net::formed(6, seed);
        net.crash(5);
        let through = usize::try_from(seed % 5).unwrap();
        net.boot(5);
        net.join(5, through);
        net.until("the new node is in", seconds(5), Net::complete);
    }
}

#[test]
fn a_join_succeeds_though_a_third_of_all_datagrams_is_lost() {
    for seed in SEEDS {
        let mut net = Net::new(5, seed, Profile::loopback());
        net.loss = 333;
        net.boot(0);
        for node in 1..5 {
            net.boot(node);
            net.join(node, 0);
        }
        net.run(seconds(20));
        assert!(net.lost > 0, "the fault worked");
        net.until("all in at once", seconds(30), Net::complete);
    }
}

#[test]
fn a_crashed_node_is_down_everywhere_within_six_seconds() {
    for size in [2, 3, 5, 10, 20] {
        for seed in SEEDS {
            let mut net = Net::formed(size, seed);
            net.run(Duration::from_millis(seed * 137));
            net.crash(size - 1);
            net.expire_connections(size - 1);
            net.until("down everywhere", seconds(6), |net| net.all_see(size - 1, Health::Down));
            net.run(seconds(30));
            assert!(net.all_see(size - 1, Health::Down), "and stays down");
            assert!(net.complete());
        }
    }
}

#[test]
fn a_suspicion_shows_before_the_node_is_down() {
    let mut net = Net::formed(5, 1);
    net.crash(4);
    let suspected = net.until("suspected", seconds(3), |net| net.health(0, 4).unwrap().0 == Health::Suspect);
    let down = net.until("down", seconds(6), |net| net.health(0, 4).unwrap().0 == Health::Down);
    assert!(suspected < seconds(3) && down > Duration::from_millis(500));
}

#[test]
fn a_node_that_says_goodbye_has_left_and_is_not_down() {
    for size in [2, 3, 10] {
        for seed in SEEDS {
            let mut net = Net::formed(size, seed);
            net.leave(size - 1);
            let took = net.until("left everywhere", seconds(3), |net| net.all_see(size - 1, Health::Left));
            assert!(took < seconds(3));
            net.crash(size - 1);
            net.run(seconds(30));
            assert!(net.all_see(size - 1, Health::Left), "and stays so");
        }
    }
}

#[test]
fn a_node_that_restarts_comes_back_with_its_higher_epoch() {
    for seed in SEEDS {
        let mut net = Net::formed(5, seed);
        net.crash(2);
        // Sometimes before the others noticed, sometimes long after.
        net.run(Duration::from_millis(seed * 1500));
        net.boot(2);
        net.join(2, 0);
        net.until("back", seconds(5), Net::complete);
        assert!((0..5).filter(|&viewer| viewer != 2).all(|viewer| net.health(viewer, 2) == Some((Health::Alive, 2))));
        net.run(seconds(20));
        assert!(net.complete(), "the old life's rumours do not harm the new one");
    }
}

#[test]
fn a_node_that_left_comes_back_with_its_next_boot() {
    let mut net = Net::formed(3, 5);
    net.leave(2);
    net.run(seconds(1));
    net.crash(2);
    net.boot(2);
    net.join(2, 1);
    net.until("back", seconds(5), Net::complete);
}

#[test]
fn the_epoch_told_of_a_node_never_goes_down() {
    for seed in SEEDS {
        let mut net = Net::formed(6, seed);
        net.loss = 100;
        for round in 0..6 {
            let node = 1 + round % 5;
            net.crash(node);
            net.run(Duration::from_millis(700 * round as u64));
            net.boot(node);
            net.join(node, 0);
            net.run(seconds(2));
        }
        net.loss = 0;
        net.until("healed", seconds(30), Net::complete);
        // Node 0 never restarted, so what it was told is one history.
        let mut last = std::collections::BTreeMap::new();
        for (_, _, change) in net.told.iter().filter(|(_, viewer, _)| *viewer == 0) {
            let before = last.insert(change.node, change.epoch);
            assert!(before.is_none_or(|before| before <= change.epoch), "{change:?}");
        }
        assert!(last.values().all(|epoch| epoch.0 >= 2), "there was something to go wrong: {last:?}");
    }
}

#[test]
fn a_suspect_that_refuted_is_not_told_that_it_is_dead() {
    let (mut suspicions, mut stale) = (0, 0);
    for seed in SEEDS {
        let mut net = Net::formed(10, seed);
        net.loss = 150;
        // Else the stream's pings would find out that nobody is silent.
        net.stream_loss = 900;
        net.run(seconds(200));
        let count = |health| net.told.iter().filter(|(_, _, change)| change.health == health).count();
        suspicions += count(Health::Suspect);
        stale += net.stats().iter().map(|stats| stats.stale_suspicions).sum::<u64>();
        assert_eq!(count(Health::Down), 0, "nobody died");
        assert_eq!(net.renewals.len(), 0, "so nobody had to come back");
    }
    assert!(suspicions > 10 && stale > 10, "the guard was needed: {suspicions} suspicions, {stale} of them stale");
}

#[test]
fn a_node_whose_datagrams_are_lost_answers_over_the_stream_and_is_not_suspected() {
    let mut net = Net::formed(5, 6);
    net.run(seconds(5));
    let told = net.told.len();
    net.loss = 700;
    net.run(seconds(60));
    assert!(net.lost > 500, "the fault worked");
    assert!(net.told[told..].iter().all(|(_, _, change)| change.health == Health::Alive), "{:?}", &net.told[told..]);
}

#[test]
fn a_node_that_sleeps_has_left_and_comes_back_in_the_same_boot() {
    for seed in SEEDS {
        let mut net = Net::formed(5, seed);
        net.leave(3);
        net.until("away", seconds(5), |net| net.all_see(3, Health::Left));
        net.run(seconds(60));
        assert!(net.all_see(3, Health::Left), "and stays so");
        let told = net.told.len();
        net.deliver(3, Event::Return);
        net.until("back", seconds(5), Net::complete);
        net.run(seconds(30));
        assert!(net.complete());
        assert!(net.told[told..].iter().all(|(_, _, change)| change.epoch.0 == 1), "nobody above saw a new life");
    }
}

#[test]
fn a_deaf_node_does_not_take_others_down() {
    for seed in SEEDS {
        let mut net = Net::formed(10, seed);
        let told = net.told.len();
        for other in 0..9 {
            net.cut.insert((other, 9));
        }
        net.run(seconds(60));
        assert!(net.lost > 0, "the fault worked");
        let innocent = net.told[told..]
            .iter()
            .filter(|(_, viewer, change)| *viewer != 9 && change.node != id(9) && change.health == Health::Down);
        assert_eq!(innocent.count(), 0, "seed {seed}");
        assert!(net.stats().iter().map(|stats| stats.doubted).sum::<u64>() > 0, "it did try");
    }
}

#[test]
fn a_healed_partition_is_forgotten_though_no_connection_ever_broke() {
    for seed in SEEDS {
        let mut net = Net::formed(8, seed);
        net.partition(&[0, 1, 2, 3], &[4, 5, 6, 7]);
        net.until("each half thinks the other down", seconds(20), |net| {
            (4..8).all(|node| (0..4).all(|viewer| net.health(viewer, node).unwrap().0 == Health::Down))
        });
        net.run(Duration::from_millis(seed * 450));
        assert!(net.lost > 0, "the fault worked");
        net.cut.clear();
        net.until("healed", seconds(15), Net::complete);
        net.run(seconds(30));
        assert!(net.complete(), "and stays healed");
    }
}

#[test]
fn a_node_wrongly_held_down_comes_back_without_a_new_boot() {
    let mut net = Net::formed(4, 3);
    net.partition(&[3], &[0, 1, 2]);
    net.until("down", seconds(10), |net| net.all_see(3, Health::Down));
    net.cut.clear();
    net.until("back", seconds(15), Net::complete);
    assert!(net.renewals.iter().any(|(_, node)| *node == 3), "SWIM saw a new life");
    assert!(net.told.iter().all(|(_, _, change)| change.epoch.0 == 1), "nobody above did");
}

#[test]
fn a_node_that_stood_still_does_not_declare_the_others_dead() {
    let mut net = Net::formed(3, 9);
    let told = net.told.len();
    // All three stand still at once, as on a laptop whose lid was closed.
    net.now = net.now.after(seconds(3600));
    net.run(seconds(10));
    let deaths = net.told[told..].iter().filter(|(_, _, change)| change.health == Health::Down).count();
    assert_eq!(deaths, 0);
    assert!(net.complete());
}

#[test]
fn nothing_is_believed_about_a_node_whose_record_is_unknown() {
    let mut net = Net::new(3, 4, Profile::loopback());
    (0..3).for_each(|node| net.boot(node));
    // Node 1 knows both others; 0 and 2 never hear each other's record.
    let up = |node: usize| Event::PeerUp { node: id(node), epoch: covenant_types::BootEpoch(1) };
    net.link(0, 1);
    net.link(1, 2);
    for (at, peer) in [(0, 1), (1, 0), (1, 2), (2, 1)] {
        net.deliver(at, up(peer));
    }
    net.run(seconds(10));
    assert_eq!(net.health(1, 0).unwrap().0, Health::Alive);
    assert_eq!(net.health(0, 2), None, "a rumour alone makes no member");
    assert!(net.core(0).stats().held > 0);
    let known = |node: usize| Event::EpochKnown { node: id(node), epoch: covenant_types::BootEpoch(1) };
    net.deliver(0, known(2));
    net.until("the record makes the rumour credible", seconds(20), |net| net.health(0, 2).is_some());
}

#[test]
fn one_seed_gives_one_history() {
    let history = |seed| {
        let mut net = Net::formed(5, seed);
        net.loss = 100;
        net.crash(4);
        net.run(seconds(20));
        net.trace()
    };
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}

#[test]
fn a_cluster_at_rest_is_quiet() {
    let mut net = Net::formed(20, 2);
    net.run(seconds(30));
    let before = net.datagram_bytes;
    net.run(seconds(60));
    let per_node = (net.datagram_bytes - before) / (20 * 60);
    // Two pings and two answers a second of some 60 bytes each.
    assert!(per_node < 400, "{per_node} bytes per node and second");
    assert_eq!(net.renewals.len(), 0);
}
