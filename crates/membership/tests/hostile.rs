//! What a peer with a valid certificate and bad intentions can do.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use covenant_membership::{
    ACCUSATIONS_MAX, Effect, Event, FORGERIES_MAX, Health, Identity, Membership, Misconduct, NODES_MAX,
    PACKET_BYTES_MAX, POISONS_MAX, Paces, Place, Pools, Profile, QUARANTINE, Topology,
};
use covenant_types::{BootEpoch, LinkTier, NodeId, Region, Role, Uptime};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

const NOW: Uptime = Uptime::from_millis(1000);
const GOSSIP: u8 = 8;
const BROADCAST: u8 = 9;
const TURN_UNDEAD: u8 = 10;
const ALIVE: u8 = 0;
const SUSPECT: u8 = 1;
const DOWN: u8 = 2;

fn id(node: u16) -> NodeId {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&node.to_be_bytes());
    NodeId(bytes)
}

fn identity(node: u16, epoch: u64, bump: u32) -> Identity {
    Identity { node: id(node), epoch: BootEpoch(epoch), bump }
}

/// Node 0 with the members 1 to `others`, all connected.
fn member(others: u16) -> Membership {
    let rng = StdRng::seed_from_u64(1);
    let mut core = Membership::new(id(0), BootEpoch(1), LinkTier::Lan, Profile::loopback(), rng, Uptime::ZERO);
    for node in 1..=others {
        let _ = core.handle(NOW, Event::PeerUp { node: id(node), epoch: BootEpoch(1) });
    }
    core
}

fn put(buf: &mut BytesMut, identity: Identity) {
    buf.put_slice(&identity.node.0);
    buf.put_u64(identity.epoch.0);
    buf.put_u32(identity.bump);
}

/// A datagram from `src` to node 0 that states all this.
fn datagram(tag: u8, src: Identity, dst: Identity, statements: &[(Identity, u16, u8)]) -> Bytes {
    let mut buf = BytesMut::new();
    buf.put_u8(1);
    buf.put_u8(tag);
    put(&mut buf, src);
    buf.put_u16(0);
    put(&mut buf, dst);
    if tag == GOSSIP {
        buf.put_u16(u16::try_from(statements.len()).expect("a few statements"));
        for (subject, incarnation, state) in statements {
            put(&mut buf, *subject);
            buf.put_u16(*incarnation);
            buf.put_u8(*state);
        }
    }
    buf.freeze()
}

fn health(core: &Membership, node: u16) -> Option<Health> {
    core.members().find(|change| change.node == id(node)).map(|change| change.health)
}

fn tell(core: &mut Membership, from: u16, data: Bytes) -> Vec<Effect> {
    core.handle(NOW, Event::Datagram { from: id(from), data })
}

#[test]
fn a_peer_may_not_speak_as_another() {
    let mut core = member(3);
    let forged = datagram(GOSSIP, identity(2, 1, 0), core.me(), &[(identity(2, 1, 0), 0, DOWN)]);
    assert_eq!(tell(&mut core, 1, forged), []);
    assert_eq!((health(&core, 2), core.stats().refused), (Some(Health::Alive), 1));
}

#[test]
fn a_peer_may_not_claim_an_epoch_it_did_not_prove() {
    let mut core = member(2);
    let data = datagram(GOSSIP, identity(1, 9, 0), core.me(), &[]);
    assert_eq!(tell(&mut core, 1, data), []);
    assert_eq!(core.stats().refused, 1);
    assert!(core.members().all(|change| change.epoch == BootEpoch(1)));
}

#[test]
fn a_rumour_with_an_epoch_or_bump_far_from_the_nodes_own_word_is_held() {
    for poisoned in [identity(2, 2, 0), identity(2, 0, 0), identity(2, 1, 9), identity(77, 1, 0)] {
        let mut core = member(2);
        let data = datagram(GOSSIP, identity(1, 1, 0), core.me(), &[(poisoned, 0, DOWN)]);
        let _ = tell(&mut core, 1, data);
        assert_eq!((health(&core, 2), core.stats().held), (Some(Health::Alive), 1), "{poisoned:?}");
    }
    let mut core = member(2);
    let data = datagram(GOSSIP, identity(1, 1, 0), core.me(), &[(identity(2, 1, 8), 0, SUSPECT)]);
    let _ = tell(&mut core, 1, data);
    assert_eq!(health(&core, 2), Some(Health::Suspect), "within the lead it counts");
}

#[test]
fn a_death_told_by_one_peer_is_heard_as_a_suspicion_and_believed_where_it_was_suspected_for_a_while() {
    let mut core = member(2);
    let said = |core: &Membership| datagram(GOSSIP, identity(1, 1, 0), core.me(), &[(identity(2, 1, 0), 0, DOWN)]);
    let data = said(&core);
    let _ = tell(&mut core, 1, data);
    assert_eq!((health(&core, 2), core.stats().doubted), (Some(Health::Suspect), 1));
    let data = said(&core);
    let half = NOW.after(Profile::loopback().suspicion / 2);
    let _ = core.handle(half, Event::Datagram { from: id(1), data });
    assert_eq!(health(&core, 2), Some(Health::Down));
}

#[test]
fn a_death_that_several_tell_of_is_believed_and_one_that_one_repeats_is_not() {
    let mut core = member(6);
    for speaker in [1, 1, 1, 1, 3] {
        let data = datagram(GOSSIP, identity(speaker, 1, 0), core.me(), &[(identity(2, 1, 0), 0, DOWN)]);
        let _ = tell(&mut core, speaker, data);
    }
    assert_eq!(health(&core, 2), Some(Health::Suspect));
    let data = datagram(GOSSIP, identity(4, 1, 0), core.me(), &[(identity(2, 1, 0), 0, DOWN)]);
    let _ = tell(&mut core, 4, data);
    assert_eq!(health(&core, 2), Some(Health::Down));
}

#[test]
fn a_rumour_of_our_own_death_is_refuted_and_not_the_beginning_of_another_life() {
    let mut core = member(3);
    let data = datagram(GOSSIP, identity(1, 1, 0), core.me(), &[(core.me(), 0, DOWN)]);
    let effects = tell(&mut core, 1, data);
    assert_eq!(core.me().bump, 0);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::SendDatagram { .. })), "it was refuted");
}

#[test]
fn one_peer_cannot_accuse_without_end_and_is_named() {
    let others = u16::try_from(ACCUSATIONS_MAX).unwrap() + 40;
    let mut core = member(others);
    let mut named = Vec::new();
    let accuse = |core: &mut Membership, node, now| {
        let data = datagram(GOSSIP, identity(1, 1, 0), core.me(), &[(identity(node, 1, 0), 0, SUSPECT)]);
        core.handle(now, Event::Datagram { from: id(1), data })
    };
    for node in 2..=others {
        named.extend(
            accuse(&mut core, node, NOW).into_iter().filter(|effect| matches!(effect, Effect::Quarantined { .. })),
        );
    }
    let suspects = |core: &Membership| core.members().filter(|change| change.health == Health::Suspect).count();
    assert_eq!(suspects(&core), ACCUSATIONS_MAX as usize);
    assert_eq!(named, [Effect::Quarantined { node: id(1), why: Misconduct::Accusing }], "once");
    // A new window opens its budget, not our ears.
    let _ = accuse(&mut core, others, NOW.after(Duration::from_secs(11)));
    assert_eq!(suspects(&core), ACCUSATIONS_MAX as usize);
    let _ = accuse(&mut core, others, NOW.after(QUARANTINE + Duration::from_secs(1)));
    assert_eq!(suspects(&core), ACCUSATIONS_MAX as usize + 1);
}

#[test]
fn a_node_that_comes_back_again_and_again_is_not_listened_to() {
    let mut core = member(8);
    let mut named = Vec::new();
    for bump in 1..=3 {
        let data = datagram(GOSSIP, identity(1, 1, bump), core.me(), &[]);
        named
            .extend(tell(&mut core, 1, data).into_iter().filter(|effect| matches!(effect, Effect::Quarantined { .. })));
    }
    assert_eq!(named, [Effect::Quarantined { node: id(1), why: Misconduct::Flapping }]);
    let data = datagram(GOSSIP, identity(1, 1, 3), core.me(), &[(identity(2, 1, 0), 0, SUSPECT)]);
    let _ = tell(&mut core, 1, data);
    assert_eq!(health(&core, 2), Some(Health::Alive));
    let data = datagram(GOSSIP, identity(3, 1, 0), core.me(), &[(identity(2, 1, 0), 0, SUSPECT)]);
    let _ = tell(&mut core, 3, data);
    assert_eq!(health(&core, 2), Some(Health::Suspect), "others are");
}

#[test]
fn a_word_that_nobody_uses_here_is_refused_and_no_fault_of_ours() {
    let mut core = member(3);
    let mut packet = datagram(BROADCAST, identity(1, 1, 0), core.me(), &[]).to_vec();
    packet.extend([0; 40]);
    assert_eq!(tell(&mut core, 1, packet.into()), []);
    assert_eq!((core.stats().refused, core.stats().faults), (1, 0));
}

#[test]
fn who_speaks_as_another_or_of_epochs_that_never_were_is_named() {
    let forged = datagram(GOSSIP, identity(2, 1, 0), identity(0, 1, 0), &[]);
    let poison = datagram(GOSSIP, identity(1, 1, 0), identity(0, 1, 0), &[(identity(2, 40, 0), 0, ALIVE)]);
    for (lie, times, why) in
        [(forged, FORGERIES_MAX, Misconduct::Forging), (poison, POISONS_MAX, Misconduct::Poisoning)]
    {
        let mut core = member(8);
        let named: Vec<_> = (0..=times).flat_map(|_| tell(&mut core, 1, lie.clone())).collect();
        assert_eq!(named, [Effect::Quarantined { node: id(1), why }]);
    }
}

#[test]
fn one_peer_cannot_make_us_renew_without_end() {
    let mut core = member(3);
    for _ in 0..100 {
        let me = core.me();
        let data = datagram(TURN_UNDEAD, identity(1, 1, 0), me, &[]);
        let _ = tell(&mut core, 1, data);
    }
    assert_eq!(core.me().bump, 8);
}

#[test]
fn a_lie_about_another_life_of_ours_is_not_passed_on() {
    let mut core = member(3);
    let lie = [(identity(0, 7, 0), 0, ALIVE), (identity(0, 1, 5), 3, SUSPECT)];
    let data = datagram(GOSSIP, identity(1, 1, 0), core.me(), &lie);
    let _ = tell(&mut core, 1, data);
    assert_eq!((core.stats().held, core.me()), (2, identity(0, 1, 0)));
}

#[test]
fn more_nodes_than_the_bound_are_not_kept() {
    let core = member(u16::try_from(NODES_MAX).unwrap() + 10);
    assert_eq!(core.members().count(), NODES_MAX);
}

#[test]
fn a_datagram_of_a_stranger_counts_for_nothing() {
    let mut core = member(1);
    let data = datagram(GOSSIP, identity(5, 1, 0), core.me(), &[]);
    assert_eq!(tell(&mut core, 5, data), []);
    assert_eq!(core.stats().refused, 1);
}

proptest! {
    #[test]
    fn garbage_never_panics(packets in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..200)), 1..50)) {
        let mut core = member(3);
        for (stream, data) in packets {
            let data = Bytes::from(data);
            let from = id(1);
            let event = if stream { Event::Feed { from, data } } else { Event::Datagram { from, data } };
            let _ = core.handle(NOW, event);
        }
        prop_assert!(core.members().all(|change| change.health == Health::Alive));
    }

    /// Well-formed but hostile: every tag, any subject, any state, cut anywhere.
    #[test]
    fn poison_never_panics_and_never_touches_epochs(
        packets in prop::collection::vec(
            (0u8..12, 1u16..5, prop::collection::vec((0u16..6, 0u64..3, 0u32..12, any::<u16>(), 0u8..4), 0..30), 0usize..1200, any::<bool>()),
            1..60,
        )
    ) {
        let mut core = member(3);
        let mut now = NOW;
        for (tag, from, statements, cut, feed) in packets {
            let statements: Vec<_> = statements.iter()
                .map(|&(node, epoch, bump, incarnation, state)| (identity(node, epoch, bump), incarnation, state)).collect();
            let mut data = datagram(tag, identity(from, 1, 0), core.me(), &statements);
            data.truncate(cut.min(PACKET_BYTES_MAX));
            let from = id(from);
            let effects = core.handle(now, if feed { Event::Feed { from, data } } else { Event::Datagram { from, data } });
            for effect in effects {
                if let Effect::Changed(change) = effect {
                    prop_assert_eq!(change.epoch, BootEpoch(1));
                    prop_assert_ne!(change.node, id(0));
                }
            }
            now = now.after(Duration::from_millis(200));
            let _ = core.handle(now, Event::Woken);
        }
        prop_assert_eq!(core.stats().faults, 0);
    }
}

#[test]
fn a_node_that_nobody_met_leaves_its_place_in_membership_too() {
    let place = Place { role: Role::Hub, region: Region::Africa, tier: LinkTier::Lan };
    let me = (id(0), BootEpoch(1));
    let rng = StdRng::seed_from_u64(1);
    let mut core = Pools::new(me, (Topology::Flat, place), Paces::loopback(), rng, Uptime::ZERO);
    let all = u16::try_from(NODES_MAX).expect("few enough");
    for node in 1..=all {
        let _ = core.placed(NOW, id(node), BootEpoch(1), place);
    }
    let comes = |core: &mut Pools, node| {
        let _ = core.handle(NOW, Event::PeerUp { node: id(node), epoch: BootEpoch(1) });
        core.member(&id(node)).is_some()
    };
    assert!(!comes(&mut core, all + 1), "there is no place");
    let _ = core.handle(NOW, Event::Forgotten(id(7)));
    assert!(comes(&mut core, all + 1));
    let _ = core.handle(NOW, Event::Forgotten(id(all + 1)));
    assert!(core.member(&id(all + 1)).is_some(), "one that is connected keeps its own");
    let _ = core.handle(NOW, Event::PeerDown(id(all + 1)));
    let _ = core.handle(NOW, Event::Forgotten(id(all + 1)));
    assert!(core.member(&id(all + 1)).is_some(), "one that lives too");
    let health = |core: &Pools| core.member(&id(all + 1)).map(|it| it.health);
    let mut steps = 0;
    while health(&core) != Some(Health::Down) {
        let wake = core.next_wake().expect("it probes");
        let _ = core.handle(wake, Event::Woken);
        steps += 1;
        assert!(steps < 10_000, "it never answers, and is never given up");
    }
    assert!(!comes(&mut core, 7), "there is no place");
    let _ = core.handle(NOW, Event::Forgotten(id(all + 1)));
    assert_eq!(health(&core), None, "one that died does not");
    assert!(comes(&mut core, 7));
}
