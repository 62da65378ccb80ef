//! What is done about suspects until they refute or are down: they are told, others are asked, and in the end they are given up.

use covenant_types::{NodeId, Uptime};
use foca::{Member, State};
use rand::Rng;

use super::Membership;
use crate::{Effect, Health};

/// How many nodes tell a suspect that it is one, about.
const WARNERS: usize = 8;
/// How many suspicions long a suspect may stay one before we declare it down without having probed it ourselves.
const STRAGGLER_FACTOR: u32 = 2;
/// After so many rounds of gossip a rumour has found almost everybody.
const RUMOUR_ROUNDS: u32 = 6;
/// How often others are asked what became of one suspicion, at most.
const ASKS_MAX: u32 = 5;

impl Membership {
    /// Looks after all suspicions.
    pub(super) fn sweep(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        let expired: Vec<_> = self
            .views
            .suspects()
            .filter(|seen| {
                now.since(seen.since) > self.pace.suspicion(&self.profile, &seen.identity.node) * STRAGGLER_FACTOR
            })
            .map(|seen| Member::new(seen.identity, seen.incarnation, State::Down))
            .collect();
        if !expired.is_empty() {
            self.stats.stragglers += expired.len() as u64;
            self.learn(now, expired, true, effects);
        }
        self.warn_suspects(now, effects);
        self.ask_about_suspects(now, effects);
    }

    /// Compares views with somebody where a suspicion should have ended and what it ended in was not heard: a rumour finds
    /// almost everybody, and of thousands now and then one is left out. The waits double, since whoever began the suspicion
    /// may give it longer than we would.
    fn ask_about_suspects(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        let rumour = self.profile.gossip_period * RUMOUR_ROUNDS;
        let overdue: Vec<_> = self
            .views
            .suspects()
            .filter(|seen| {
                let patience = self.pace.suspicion(&self.profile, &seen.identity.node);
                now.since(seen.since) >= patience + rumour.saturating_mul(1 << seen.asked.min(ASKS_MAX))
            })
            .filter(|seen| seen.asked < ASKS_MAX)
            .map(|seen| seen.identity.node)
            .collect();
        if overdue.is_empty() {
            return;
        }
        overdue.iter().for_each(|node| self.views.asked(node));
        let is_well = |node: &NodeId| self.views.get(node).is_some_and(|seen| seen.health == Health::Alive);
        let well: Vec<_> = self.peers.iter().filter(|node| is_well(node)).copied().collect();
        if !well.is_empty() {
            let chosen = well[self.rng.random_range(0..well.len())];
            self.send_digest(chosen, effects);
        }
    }

    /// Tells suspects that they are: rumours find everybody but may miss the one they are about, who alone can refute them
    /// (Lifeguard's buddy system). A few of all nodes do so for each suspect, four times within the suspicion.
    fn warn_suspects(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        let me = self.me().node;
        let lots = self.views.len().max(WARNERS);
        let due: Vec<_> = self
            .views
            .suspects()
            .filter(|seen| self.peers.contains(&seen.identity.node))
            .filter(|seen| lot(&me, &seen.identity.node, seen.incarnation) % lots < WARNERS)
            .filter(|seen| {
                let wait = self.pace.suspicion(&self.profile, &seen.identity.node) / 4;
                seen.warned.is_none_or(|warned| now.since(warned) >= wait)
            })
            .map(crate::view::Seen::member)
            .collect();
        for suspect in due {
            self.views.warned(now, &suspect.id().node);
            let data = self.gossip(*suspect.id(), &suspect);
            effects.push(Effect::SendDatagram { to: suspect.id().node, data });
        }
    }
}

/// A number that is this node's alone for this suspicion, and needs no state.
fn lot(me: &NodeId, suspect: &NodeId, incarnation: foca::Incarnation) -> usize {
    let bytes = me.0.iter().chain(&suspect.0).chain(&incarnation.to_be_bytes()).copied().collect::<Vec<u8>>();
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    // The high bits of FNV are the better mixed ones.
    usize::try_from(hash >> 33).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use covenant_types::{BootEpoch, LinkTier, NodeId, Uptime};
    use foca::{Member, State};
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use crate::codec::FixedCodec;
    use crate::feed::{Body, Feed};
    use crate::{Effect, Event, Health, Identity, Membership, Profile};

    const START: Uptime = Uptime::from_millis(1000);

    fn id(node: u8) -> NodeId {
        NodeId([node; 16])
    }

    fn core(me: u8, peers: &[u8]) -> Membership {
        let rng = StdRng::seed_from_u64(me.into());
        let mut core = Membership::new(id(me), BootEpoch(1), LinkTier::Lan, Profile::lan(), rng, START);
        for peer in peers {
            let _said = core.handle(START, Event::PeerUp { node: id(*peer), epoch: BootEpoch(1) });
        }
        core
    }

    /// One has heard of a suspicion and not of its end; the other has.
    #[test]
    fn who_misses_how_a_suspicion_ended_asks_before_it_gives_up() {
        let (mut misses, mut knows) = (core(1, &[2, 3]), core(2, &[1, 3]));
        let suspect = |state| vec![Member::new(Identity::new(id(3), BootEpoch(1)), 0, state)];
        misses.learn(START, suspect(State::Suspect), false, &mut Vec::new());
        knows.learn(START, suspect(State::Suspect), false, &mut Vec::new());
        knows.learn(START, suspect(State::Down), false, &mut Vec::new());
        let held = |core: &Membership| core.member(&id(3)).map(|change| change.health);
        assert_eq!((held(&misses), held(&knows)), (Some(Health::Suspect), Some(Health::Down)));

        let (profile, mut now) = (Profile::lan(), START);
        let patience = profile.suspicion + profile.gossip_period * super::RUMOUR_ROUNDS;
        let mut asked = Vec::new();
        // Only the looking after suspects runs: probes would find out by themselves.
        while now < START.after(profile.suspicion * super::STRAGGLER_FACTOR) && held(&misses) == Some(Health::Suspect) {
            now = now.after(Duration::from_millis(50));
            let mut effects = Vec::new();
            misses.sweep(now, &mut effects);
            for effect in effects {
                let Effect::SendFeed { to, data } = effect else { continue };
                let digest = Feed::decode(&mut FixedCodec { me: to, own: misses.codec.own.clone() }, &data);
                assert!(matches!(digest.map(|feed| feed.body), Ok(Body::Digest(_))));
                asked.push(now.since(START));
                assert_eq!(to, id(2), "a suspect is not asked");
                for answer in knows.handle(now, Event::Feed { from: id(1), data }) {
                    if let Effect::SendFeed { data, .. } = answer {
                        let _said = misses.handle(now, Event::Feed { from: id(2), data });
                    }
                }
            }
        }
        assert_eq!(held(&misses), Some(Health::Down));
        let first = asked.first().copied();
        assert!(first.is_some_and(|first| first >= patience && first < profile.suspicion * super::STRAGGLER_FACTOR));
        assert!(asked.len() <= super::ASKS_MAX as usize, "{asked:?}");
    }
}
