use std::collections::BTreeSet;

use covenant_types::{BootEpoch, Uptime};
use proptest::prelude::*;

use super::*;
use crate::watch::{Watch, lasts};

const SPAN: Duration = Duration::from_secs(10);

fn key(text: &str) -> ActorPath {
    text.parse().unwrap()
}

fn holder(node: u8, boot: u64) -> Holder {
    Holder { node: NodeId([node; 16]), boot: BootEpoch(boot) }
}

fn acquire(table: &mut Table, id: u128, path: &str, holder: Holder) -> Outcome {
    table.apply(id, WallTime(1), Command::Acquire { key: key(path), holder, span: SPAN })
}

fn fence(path: &str, token: u64) -> Fence {
    Fence { key: key(path), token }
}

#[test]
fn a_key_has_one_holder_until_it_is_released_and_only_its_holder_changes_it() {
    let mut table = Table::default();
    let (a, b) = (holder(1, 1), holder(2, 1));
    assert_eq!(acquire(&mut table, 1, "/x", a), Outcome::Granted(1));
    assert_eq!(acquire(&mut table, 2, "/x", b), Outcome::Held { by: a.node, span: SPAN });
    let first = fence("/x", 1);
    let renew = |holder: Holder| Command::Renew { fence: first.clone(), holder: holder.node, span: SPAN };
    assert_eq!(table.apply(3, WallTime(1), renew(b)), Outcome::Lost);
    assert_eq!(table.apply(4, WallTime(1), renew(a)), Outcome::Done);
    let settle = Command::Settle { fence: first.clone(), holder: a.node, path: key("/porter") };
    assert_eq!(table.apply(5, WallTime(1), settle), Outcome::Done);
    assert_eq!(table.lease(&key("/x")).unwrap().path, Some(key("/porter")));
    let release = |holder: Holder| Command::Release { fence: first.clone(), holder: holder.node };
    assert_eq!(table.apply(6, WallTime(1), release(b)), Outcome::Done);
    assert!(table.lease(&key("/x")).is_some(), "it was not its own");
    assert_eq!(table.apply(7, WallTime(1), release(a)), Outcome::Done);
    assert_eq!(acquire(&mut table, 8, "/x", b), Outcome::Granted(2));
    assert_eq!(table.apply(9, WallTime(1), renew(a)), Outcome::Lost);
}

#[test]
fn a_grant_that_arrives_again_is_answered_as_it_was_and_one_of_an_earlier_boot_comes_to_nothing() {
    let mut table = Table::default();
    assert_eq!(acquire(&mut table, 1, "/x", holder(1, 4)), Outcome::Granted(1));
    assert_eq!(acquire(&mut table, 1, "/x", holder(1, 4)), Outcome::Granted(1));
    assert_eq!(acquire(&mut table, 2, "/x", holder(1, 5)), Outcome::Granted(2), "it starts again and has forgotten");
    assert_eq!(acquire(&mut table, 3, "/x", holder(1, 4)), Outcome::Lost);
    assert_eq!(table.lease(&key("/x")).unwrap().token, 2);
}

#[test]
fn spans_leases_and_those_of_one_node_are_bounded() {
    let mut table = Table::default();
    for span in [Duration::ZERO, LEASE_SPAN_MAX + Duration::from_millis(1)] {
        let asked = Command::Acquire { key: key("/x"), holder: holder(1, 1), span };
        assert_eq!(table.apply(1, WallTime(1), asked), Outcome::BadSpan);
    }
    for number in 0..LEASES_MAX {
        let node = u8::try_from(number / HELD_MAX).unwrap();
        let granted = acquire(&mut table, number as u128, &format!("/a{number}"), holder(node, 1));
        assert!(matches!(granted, Outcome::Granted(_)), "{number}: {granted:?}");
        if number == HELD_MAX - 1 {
            assert_eq!(acquire(&mut table, u128::MAX, "/more", holder(0, 1)), Outcome::FullOfThis);
        }
    }
    assert_eq!(acquire(&mut table, u128::MAX, "/more", holder(200, 1)), Outcome::Full);
    assert_eq!(Table::decode(&table.encode()).unwrap(), table);
}

#[test]
fn who_votes_is_said_by_the_latest_entry() {
    let mut table = Table::default();
    let said = |term, index, node| Voters { term, index, nodes: BTreeSet::from([NodeId([node; 16])]) };
    for (voters, counts) in
        [(said(2, 7, 1), true), (said(1, 9, 2), false), (said(2, 7, 3), false), (said(3, 1, 4), true)]
    {
        table.apply(1, WallTime(1), Command::Follow(voters.clone()));
        assert_eq!(*table.voters() == voters, counts, "{voters:?}");
    }
}

#[test]
fn a_word_that_a_lease_is_over_counts_only_where_it_was_not_renewed_since() {
    let mut table = Table::default();
    let mut watch = Watch::default();
    let at = |seconds| Uptime(Duration::from_secs(seconds));
    acquire(&mut table, 1, "/x", holder(1, 1));
    assert_eq!(watch.look(at(0), &table), []);
    assert_eq!(watch.look(at(10), &table), [], "a clock may run slower");
    let over = watch.look(at(11), &table);
    assert_eq!(over, [Command::Expire { fence: fence("/x", 1), renewals: 0 }]);
    let renew = Command::Renew { fence: fence("/x", 1), holder: NodeId([1; 16]), span: SPAN };
    assert_eq!(table.apply(2, WallTime(1), renew), Outcome::Done);
    assert_eq!(table.apply(3, WallTime(1), over[0].clone()), Outcome::Lost);
    assert_eq!(watch.look(at(11), &table), [], "it counts from when the renewal was seen");
    let over = watch.look(at(22), &table);
    assert_eq!(table.apply(4, WallTime(1), over[0].clone()), Outcome::Done);
    assert!(table.lease(&key("/x")).is_none());
}

/// What befalls two nodes, two keys and two members who watch.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Acquire {
        node: u8,
        key: u8,
    },
    Renew {
        node: u8,
        key: u8,
    },
    Release {
        node: u8,
        key: u8,
    },
    Look {
        member: usize,
    },
    /// What a member found is said now, perhaps long after it looked.
    Say {
        member: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6000u64).prop_map(Step::Wait),
        3 => (0..3u8, 0..2u8).prop_map(|(node, key)| Step::Acquire { node, key }),
        3 => (0..3u8, 0..2u8).prop_map(|(node, key)| Step::Renew { node, key }),
        1 => (0..3u8, 0..2u8).prop_map(|(node, key)| Step::Release { node, key }),
        3 => (0..2usize).prop_map(|member| Step::Look { member }),
        3 => (0..2usize).prop_map(|member| Step::Say { member }),
    ]
}

proptest! {
    /// By what a holder counts itself: from when it asked, for the span, by a clock that may run slower than a member's.
    #[test]
    fn no_two_nodes_hold_a_key_at_a_time_and_tokens_only_rise(
        steps in proptest::collection::vec(step(), 1..200),
        slower in 0..(1000 / RATE),
    ) {
        let mut table = Table::default();
        let mut watches = [Watch::default(), Watch::default()];
        let mut found: [Vec<Command>; 2] = Default::default();
        let (mut now, mut last, mut id) = (0u64, 0, 0);
        let mut believed: BTreeMap<(u8, u8), (u64, u64)> = BTreeMap::new();
        let own = u64::try_from(SPAN.as_millis()).unwrap() * (1000 + slower) / 1000;
        for step in steps {
            id += 1;
            match step {
                Step::Wait(millis) => now += millis,
                Step::Acquire { node, key } => {
                    if let Outcome::Granted(token) = acquire(&mut table, id, &format!("/k{key}"), holder(node, 1)) {
                        prop_assert!(token > last);
                        last = token;
                        believed.insert((key, node), (token, now + own));
                    }
                }
                Step::Renew { node, key } => {
                    let Some((token, until)) = believed.get_mut(&(key, node)) else { continue };
                    let fence = fence(&format!("/k{key}"), *token);
                    let renew = Command::Renew { fence, holder: NodeId([node; 16]), span: SPAN };
                    if *until > now && table.apply(id, WallTime(0), renew) == Outcome::Done {
                        *until = now + own;
                    }
                }
                Step::Release { node, key } => {
                    let Some((token, _)) = believed.remove(&(key, node)) else { continue };
                    let fence = fence(&format!("/k{key}"), token);
                    table.apply(id, WallTime(0), Command::Release { fence, holder: NodeId([node; 16]) });
                }
                Step::Look { member } => {
                    found[member].extend(watches[member].look(Uptime::from_millis(now), &table));
                }
                Step::Say { member } => {
                    for command in found[member].drain(..) {
                        table.apply(id, WallTime(0), command);
                    }
                }
            }
            for key in 0..2 {
                let holding = believed.range((key, 0)..=(key, u8::MAX)).filter(|(_, (_, until))| *until > now).count();
                prop_assert!(holding <= 1, "{holding} hold /k{key}: {believed:?}");
            }
            prop_assert_eq!(&Table::decode(&table.encode()).unwrap(), &table);
        }
        prop_assert!(lasts(SPAN) >= Duration::from_millis(own));
    }
}

/// By how much a holder's clock may run slower, at most: one part in so many.
const RATE: u64 = crate::watch::RATE_MARGIN as u64;
