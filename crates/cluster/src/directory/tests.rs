use covenant_identity::NodeKey;
use covenant_types::{LinkTier, Region, Role, WallTime};

use super::*;
use crate::member::Phase;
use crate::record::NodeRecord;

/// Two that pass on records of others.
const TELLER: NodeId = NodeId([1; 16]);
const OTHER: NodeId = NodeId([2; 16]);

fn record(key: &NodeKey, name: &str, epoch: u64) -> SignedRecord {
    let record = NodeRecord {
        id: key.node_id(),
        public_key: key.public_key(),
        name: NodeName::new(name).unwrap(),
        role: Role::Tower,
        region: Region::Asia,
        epoch: BootEpoch(epoch),
        address: "127.0.0.1:1".parse().unwrap(),
        tier: LinkTier::Lan,
        phase: Phase::Active,
        version: "1.2.3".to_owned(),
        certificate_issuer: NodeId([9; 16]),
        certificate_begins: WallTime(1_799_000_000),
        certificate_ends: WallTime(1_800_000_000),
        trust: covenant_identity::TrustMark::default(),
        sequence: 1,
    };
    SignedRecord::sign(record, key)
}

fn directory() -> (Directory, NodeKey) {
    let key = NodeKey::generate();
    (Directory::new(record(&key, "me", 3)), key)
}

fn alive(id: NodeId, epoch: u64) -> Change {
    Change { node: id, epoch: BootEpoch(epoch), health: Health::Alive }
}

#[test]
fn only_a_newer_record_is_news() {
    let (mut directory, _) = directory();
    let key = NodeKey::generate();
    assert_eq!(directory.offer(TELLER, record(&key, "a", 2)), Offer::New);
    assert_eq!(directory.offer(TELLER, record(&key, "a", 2)), Offer::Known);
    assert_eq!(directory.offer(TELLER, record(&key, "a", 1)), Offer::Known);
    assert_eq!(directory.offer(TELLER, record(&key, "a", 3)), Offer::New);
}

#[test]
fn a_member_that_says_it_woke_is_awaited_for_a_minute_and_not_gone() {
    let (mut directory, _) = directory();
    let key = NodeKey::generate();
    let (id, sleeping) = (key.node_id(), Phase::Asleep { since: WallTime(100), until: WallTime(200) });
    let says = |sequence, phase| {
        let record = NodeRecord { phase, sequence, ..record(&key, "a", 1).record };
        SignedRecord::sign(record, &key)
    };
    let at = |directory: &mut Directory, secs| {
        let dated = directory.tick(WallTime(secs));
        (directory.view(id).map(|view| view.state), dated.len())
    };
    at(&mut directory, 100);
    assert_eq!(directory.offer(TELLER, says(1, sleeping)), Offer::New);
    directory.health(Change { health: Health::Left, ..alive(id, 1) });
    assert_eq!(at(&mut directory, 110), (Some(MemberState::Asleep), 1));
    assert_eq!(directory.offer(TELLER, says(2, Phase::Active)), Offer::New);
    assert_eq!(at(&mut directory, 170), (Some(MemberState::Unreachable), 1));
    assert_eq!(at(&mut directory, 171), (Some(MemberState::Down), 1), "it was not heard of again");
    directory.health(alive(id, 1));
    directory.health(Change { health: Health::Left, ..alive(id, 1) });
    assert_eq!(at(&mut directory, 172), (Some(MemberState::Left), 0), "this time it left");
}

#[test]
fn a_member_that_membership_heard_of_before_its_record_said_that_it_woke_has_left_when_it_leaves() {
    let (mut directory, _) = directory();
    let key = NodeKey::generate();
    let id = key.node_id();
    let says = |sequence, phase| {
        let record = NodeRecord { phase, sequence, ..record(&key, "a", 1).record };
        SignedRecord::sign(record, &key)
    };
    let sleeping = Phase::Asleep { since: WallTime(100), until: WallTime(200) };
    assert_eq!(directory.offer(TELLER, says(1, sleeping)), Offer::New);
    directory.health(Change { health: Health::Left, ..alive(id, 1) });
    directory.health(alive(id, 1));
    assert_eq!(directory.offer(TELLER, says(2, Phase::Active)), Offer::New);
    directory.health(Change { health: Health::Left, ..alive(id, 1) });
    directory.tick(WallTime(110));
    assert_eq!(directory.view(id).map(|view| view.state), Some(MemberState::Left));
}

#[test]
fn our_own_record_that_is_not_of_this_process_is_an_incident() {
    let (mut directory, key) = directory();
    assert_eq!(directory.offer(TELLER, record(&key, "me", 9)), Offer::OwnAhead(BootEpoch(9)));
    assert_eq!(directory.offer(TELLER, record(&key, "me", 3)), Offer::Known);
    let moved = NodeRecord { address: "127.0.0.1:2".parse().unwrap(), ..record(&key, "me", 3).record };
    let of_a_twin = SignedRecord::sign(moved, &key);
    assert_eq!(directory.offer(TELLER, of_a_twin.clone()), Offer::OwnAhead(BootEpoch(3)));
    directory.set_own(record(&key, "me", 4));
    assert_eq!(directory.offer(TELLER, of_a_twin), Offer::Known);
}

#[test]
fn a_name_belongs_to_whoever_proved_it() {
    let (mut directory, _) = directory();
    let (honest, thief) = (NodeKey::generate(), NodeKey::generate());
    let name = NodeName::new("hub").unwrap();
    assert_eq!(directory.offer(TELLER, record(&honest, "hub", 1)), Offer::New);
    directory.connected(honest.node_id(), &name);
    assert_eq!(directory.offer(TELLER, record(&thief, "hub", 1)), Offer::Refused("name"));
    assert_eq!(directory.offer(TELLER, record(&thief, "me", 1)), Offer::Refused("name"));
    assert_eq!(directory.offer(TELLER, record(&honest, "else", 2)), Offer::Refused("name"));
}

#[test]
fn a_squatter_loses_the_name_when_its_owner_connects() {
    let (mut directory, _) = directory();
    let (honest, thief) = (NodeKey::generate(), NodeKey::generate());
    assert_eq!(directory.offer(TELLER, record(&thief, "hub", 1)), Offer::New);
    directory.connected(honest.node_id(), &NodeName::new("hub").unwrap());
    assert!(directory.record(thief.node_id()).is_none());
    assert_eq!(directory.offer(TELLER, record(&honest, "hub", 1)), Offer::New);
}

#[test]
fn a_member_is_reachable_only_with_a_connection_and_good_health_in_its_present_boot() {
    let (mut directory, _) = directory();
    let key = NodeKey::generate();
    let id = key.node_id();
    let state = |directory: &Directory| directory.view(id).map(|view| view.state);
    assert_eq!(directory.offer(TELLER, record(&key, "a", 1)), Offer::New);
    assert_eq!(state(&directory), None);
    directory.health(alive(id, 1));
    assert_eq!(state(&directory), Some(MemberState::Unreachable));
    directory.connected(id, &NodeName::new("a").unwrap());
    assert_eq!(state(&directory), Some(MemberState::Reachable));
    directory.health(Change { health: Health::Down, ..alive(id, 1) });
    assert_eq!(state(&directory), Some(MemberState::Down));
    assert_eq!(directory.offer(TELLER, record(&key, "a", 2)), Offer::New);
    assert_eq!(state(&directory), Some(MemberState::Unreachable));
    directory.health(alive(id, 2));
    assert_eq!(state(&directory), Some(MemberState::Reachable));
    directory.health(alive(id, 3));
    assert_eq!(directory.view(id).map(|view| view.epoch), Some(BootEpoch(3)), "before its record of that boot came");
}

#[test]
fn rumoured_nodes_are_bounded_and_give_way_to_connected_ones() {
    let (mut directory, _) = directory();
    for number in 1..RECORDS_MAX {
        let key = NodeKey::generate();
        directory.health(alive(key.node_id(), 1));
        assert_eq!(directory.offer(TELLER, record(&key, &format!("n{number}"), 1)), Offer::New);
    }
    let late = NodeKey::generate();
    assert_eq!(directory.offer(TELLER, record(&late, "late", 1)), Offer::Refused("full"));
    directory.make_room(late.node_id());
    assert_eq!(directory.offer(TELLER, record(&late, "late", 1)), Offer::New);
    directory.make_room(late.node_id());
    assert_eq!(directory.records().count(), RECORDS_MAX, "it has its place, and costs nobody another");
}

#[test]
fn where_all_is_full_the_dead_that_never_were_here_give_way_to_who_was_met_and_to_nobody_else() {
    let (mut directory, _) = directory();
    let keys: Vec<NodeKey> = (1..RECORDS_MAX).map(|_| NodeKey::generate()).collect();
    for (number, key) in keys.iter().enumerate() {
        directory.health(alive(key.node_id(), 1));
        assert_eq!(directory.offer(TELLER, record(key, &format!("n{number}"), 1)), Offer::New);
    }
    directory.connected(keys[0].node_id(), &NodeName::new("n0").unwrap());
    directory.disconnected(keys[0].node_id());
    for key in &keys[..2] {
        directory.health(Change { health: Health::Down, ..alive(key.node_id(), 1) });
    }
    let invented = NodeKey::generate();
    assert_eq!(directory.offer(OTHER, record(&invented, "invented", 1)), Offer::Refused("full"));
    let real = NodeKey::generate();
    assert_eq!(directory.offer(real.node_id(), record(&real, "real", 1)), Offer::New);
    directory.connected(real.node_id(), &NodeName::new("real").unwrap());
    assert_eq!(directory.take_forgotten(), [keys[1].node_id()], "one that was here stays");
    let late = NodeKey::generate();
    assert_eq!(directory.offer(late.node_id(), record(&late, "late", 1)), Offer::Refused("full"));
}

#[test]
fn whoever_tells_of_nodes_that_nobody_met_fills_half_and_displaces_its_own() {
    let (mut directory, _) = directory();
    let honest: Vec<NodeKey> = (0..40).map(|_| NodeKey::generate()).collect();
    for (number, key) in honest.iter().enumerate() {
        assert_eq!(directory.offer(OTHER, record(key, &format!("h{number}"), 1)), Offer::New);
    }
    let mut first = None;
    for number in 0..UNMET_MAX + 100 {
        let key = NodeKey::generate();
        first = first.or(Some(key.node_id()));
        assert_eq!(directory.offer(TELLER, record(&key, &format!("n{number}"), 1)), Offer::New);
    }
    assert_eq!(directory.len(), 1 + honest.len() + UNMET_MAX);
    let forgotten = directory.take_forgotten();
    assert_eq!((forgotten.len(), forgotten.first().copied()), (100, first), "the oldest first");
    assert!(honest.iter().all(|key| directory.record(key.node_id()).is_some()), "others' are not touched");
}

#[test]
fn where_all_is_full_those_that_nobody_met_give_way_and_of_these_whose_teller_told_of_most() {
    let (mut directory, _) = directory();
    for (teller, name, count) in [(TELLER, "a", UNMET_MAX), (OTHER, "b", UNMET_MAX - 1)] {
        for number in 0..count {
            let signed = record(&NodeKey::generate(), &format!("{name}{number}"), 1);
            assert_eq!(directory.offer(teller, signed), Offer::New);
        }
    }
    assert_eq!(directory.len(), RECORDS_MAX);
    let told =
        |directory: &Directory, by| directory.those(Directory::unmet).filter(|(_, known)| known.told.0 == by).count();
    // A third teller, and a node that says itself that it is there.
    assert_eq!(directory.offer(NodeId([8; 16]), record(&NodeKey::generate(), "late", 1)), Offer::New);
    let real = NodeKey::generate();
    assert_eq!(directory.offer(real.node_id(), record(&real, "real", 1)), Offer::New);
    assert_eq!(directory.len(), RECORDS_MAX);
    assert_eq!(told(&directory, TELLER) + told(&directory, OTHER), RECORDS_MAX - 3);
    // And one of whom membership has heard, from whoever told of most.
    let heard_of = NodeKey::generate();
    directory.health(alive(heard_of.node_id(), 1));
    assert_eq!(directory.offer(TELLER, record(&heard_of, "heard-of", 1)), Offer::New);
}

#[test]
fn a_member_that_sleeps_is_asleep_until_it_overslept_by_as_long_again() {
    let (mut directory, _) = directory();
    let key = NodeKey::generate();
    let id = key.node_id();
    let mut sleepy = record(&key, "a", 1).record;
    sleepy.phase = Phase::Asleep { since: WallTime(100), until: WallTime(400) };
    assert_eq!(directory.offer(TELLER, SignedRecord::sign(sleepy, &key)), Offer::New);
    for silence in [Health::Left, Health::Down] {
        directory.health(Change { health: silence, ..alive(id, 1) });
        for (now, state) in [
            (150, MemberState::Asleep),
            (400, MemberState::Asleep),
            (700, MemberState::Asleep),
            (701, MemberState::Down),
        ] {
            assert_eq!(directory.tick(WallTime(now)), [id]);
            assert_eq!(directory.view(id).map(|view| view.state), Some(state), "at {now}");
        }
    }
}

#[test]
fn a_node_that_hubs_answer_for_needs_no_connection_to_be_reachable() {
    let (mut directory, _) = directory();
    let key = NodeKey::generate();
    let id = key.node_id();
    assert_eq!(directory.offer(TELLER, record(&key, "a", 1)), Offer::New);
    directory.health(alive(id, 1));
    directory.vouched_for(id, true);
    assert_eq!(directory.view(id).map(|view| view.state), Some(MemberState::Reachable));
    directory.vouched_for(id, false);
    assert_eq!(directory.view(id).map(|view| view.state), Some(MemberState::Unreachable));
}

#[test]
fn two_directories_exchange_only_records_in_buckets_that_differ() {
    let (mut one, key) = directory();
    let mut other = Directory::new(record(&key, "me", 3));
    for number in 0..100 {
        let signed = record(&NodeKey::generate(), &format!("n{number}"), 1);
        assert_eq!(other.offer(TELLER, signed.clone()), Offer::New);
        assert_eq!(one.offer(TELLER, signed), Offer::New);
    }
    assert_eq!(one.digest(Detail::Everything, 1), other.digest(Detail::Everything, 1));
    let late = NodeKey::generate();
    assert_eq!(one.offer(TELLER, record(&late, "late", 1)), Offer::New);
    assert_ne!(one.digest(Detail::Everything, 1), other.digest(Detail::Everything, 1));
    let sent = one.differing(Detail::Everything, &other.digest(Detail::Everything, 32));
    assert!((1..20).contains(&sent.len()), "{}", sent.len());
    assert!(sent.iter().any(|signed| signed.record.id == late.node_id()));
}

#[test]
fn a_renewed_certificate_is_no_news_of_essence_and_a_new_phase_is() {
    let (mut directory, _) = directory();
    let key = NodeKey::generate();
    let first = record(&key, "a", 1);
    assert_eq!(directory.offer(TELLER, first.clone()), Offer::New);
    let digests =
        |directory: &Directory| [Detail::Everything, Detail::Essence].map(|detail| directory.digest(detail, 1));
    let before = digests(&directory);
    let renewed = NodeRecord { certificate_ends: WallTime(1_900_000_000), sequence: 2, ..first.record };
    assert_eq!(directory.offer(TELLER, SignedRecord::sign(renewed.clone(), &key)), Offer::New);
    let after = digests(&directory);
    assert!(before[0] != after[0] && before[1] == after[1]);
    let draining = NodeRecord { phase: Phase::Draining, sequence: 3, ..renewed };
    assert_eq!(directory.offer(TELLER, SignedRecord::sign(draining, &key)), Offer::New);
    assert_ne!(digests(&directory)[1], after[1]);
}

#[test]
fn a_change_is_told_once() {
    let (mut directory, _) = directory();
    let key = NodeKey::generate();
    assert_eq!(directory.offer(TELLER, record(&key, "a", 1)), Offer::New);
    directory.health(alive(key.node_id(), 1));
    assert!(directory.changed(key.node_id()).is_some());
    assert!(directory.changed(key.node_id()).is_none());
}
