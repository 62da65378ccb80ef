//! What we let a peer tell us.
//!
//! A peer is authenticated, not honest. It may speak for itself; about others it may only repeat what their own signed
//! records and their own words allow, and it may not accuse without end, because `Down` cannot be taken back.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use covenant_types::{BootEpoch, NodeId, Uptime};
use foca::{Codec, Header, Member, Message, State};

use crate::Identity;
use crate::codec::{FixedCodec, MEMBER_BYTES};
use crate::profile::PACKET_BYTES_MAX;
use crate::view::Views;

/// The most nodes we keep anything about.
pub const NODES_MAX: usize = 1024;
/// How far above a node's own last word others may say that its bump is.
pub const BUMP_LEAD_MAX: u32 = 8;
/// How many accusations one peer may make in [`ACCUSATIONS_WINDOW`]. Half of a large cluster may vanish at once.
pub const ACCUSATIONS_MAX: u32 = 128;
/// See [`ACCUSATIONS_MAX`].
pub const ACCUSATIONS_WINDOW: Duration = Duration::from_secs(10);
/// How many of them may be about us: each makes us renew ourselves.
const SELF_ACCUSATIONS_MAX: u32 = 8;

/// What a node said of itself.
#[derive(Clone, Copy, Debug)]
struct Word {
    epoch: BootEpoch,
    bump: u32,
}

/// How much one peer has accused lately.
#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    since: Uptime,
    others: u32,
    us: u32,
}

/// What happened to the statements in one packet.
#[derive(Debug)]
pub(crate) struct Sifted<T> {
    /// What may be believed.
    pub(crate) kept: T,
    /// How many statements may not.
    pub(crate) held: u64,
}

/// Remembers each node's own word and each peer's accusations.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    words: BTreeMap<NodeId, Word>,
    budgets: BTreeMap<NodeId, Budget>,
}

/// Who says it, to whom, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hearing<'a> {
    pub(crate) now: Uptime,
    pub(crate) me: Identity,
    pub(crate) views: &'a Views,
}

impl Gate {
    /// Takes in a node's own, authenticated word about its epoch. Returns false where we know too many nodes.
    pub(crate) fn epoch_known(&mut self, node: NodeId, epoch: BootEpoch) -> bool {
        if !self.words.contains_key(&node) && self.words.len() >= NODES_MAX {
            return false;
        }
        let word = self.words.entry(node).or_insert(Word { epoch, bump: 0 });
        if epoch > word.epoch {
            *word = Word { epoch, bump: 0 };
        }
        true
    }

    /// Forgets the accusations of a peer that is gone.
    pub(crate) fn forget_budget(&mut self, node: &NodeId) {
        self.budgets.remove(node);
    }

    /// Takes in the identity a peer names as its own. Returns false where its signed epoch is another.
    pub(crate) fn own_word(&mut self, speaker: Identity) -> bool {
        match self.words.get_mut(&speaker.node) {
            Some(word) if word.epoch == speaker.epoch => {
                word.bump = word.bump.max(speaker.bump);
                true
            }
            Some(_) | None => false,
        }
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
            return None;
        }
        let mut rest = &data[..];
        let header: Header<Identity> = codec.decode_header(&mut rest).ok()?;
        if header.src.node != from || !self.own_word(header.src) {
            return None;
        }
        if header.message == Message::TurnUndead && !self.charge(hearing, from, true) {
            return None;
        }
        if rest.is_empty() {
            return Some(Sifted { kept: data.clone(), held: 0 });
        }
        let head = data.len() - rest.len();
        let count = usize::from(rest.try_get_u16().ok()?);
        if rest.len() != count * MEMBER_BYTES {
            return None;
        }
        let mut sifted = BytesMut::with_capacity(data.len());
        sifted.put_slice(&data[..head + 2]);
        let mut kept = 0u16;
        for raw in rest.chunks_exact(MEMBER_BYTES) {
            let member = codec.decode_member(raw).ok()?;
            if self.believes(hearing, header.src, &member) {
                sifted.put_slice(raw);
                kept += 1;
            }
        }
        sifted[head..head + 2].copy_from_slice(&kept.to_be_bytes());
        Some(Sifted { kept: sifted.freeze(), held: (count - usize::from(kept)) as u64 })
    }

    /// Keeps of a feed's members what may be believed.
    pub(crate) fn sift_members(
        &mut self,
        hearing: Hearing<'_>,
        speaker: Identity,
        members: Vec<Member<Identity>>,
    ) -> Sifted<Vec<Member<Identity>>> {
        let all = members.len();
        let kept: Vec<_> = members.into_iter().filter(|member| self.believes(hearing, speaker, member)).collect();
        Sifted { held: (all - kept.len()) as u64, kept }
    }

    fn believes(&mut self, hearing: Hearing<'_>, speaker: Identity, member: &Member<Identity>) -> bool {
        let subject = *member.id();
        if subject.node == hearing.me.node {
            // Anything about another life of ours is stale or a lie, and foca would spread it.
            let accuses = member.state() != State::Alive;
            return subject == hearing.me && (!accuses || self.charge(hearing, speaker.node, true));
        }
        if subject.node == speaker.node {
            return subject.epoch == speaker.epoch && subject.bump <= speaker.bump;
        }
        let allowed = self
            .words
            .get(&subject.node)
            .is_some_and(|word| word.epoch == subject.epoch && subject.bump <= word.bump.saturating_add(BUMP_LEAD_MAX));
        allowed && (!hearing.views.worsens(member) || self.charge(hearing, speaker.node, false))
    }

    fn charge(&mut self, hearing: Hearing<'_>, accuser: NodeId, about_us: bool) -> bool {
        let budget = self.budgets.entry(accuser).or_default();
        if hearing.now.since(budget.since) >= ACCUSATIONS_WINDOW {
            *budget = Budget { since: hearing.now, ..Budget::default() };
        }
        let (spent, limit) =
            if about_us { (&mut budget.us, SELF_ACCUSATIONS_MAX) } else { (&mut budget.others, ACCUSATIONS_MAX) };
        *spent = spent.saturating_add(1);
        *spent <= limit
    }
}
