//! What we let a peer tell us.
//!
//! A peer is authenticated, not honest. It may speak for itself; about others it may only repeat what their own signed
//! records and their own words allow, and it may not accuse without end. `Down` cannot be taken back, so from third nodes
//! it counts only where we have held the subject suspect for a while ourselves, or where several tell of it; else it is heard
//! as a suspicion, which the subject can refute.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use covenant_types::{BootEpoch, NodeId, Uptime};
use foca::{Codec, Header, Member, Message, State};

use crate::codec::{FixedCodec, LEFT, MEMBER_BYTES};
use crate::pace::Pace;
use crate::profile::PACKET_BYTES_MAX;
use crate::view::{Health, Views};
use crate::{Identity, Misconduct, Profile};

/// The most nodes we keep anything about.
pub const NODES_MAX: usize = 1024;
/// How far above a node's own last word others may say that its bump is.
pub const BUMP_LEAD_MAX: u32 = 8;
/// How many accusations one peer may make in [`ACCUSATIONS_WINDOW`]. Half of a large cluster may vanish at once.
pub const ACCUSATIONS_MAX: u32 = 128;
/// See [`ACCUSATIONS_MAX`].
pub const ACCUSATIONS_WINDOW: Duration = Duration::from_secs(10);
/// How many of them may be about us: each makes us say again that we live.
const SELF_ACCUSATIONS_MAX: u32 = 8;
/// How far above a node's signed epoch an honest rumour may be: it restarted, and its record is on its way.
const EPOCH_LEAD_MAX: u64 = 16;
/// How many statements with an epoch or a bump beyond these one peer may make in [`ACCUSATIONS_WINDOW`].
pub const POISONS_MAX: u32 = 128;
/// How often in [`ACCUSATIONS_WINDOW`] a peer may speak as another, or as a boot that it is not. Of a node that just restarted
/// some words of its last boot may still come.
pub const FORGERIES_MAX: u32 = 64;
/// How often a node may come back from being declared down in [`QUARANTINE`]: a node with an ear or a mouth too few is
/// declared down again and again, and holds others down who are well.
const RENEWALS_MAX: usize = 3;
/// How long nobody listens to the accusations of a node in quarantine.
pub const QUARANTINE: Duration = Duration::from_secs(600);

/// How many nodes must tell of a death that this node has not seen coming.
pub const WITNESSES: usize = 3;

/// What a node said of itself.
#[derive(Clone, Debug)]
struct Word {
    epoch: BootEpoch,
    bump: u32,
    /// When it came back of late, at most [`RENEWALS_MAX`] times.
    renewals: VecDeque<Uptime>,
}

impl Word {
    fn new(epoch: BootEpoch) -> Self {
        Self { epoch, bump: 0, renewals: VecDeque::new() }
    }
}

/// How much one peer has taken liberties with lately.
#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    since: Uptime,
    others: u32,
    us: u32,
    forgeries: u32,
    poisons: u32,
}

/// What a budget is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Charge {
    /// An accusation of a third node.
    Other,
    /// An accusation of us.
    Us,
    /// A word that is not its sender's.
    Forgery,
    /// A statement of an epoch or a bump that its subject never had.
    Poison,
}

/// What becomes of one statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Believed,
    /// To be heard as a suspicion of this incarnation.
    Doubted(foca::Incarnation),
    Held,
}

/// What happened to the statements in one packet.
#[derive(Debug)]
pub(crate) struct Sifted<T> {
    /// What may be believed.
    pub(crate) kept: T,
    /// How many statements may not.
    pub(crate) held: u64,
    /// How many were heard as less than they said.
    pub(crate) doubted: u64,
}

/// Remembers each node's own word and each peer's accusations.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    words: BTreeMap<NodeId, Word>,
    budgets: BTreeMap<NodeId, Budget>,
    quarantined: BTreeMap<NodeId, Uptime>,
    /// Deaths told of nodes that we hold for living: of which life, and by whom.
    deaths: BTreeMap<NodeId, (Identity, BTreeSet<NodeId>)>,
    /// Who was quarantined and not told of yet.
    misconduct: Vec<(NodeId, Misconduct)>,
}

/// Who hears it, when, and what is known there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hearing<'a> {
    pub(crate) now: Uptime,
    pub(crate) me: Identity,
    pub(crate) views: &'a Views,
    pub(crate) profile: &'a Profile,
    pub(crate) pace: &'a Pace,
}

impl Gate {
    /// A node lives: what was told of its death counts no more.
    pub(crate) fn lives(&mut self, node: &NodeId) {
        self.deaths.remove(node);
    }

    /// Takes in a node's own, authenticated word about its epoch. Returns false where we know too many nodes.
    pub(crate) fn epoch_known(&mut self, node: NodeId, epoch: BootEpoch) -> bool {
        if !self.words.contains_key(&node) && self.words.len() >= NODES_MAX {
            return false;
        }
        let word = self.words.entry(node).or_insert_with(|| Word::new(epoch));
        if epoch > word.epoch {
            *word = Word::new(epoch);
        }
        true
    }

    /// Forgets a node, so that another has its place.
    pub(crate) fn forget(&mut self, node: &NodeId) {
        self.words.remove(node);
    }

    /// Forgets the accusations of a peer that is gone.
    pub(crate) fn forget_budget(&mut self, node: &NodeId) {
        self.budgets.remove(node);
    }

    /// Whether the node is one we know of by its own word.
    pub(crate) fn knows(&self, node: &NodeId) -> bool {
        self.words.contains_key(node)
    }

    /// Who has been quarantined since this was asked last, and why.
    pub(crate) fn take_misconduct(&mut self) -> Vec<(NodeId, Misconduct)> {
        std::mem::take(&mut self.misconduct)
    }

    /// Takes in the identity a peer names as its own. Returns false where its signed epoch is another.
    pub(crate) fn own_word(&mut self, now: Uptime, speaker: Identity) -> bool {
        let Some(word) = self.words.get_mut(&speaker.node).filter(|word| word.epoch == speaker.epoch) else {
            return false;
        };
        if speaker.bump > word.bump {
            word.bump = speaker.bump;
            word.renewals.retain(|renewal| now.since(*renewal) < QUARANTINE);
            word.renewals.push_back(now);
            if word.renewals.len() > RENEWALS_MAX {
                word.renewals.pop_front();
            }
            if word.renewals.len() == RENEWALS_MAX {
                self.quarantine(now, speaker.node, Misconduct::Flapping);
            }
        }
        true
    }

    /// Takes out of a datagram what may not be believed. `None` if it is no datagram, or not its sender's.
    pub(crate) fn sift_datagram(
        &mut self,
        hearing: Hearing<'_>,
        codec: &mut FixedCodec,
        from: NodeId,
        data: &Bytes,
    ) -> Option<Sifted<Bytes>> {
        if data.len() > PACKET_BYTES_MAX {
            self.forged(hearing.now, from);
            return None;
        }
        let mut rest = &data[..];
        let header: Header<Identity> = codec.decode_header(&mut rest).ok()?;
        // Nobody broadcasts anything here, and foca would take what follows for its own fault.
        let is_none = header.message == Message::Broadcast;
        if is_none || header.src.node != from || !self.own_word(hearing.now, header.src) {
            self.forged(hearing.now, from);
            return None;
        }
        if header.message == Message::TurnUndead && !self.charge(hearing.now, from, Charge::Us) {
            return None;
        }
        if rest.is_empty() {
            return Some(Sifted { kept: data.clone(), held: 0, doubted: 0 });
        }
        let head = data.len() - rest.len();
        let count = usize::from(rest.try_get_u16().ok()?);
        if rest.len() != count * MEMBER_BYTES {
            return None;
        }
        let mut sifted = BytesMut::with_capacity(data.len());
        sifted.put_slice(&data[..head + 2]);
        let (mut kept, mut doubted) = (0u16, 0);
        for raw in rest.chunks_exact(MEMBER_BYTES) {
            let member = codec.decode_member(raw).ok()?;
            match self.judge(hearing, header.src, &member) {
                Verdict::Believed => sifted.put_slice(raw),
                Verdict::Doubted(incarnation) => {
                    doubted += 1;
                    let suspect = Member::new(*member.id(), incarnation, State::Suspect);
                    codec.encode_member(&suspect, &mut sifted).ok()?;
                }
                Verdict::Held => continue,
            }
            kept += 1;
        }
        sifted[head..head + 2].copy_from_slice(&kept.to_be_bytes());
        Some(Sifted { kept: sifted.freeze(), held: (count - usize::from(kept)) as u64, doubted })
    }

    /// Keeps of a feed's members what may be believed.
    pub(crate) fn sift_members(
        &mut self,
        hearing: Hearing<'_>,
        speaker: Identity,
        members: Vec<Member<Identity>>,
    ) -> Sifted<Vec<Member<Identity>>> {
        let (mut kept, mut held, mut doubted) = (Vec::new(), 0, 0);
        for member in members {
            match self.judge(hearing, speaker, &member) {
                Verdict::Believed => kept.push(member),
                Verdict::Doubted(incarnation) => {
                    doubted += 1;
                    kept.push(Member::new(*member.id(), incarnation, State::Suspect));
                }
                Verdict::Held => held += 1,
            }
        }
        Sifted { kept, held, doubted }
    }

    /// What a peer says over its own connection that it holds of us. True where it is worth an answer.
    pub(crate) fn sift_about_us(&mut self, hearing: Hearing<'_>, speaker: NodeId, member: &Member<Identity>) -> bool {
        *member.id() == hearing.me && member.state() != State::Alive && self.charge(hearing.now, speaker, Charge::Us)
    }

    fn judge(&mut self, hearing: Hearing<'_>, speaker: Identity, member: &Member<Identity>) -> Verdict {
        let subject = *member.id();
        if subject.node == hearing.me.node {
            // Anything about another life of ours is stale or a lie, and foca would spread it.
            if subject != hearing.me {
                return Verdict::Held;
            }
            return match member.state() {
                State::Alive => Verdict::Believed,
                _ if !self.charge(hearing.now, speaker.node, Charge::Us) => Verdict::Held,
                State::Suspect => Verdict::Believed,
                // Who holds us down says so over its own connection. A rumour of it we can still refute.
                State::Down if member.incarnation() == LEFT => Verdict::Held,
                State::Down => Verdict::Doubted(member.incarnation()),
            };
        }
        if subject.node == speaker.node {
            let own = subject.epoch == speaker.epoch && subject.bump <= speaker.bump;
            return if own { Verdict::Believed } else { Verdict::Held };
        }
        let Some(word) = self.words.get(&subject.node) else { return Verdict::Held };
        if word.epoch != subject.epoch || subject.bump > word.bump.saturating_add(BUMP_LEAD_MAX) {
            let ahead = subject.epoch.0.saturating_sub(word.epoch.0);
            if subject.epoch == word.epoch || ahead > EPOCH_LEAD_MAX {
                self.charge(hearing.now, speaker.node, Charge::Poison);
            }
            return Verdict::Held;
        }
        if !hearing.views.worsens(member) {
            return Verdict::Believed;
        }
        if self.is_quarantined(hearing, &speaker.node) || !self.charge(hearing.now, speaker.node, Charge::Other) {
            return Verdict::Held;
        }
        match member.state() {
            State::Alive | State::Suspect => Verdict::Believed,
            State::Down => self.judge_down(hearing, speaker.node, &subject),
        }
    }

    /// Whether to believe that a node is dead which we do not hold for dead.
    fn judge_down(&mut self, hearing: Hearing<'_>, speaker: NodeId, subject: &Identity) -> Verdict {
        let Some(seen) = hearing.views.get(&subject.node) else { return Verdict::Believed };
        match subject.cmp(&seen.identity) {
            // Stale: it changes nothing.
            std::cmp::Ordering::Less => return Verdict::Believed,
            // The end of a life of which we have not seen the beginning: the node itself will say whether there is one.
            std::cmp::Ordering::Greater => return Verdict::Held,
            std::cmp::Ordering::Equal => {}
        }
        let long_enough = hearing.pace.suspicion(hearing.profile, &subject.node) / 2;
        if seen.health == Health::Suspect && hearing.now.since(seen.since) >= long_enough {
            return Verdict::Believed;
        }
        // Who doubts passes on a suspicion, so that several who tell of a death have reasons of their own.
        let (life, witnesses) = self.deaths.entry(subject.node).or_insert_with(|| (*subject, BTreeSet::new()));
        if life != subject {
            (*life, *witnesses) = (*subject, BTreeSet::new());
        }
        witnesses.insert(speaker);
        if witnesses.len() >= WITNESSES {
            self.deaths.remove(&subject.node);
            Verdict::Believed
        } else {
            Verdict::Doubted(seen.incarnation)
        }
    }

    fn is_quarantined(&mut self, hearing: Hearing<'_>, node: &NodeId) -> bool {
        self.quarantined.retain(|_, until| *until > hearing.now);
        // Where many have trouble at once it is the network's, and somebody must be believed.
        let few = self.quarantined.len() <= (hearing.views.len() / 4).max(1);
        few && self.quarantined.contains_key(node)
    }

    /// A peer sent what is not its own word. A well one does so at most for a moment.
    pub(crate) fn forged(&mut self, now: Uptime, from: NodeId) {
        self.charge(now, from, Charge::Forgery);
    }

    /// Takes one from a peer's budget. False, and the peer is named, where there is none left.
    fn charge(&mut self, now: Uptime, peer: NodeId, charge: Charge) -> bool {
        let budget = self.budgets.entry(peer).or_default();
        if now.since(budget.since) >= ACCUSATIONS_WINDOW {
            *budget = Budget { since: now, ..Budget::default() };
        }
        let (spent, limit, why) = match charge {
            Charge::Other => (&mut budget.others, ACCUSATIONS_MAX, Misconduct::Accusing),
            Charge::Us => (&mut budget.us, SELF_ACCUSATIONS_MAX, Misconduct::Accusing),
            Charge::Forgery => (&mut budget.forgeries, FORGERIES_MAX, Misconduct::Forging),
            Charge::Poison => (&mut budget.poisons, POISONS_MAX, Misconduct::Poisoning),
        };
        *spent = spent.saturating_add(1);
        let allowed = *spent <= limit;
        if !allowed {
            self.quarantine(now, peer, why);
        }
        allowed
    }

    fn quarantine(&mut self, now: Uptime, node: NodeId, why: Misconduct) {
        if self.quarantined.insert(node, now.after(QUARANTINE)).is_none_or(|until| until <= now) {
            self.misconduct.push((node, why));
        }
    }
}
