use rand::SeedableRng;

use super::*;
use crate::faults::{Fault, Ratio};

const MS: Duration = Duration::from_millis(1);

fn at(millis: u64) -> Uptime {
    Uptime::from_millis(millis)
}

fn peer(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn terms(ttl: u64, hard_deadline: u64) -> LeaseTerms {
    let ms = Duration::from_millis;
    LeaseTerms { ttl: ms(ttl), hard_deadline: ms(hard_deadline), by: "uid 0".to_owned() }
}

fn loss(value: f64) -> Fault {
    Fault::Loss { ratio: Ratio::try_from(value).unwrap(), burst: 1 }
}

fn set(plan: &mut FaultPlan, fault: Fault, direction: Direction, peer: PeerScope) -> u64 {
    let spec = FaultSpec { fault, direction, peer };
    let rng = |label: &str| StdRng::seed_from_u64(label.bytes().map(u64::from).sum());
    plan.set(at(0), spec, terms(1000, 5000), rng).unwrap()
}

fn passes(plan: &mut FaultPlan, now: u64, way: Direction, port: u16) -> bool {
    plan.judge(at(now), way, peer(port), 100) != Fate::Dropped
}

#[test]
fn a_lease_ends_by_itself_at_its_time_even_where_nobody_takes_it_away() {
    let mut plan = FaultPlan::default();
    let id = set(&mut plan, Fault::Partition, Direction::Both, PeerScope::All);
    assert!(!passes(&mut plan, 999, Direction::Out, 1));
    assert!(passes(&mut plan, 1000, Direction::Out, 1), "the clock alone ends it");
    assert_eq!(plan.leases(at(1000)), []);
    assert_eq!(plan.expire(at(1500)), 1);
    let ended = plan.ended();
    assert_eq!(
        (ended[0].id, ended[0].why, ended[0].held_ms, ended[0].effects.blocked),
        (id, LeaseEnd::Expired, 1000, 1)
    );
    assert!(plan.is_empty());
}

#[test]
fn a_lease_is_renewed_up_to_its_hard_deadline_and_not_after_its_end() {
    let mut plan = FaultPlan::default();
    let id = set(&mut plan, Fault::Partition, Direction::Both, PeerScope::All);
    for now in [900, 1800, 2700, 3600, 4500] {
        plan.renew(at(now), id, 1000 * MS).unwrap();
    }
    assert!(!passes(&mut plan, 4999, Direction::In, 1));
    assert!(passes(&mut plan, 5000, Direction::In, 1));
    assert_eq!(plan.renew(at(5000), id, 1000 * MS), Err(LeaseError::NoSuchLease(id)));
    assert_eq!(plan.ended()[0].why, LeaseEnd::HardDeadline);
}

#[test]
fn a_lease_is_lifted_once_and_the_others_stay() {
    let mut plan = FaultPlan::default();
    let first = set(&mut plan, Fault::Partition, Direction::Out, PeerScope::Address(peer(1)));
    let second = set(&mut plan, Fault::Partition, Direction::Out, PeerScope::Address(peer(2)));
    plan.lift(at(1), first).unwrap();
    assert_eq!(plan.lift(at(1), first), Err(LeaseError::NoSuchLease(first)));
    assert!(passes(&mut plan, 2, Direction::Out, 1));
    assert!(!passes(&mut plan, 2, Direction::Out, 2));
    assert_eq!(plan.leases(at(2)).iter().map(|lease| lease.id).collect::<Vec<_>>(), [second]);
}

#[test]
fn leases_have_a_bound_and_their_times_too() {
    let mut plan = FaultPlan::default();
    for _ in 0..LEASES_MAX {
        set(&mut plan, Fault::Partition, Direction::Out, PeerScope::All);
    }
    let rng = |_: &str| StdRng::seed_from_u64(0);
    let spec = FaultSpec { fault: Fault::Partition, direction: Direction::Out, peer: PeerScope::All };
    let full = plan.set(at(0), spec.clone(), terms(1000, 1000), rng);
    assert_eq!(full, Err(LeaseError::TooMany(LEASES_MAX)));
    assert!(plan.set(at(1000), spec.clone(), terms(1000, 1000), rng).is_ok(), "what has ended makes room");
    for (ttl, hard) in [(0, 1000), (2000, 1000), (1000, 25 * 3_600_000)] {
        assert_eq!(plan.set(at(1000), spec.clone(), terms(ttl, hard), rng), Err(LeaseError::Time));
    }
}

#[test]
fn a_partition_one_way_lets_the_other_way_pass() {
    let mut plan = FaultPlan::default();
    set(&mut plan, Fault::Partition, Direction::In, PeerScope::Address(peer(1)));
    assert!(!passes(&mut plan, 0, Direction::In, 1));
    assert!(passes(&mut plan, 0, Direction::Out, 1));
    assert!(passes(&mut plan, 0, Direction::In, 2));
}

#[test]
fn a_fault_about_a_node_follows_it_to_its_new_address() {
    let mut plan = FaultPlan::default();
    set(&mut plan, Fault::Partition, Direction::Both, PeerScope::Node("tower".parse().unwrap()));
    assert!(passes(&mut plan, 0, Direction::Out, 1), "nobody has said yet where it is");
    let name: NodeName = "tower".parse().unwrap();
    plan.resolve(&BTreeMap::from([(name.clone(), vec![peer(1)])]));
    assert!(!passes(&mut plan, 0, Direction::Out, 1));
    assert_eq!(plan.nodes(), BTreeSet::from([name.clone()]));
    plan.resolve(&BTreeMap::from([(name, vec![peer(1), peer(2)]), ("other".parse().unwrap(), vec![])]));
    assert!(!passes(&mut plan, 0, Direction::In, 2) && !passes(&mut plan, 0, Direction::In, 1));
}

#[test]
fn faults_add_up_and_each_counts_its_own() {
    let mut plan = FaultPlan::default();
    let ms = |delay| Fault::Latency { delay: delay * MS, jitter: Duration::ZERO };
    set(&mut plan, ms(30), Direction::Out, PeerScope::All);
    set(&mut plan, ms(20), Direction::Out, PeerScope::All);
    set(&mut plan, Fault::Duplicate { ratio: Ratio::try_from(1.0).unwrap() }, Direction::Out, PeerScope::All);
    assert_eq!(plan.judge(at(5), Direction::Out, peer(1), 100), Fate::Delivered { at: at(55), copies: 2 });
    assert_eq!(plan.judge(at(5), Direction::In, peer(1), 100), Fate::Delivered { at: at(5), copies: 1 });
    let effects: Vec<_> = plan.leases(at(5)).iter().map(|lease| lease.effects).collect();
    assert_eq!(
        effects.iter().map(|e| (e.seen, e.delayed, e.duplicated)).collect::<Vec<_>>(),
        [(1, 1, 0), (1, 1, 0), (1, 0, 1)]
    );
}

/// What a fault does to the datagrams that reach it must not depend on what others did to other datagrams.
#[test]
fn a_fault_treats_a_datagram_alike_whatever_another_fault_did_to_those_before() {
    let fates = |before: Option<f64>| {
        let mut plan = FaultPlan::default();
        set(&mut plan, Fault::Duplicate { ratio: Ratio::try_from(0.5).unwrap() }, Direction::Out, PeerScope::All);
        if let Some(before) = before {
            set(&mut plan, loss(before), Direction::Out, PeerScope::All);
        }
        (0..200).map(|_| plan.judge(at(0), Direction::Out, peer(1), 100)).collect::<Vec<_>>()
    };
    let alone = fates(None);
    assert_eq!(alone, fates(None), "a seed replays");
    let with_loss = fates(Some(0.5));
    let arrived = with_loss.iter().zip(&alone).filter(|(fate, _)| **fate != Fate::Dropped);
    assert!(arrived.clone().count() > 50);
    arrived.for_each(|(fate, alone)| assert_eq!(fate, alone));
}
