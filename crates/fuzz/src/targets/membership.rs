//! The membership core and what reaches it.

use std::time::Duration;

use bytes::Bytes;
use covenant_membership::fuzz as packets;
use covenant_membership::{Effect, Event, Identity, Membership, Profile};
use covenant_types::{BootEpoch, LinkTier, NodeId, Uptime};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::Target;

pub(crate) const TARGETS: &[Target] = &[
    Target::new("swim-packet", packets::fuzz_swim_packet, packets::swim_packet_seeds),
    Target::new("swim-feed", packets::fuzz_swim_feed, packets::swim_feed_seeds),
    Target::new("note", packets::fuzz_note, packets::note_seeds),
    Target::new("membership", fuzz_membership, membership_seeds),
];

/// How many others there are.
const OTHERS: u8 = 4;

fn core(node: u8) -> Membership {
    let (rng, id) = (StdRng::seed_from_u64(1), NodeId([node; 16]));
    let mut core = Membership::new(id, BootEpoch(1), LinkTier::Lan, Profile::loopback(), rng, Uptime::ZERO);
    for other in (0..=OTHERS).filter(|other| *other != node) {
        let _effects = core.handle(Uptime::ZERO, Event::PeerUp { node: NodeId([other; 16]), epoch: BootEpoch(1) });
    }
    core
}

/// A story for the whole core: who says what, a length and the bytes, one after the other. Whatever is said, no epoch of a
/// node changes that the node did not prove, and SWIM meets nothing that it holds for impossible.
fn fuzz_membership(mut story: &[u8]) {
    let mut core = core(0);
    let mut now = Uptime::ZERO;
    while let Some(([what, high, low], rest)) = story.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([*high, *low]) & 0x0fff).min(rest.len());
        let (data, rest) = rest.split_at(length);
        story = rest;
        let from = NodeId([1 + (what >> 1) % OTHERS; 16]);
        let data = Bytes::copy_from_slice(data);
        let event = if what & 1 == 0 { Event::Datagram { from, data } } else { Event::Feed { from, data } };
        let effects = core.handle(now, event);
        assert!(effects.iter().all(is_harmless), "{effects:?}");
        now = now.after(Duration::from_millis(u64::from(what >> 4) * 20));
        let effects = core.handle(now, Event::Woken);
        assert!(effects.iter().all(is_harmless), "{effects:?}");
    }
    assert!(core.members().all(|change| change.epoch == BootEpoch(1)), "an epoch changed on the word of others");
    assert_eq!(core.stats().faults, 0, "SWIM met what it holds for impossible");
    assert_eq!(core.me(), Identity { bump: core.me().bump, ..Identity::new(NodeId([0; 16]), BootEpoch(1)) });
}

fn is_harmless(effect: &Effect) -> bool {
    !matches!(effect, Effect::Changed(change) if change.epoch != BootEpoch(1) || change.node == NodeId([0; 16]))
}

/// What the others really say to node 0 in their first minute.
fn membership_seeds() -> Vec<Vec<u8>> {
    (1..=OTHERS).map(said_by).collect()
}

fn said_by(node: u8) -> Vec<u8> {
    let mut core = core(node);
    let mut story = Vec::new();
    for second in 1..60 {
        let now = Uptime(Duration::from_secs(second));
        let mut effects = core.handle(now, Event::Woken);
        if second == 50 {
            effects.extend(core.handle(now, Event::Leave));
        }
        for effect in effects {
            let (is_feed, to, data) = match effect {
                Effect::SendDatagram { to, data } => (0, to, data),
                Effect::SendFeed { to, data } => (1, to, data),
                Effect::Changed(_) | Effect::Renewed { .. } | Effect::Quarantined { .. } => continue,
            };
            if let (true, Ok(length)) = (to == NodeId([0; 16]), u16::try_from(data.len())) {
                story.extend([is_feed | (node - 1) << 1 | 0x10]);
                story.extend(length.to_be_bytes());
                story.extend(&data[..]);
            }
        }
    }
    story.truncate(2000);
    story
}
