//! A tower's outbox: what its device signed, until the book has answered.
//!
//! Invariants:
//! - A number is used once, for ever: the next one is written down together with what was signed under this one.
//! - Key and numbers are in one record. Who has lost one has lost both, and begins a new device.
//! - What was signed is kept until it was applied or rejected, and then for a while to be shown.

use std::collections::VecDeque;

use covenant_book::{AccountId, Asset, DeviceId, INTENTS_MAX, Intent, IntentState, Refusal, SignedIntent, Wish};
use covenant_identity::NodeKey;
use covenant_types::canonical::{CanonicalError, Reader, Writer};
use covenant_types::{TransferId, WallTime};

use super::{AllowanceView, IntentView, OutboxView, hex};
use crate::error::LedgerErrorKind;
use crate::question::amount_text;
use crate::{LedgerError, order};

/// The most intents whose end the tower has not heard of. More are not signed.
const UNSETTLED_MAX: usize = 1000;
/// How many settled ones are kept to be shown, and to know an id again.
const SETTLED_KEPT: usize = 200;
/// The kind of the record.
const DOMAIN: &str = "covenant/outbox/1";

/// One signed intent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    signed: SignedIntent,
    at: WallTime,
    /// What the book said of it last.
    state: Option<IntentState>,
}

impl Item {
    fn is_settled(&self) -> bool {
        matches!(self.state, Some(IntentState::Applied { .. } | IntentState::Rejected(_)))
    }

    fn amount(&self) -> i128 {
        match self.signed.intent.wish {
            Wish::Pay { amount, .. } => amount,
            Wish::Close { .. } => 0,
        }
    }
}

/// What the tower heard of its allowance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Whether it was open.
    pub(crate) state: String,
    /// What was left, in cents.
    pub(crate) left: i128,
    /// When.
    pub(crate) at: WallTime,
}

impl Heard {
    /// As the book showed it.
    pub(crate) fn of(view: &AllowanceView, at: WallTime) -> Option<Self> {
        let left = view.left.parse::<crate::Amount>().ok()?.as_cents();
        Some(Self { state: view.state.clone(), left, at })
    }
}

/// What a device signed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Outbox {
    /// The private key, as PEM: it is wiped from memory with the record.
    key: zeroize::Zeroizing<String>,
    public: [u8; 32],
    next: u64,
    heard: Option<Heard>,
    items: VecDeque<Item>,
}

impl Outbox {
    /// A new device, with nothing signed.
    pub(crate) fn begin(key: &NodeKey) -> Self {
        Self { key: key.to_pem(), public: key.public_key(), next: 1, heard: None, items: VecDeque::new() }
    }

    pub(crate) fn device(&self) -> DeviceId {
        DeviceId::of(&self.public)
    }

    /// Signs a wish under the next number; `true` where this id was signed before, for the same.
    pub(crate) fn accept(&mut self, wish: Wish, at: WallTime) -> Result<(u64, bool), LedgerError> {
        if let Some(before) = self.items.iter().find(|item| same_id(&item.signed.intent.wish, &wish)) {
            return match asks_the_same(&before.signed.intent.wish, &wish) {
                true => Ok((before.signed.intent.sequence, true)),
                false => {
                    let said = "this id was signed before for something else; use a new id; nothing was signed";
                    Err(LedgerError::new(LedgerErrorKind::Conflict, said))
                }
            };
        }
        self.judge(&wish)?;
        let key = NodeKey::from_pem(&self.key).map_err(LedgerError::failed)?;
        let sequence = self.next;
        let intent = Intent { device: self.device(), sequence, wish };
        let signed = SignedIntent { intent, signature: key.sign(&intent.to_bytes()) };
        self.next = sequence.checked_add(1).ok_or_else(|| refused("this device has no numbers left"))?;
        self.items.push_back(Item { signed, at, state: None });
        Ok((sequence, false))
    }

    /// Whether the book would take it, as far as the tower knows.
    fn judge(&self, wish: &Wish) -> Result<(), LedgerError> {
        if self.items.iter().any(|item| matches!(item.signed.intent.wish, Wish::Close { .. })) {
            return Err(refused("this device has signed that its allowance is closed"));
        }
        if self.items.iter().filter(|item| !item.is_settled()).count() >= UNSETTLED_MAX {
            let what =
                format!("{UNSETTLED_MAX} intents wait to be delivered and settled, and there is room for no more");
            return Err(refused(&what));
        }
        let Some(heard) = &self.heard else {
            let key = hex(&self.public);
            return Err(refused(&format!(
                "this tower has not heard of an allowance: have one opened for its key {key}, and connect the tower once"
            )));
        };
        if heard.state != "open" {
            return Err(refused(&format!("the allowance of this tower is {}", heard.state)));
        }
        let Wish::Pay { amount, .. } = *wish else { return Ok(()) };
        let available = self.available().unwrap_or(0);
        if amount > available {
            let [amount, available] = [amount, available].map(|cents| amount_text(cents, Asset::USD));
            return Err(refused(&format!("{amount} is more than the {available} that are left of the allowance")));
        }
        Ok(())
    }

    /// What was left of the allowance, less what was signed and is not settled.
    fn available(&self) -> Option<i128> {
        let unsettled = self.items.iter().filter(|item| !item.is_settled()).map(Item::amount);
        let signed = unsettled.fold(0i128, i128::saturating_add);
        self.heard.as_ref().map(|heard| heard.left.saturating_sub(signed))
    }

    /// What the book has not answered yet, the first of it.
    pub(crate) fn unsent(&self) -> Vec<SignedIntent> {
        let unsent = self.items.iter().filter(|item| item.state.is_none());
        unsent.map(|item| item.signed).take(INTENTS_MAX).collect()
    }

    /// What the book has and has not settled, the first of it.
    pub(crate) fn unsettled(&self) -> Vec<Intent> {
        let waiting = |item: &&Item| item.state.is_some() && !item.is_settled();
        self.items.iter().filter(waiting).map(|item| item.signed.intent).take(INTENTS_MAX).collect()
    }

    /// Whether the end of everything is known.
    pub(crate) fn is_settled(&self) -> bool {
        self.items.iter().all(Item::is_settled)
    }

    /// The book told what became of an intent. What was settled stays so.
    pub(crate) fn told(&mut self, intent: &Intent, state: IntentState) {
        let item = self.items.iter_mut().find(|item| item.signed.intent == *intent && !item.is_settled());
        let Some(item) = item else { return };
        if let (IntentState::Applied { .. }, Some(heard)) = (&state, &mut self.heard) {
            // What is left is known as of before: it counts until it is heard of again.
            heard.left = heard.left.saturating_sub(item.amount());
        }
        item.state = Some(state);
        while self.items.iter().filter(|item| item.is_settled()).count() > SETTLED_KEPT {
            let Some(oldest) = self.items.iter().position(Item::is_settled) else { break };
            self.items.remove(oldest);
        }
    }

    /// The book told how the allowance is.
    pub(crate) fn heard(&mut self, heard: Heard) {
        self.heard = Some(heard);
    }

    /// For people; `name` knows accounts.
    pub(crate) fn view(&self, name: impl Fn(AccountId) -> String, trouble: Option<String>) -> OutboxView {
        OutboxView {
            device: self.device().to_string(),
            key: hex(&self.public),
            allowance: self.heard.as_ref().map(|heard| heard.state.clone()),
            available: self.available().map(|cents| amount_text(cents, Asset::USD)),
            heard: self.heard.as_ref().map(|heard| heard.at),
            intents: self.items.iter().map(|item| shown(item, &name)).collect(),
            trouble,
        }
    }

    /// The record, with the hash of it at its end.
    pub(crate) fn to_bytes(&self) -> zeroize::Zeroizing<Vec<u8>> {
        let mut writer = Writer::new(DOMAIN);
        writer.text(&self.key).u64(self.next).u8(u8::from(self.heard.is_some()));
        if let Some(Heard { state, left, at }) = &self.heard {
            writer.text(state).i128(*left).u64(at.0);
        }
        writer.count(self.items.len());
        for Item { signed, at, state } in &self.items {
            let state = state.as_ref().map(IntentState::to_bytes).unwrap_or_default();
            writer.bytes(&signed.to_bytes()).u64(at.0).bytes(&state);
        }
        let mut bytes = zeroize::Zeroizing::new(writer.finish());
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        bytes
    }

    /// Reads the record. One whose hash differs is none: its numbers cannot be trusted.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, CanonicalError> {
        let (record, hash) = bytes.split_last_chunk::<32>().ok_or(CanonicalError::CutShort)?;
        if blake3::hash(record) != *hash {
            return Err(CanonicalError::BadValue("hash"));
        }
        Self::from_record(record)
    }

    /// Reads the record without its hash.
    pub(crate) fn from_record(record: &[u8]) -> Result<Self, CanonicalError> {
        let mut reader = Reader::new(record, DOMAIN)?;
        let key = zeroize::Zeroizing::new(reader.text()?.to_owned());
        let public = NodeKey::from_pem(&key).map_err(|_| CanonicalError::BadValue("key"))?.public_key();
        let next = reader.u64()?;
        let heard = match reader.u8()? {
            0 => None,
            1 => Some(Heard { state: reader.text()?.to_owned(), left: reader.i128()?, at: WallTime(reader.u64()?) }),
            _ => return Err(CanonicalError::BadValue("flag")),
        };
        let count = reader.count(16)?;
        let mut items: VecDeque<Item> = VecDeque::new();
        for _ in 0..count {
            let (signed, at, state) = (SignedIntent::from_bytes(reader.bytes()?)?, reader.u64()?, reader.bytes()?);
            let state = if state.is_empty() { None } else { Some(IntentState::from_bytes(state)?) };
            let after = items.back().map_or(0, |last| last.signed.intent.sequence);
            if !(after + 1..next).contains(&signed.intent.sequence) || signed.intent.device != DeviceId::of(&public) {
                return Err(CanonicalError::BadValue("sequence"));
            }
            items.push_back(Item { signed, at: WallTime(at), state });
        }
        reader.finish()?;
        Ok(Self { key, public, next, heard, items })
    }
}

impl std::fmt::Debug for Outbox {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Outbox");
        shown.field("device", &self.device()).field("next", &self.next).field("heard", &self.heard);
        shown.field("items", &self.items).finish_non_exhaustive()
    }
}

/// Whether two wishes are known by the same id. There is one close.
fn same_id(before: &Wish, now: &Wish) -> bool {
    match (before, now) {
        (Wish::Pay { id: before, .. }, Wish::Pay { id: now, .. }) => before == now,
        (Wish::Close { .. }, Wish::Close { .. }) => true,
        (Wish::Pay { .. } | Wish::Close { .. }, _) => false,
    }
}

/// Whether two wishes with one id ask for the same. The period is the tower's choice, and a year may have turned.
fn asks_the_same(before: &Wish, now: &Wish) -> bool {
    let asked = |wish: &Wish| match *wish {
        Wish::Pay { to, amount, tags, .. } => Some((to, amount, tags)),
        Wish::Close { .. } => None,
    };
    asked(before) == asked(now)
}

fn refused(what: &str) -> LedgerError {
    LedgerError::new(LedgerErrorKind::Refused, format!("{what}; nothing was signed"))
}

fn shown(item: &Item, name: impl Fn(AccountId) -> String) -> IntentView {
    let (id, to, amount): (Option<TransferId>, _, _) = match item.signed.intent.wish {
        Wish::Pay { id, to, amount, .. } => (Some(id), Some(name(to)), Some(amount_text(amount, Asset::USD))),
        Wish::Close { .. } => (None, None, None),
    };
    let (state, said) = match &item.state {
        None => ("accepted", None),
        Some(IntentState::Waiting) => ("waiting", Some("intents before it are missing".to_owned())),
        Some(IntentState::Applied { transfer }) => {
            ("applied", transfer.map(|number| format!("booked as number {number}")))
        }
        Some(IntentState::Rejected(refusal)) => ("rejected", Some(order::words(refusal))),
        Some(IntentState::Inbox(entry)) => ("inbox", Some(format!("a person decides on the entry {entry}"))),
    };
    let (sequence, state) = (item.signed.intent.sequence, state.to_owned());
    IntentView { sequence, id, to, amount, state, said, at: item.at }
}

/// Records for the fuzzer, without their hashes.
pub(crate) fn outbox_seeds(key: &NodeKey) -> Vec<Vec<u8>> {
    let mut outbox = Outbox::begin(key);
    let empty = outbox.to_bytes();
    outbox.heard(Heard { state: "open".to_owned(), left: 1000, at: WallTime(5) });
    for (id, state) in (1..).zip([
        None,
        Some(IntentState::Applied { transfer: Some(7) }),
        Some(IntentState::Rejected(Refusal::AmountZero)),
        Some(IntentState::Inbox(3)),
    ]) {
        let period = covenant_book::Period(2026);
        let tags = covenant_book::Tags::default();
        let wish = Wish::Pay { id: TransferId(id), to: AccountId(9), amount: 5, tags, period };
        if let (Ok(_), Some(state)) = (outbox.accept(wish, WallTime(6)), state) {
            let intent = outbox.items.back().map(|item| item.signed.intent);
            intent.iter().for_each(|intent| outbox.told(intent, state.clone()));
        }
    }
    [empty, outbox.to_bytes()].map(|bytes| bytes[..bytes.len() - 32].to_vec()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use covenant_book::{Period, Tags};

    fn pay(id: u128, amount: i128) -> Wish {
        Wish::Pay { id: TransferId(id), to: AccountId(9), amount, tags: Tags::default(), period: Period(2026) }
    }

    fn open(left: i128) -> Outbox {
        let mut outbox = Outbox::begin(&NodeKey::generate());
        outbox.heard(Heard { state: "open".to_owned(), left, at: WallTime(5) });
        outbox
    }

    /// As another process finds it.
    fn again(outbox: &Outbox) -> Outbox {
        let read = Outbox::from_bytes(&outbox.to_bytes()).unwrap();
        assert_eq!(&read, outbox);
        read
    }

    #[test]
    fn a_number_is_used_once_and_an_id_is_signed_once_whatever_is_restarted() {
        let mut outbox = open(100);
        assert_eq!(outbox.accept(pay(7, 10), WallTime(1)), Ok((1, false)));
        let mut outbox = again(&outbox);
        assert_eq!(outbox.accept(pay(7, 10), WallTime(2)), Ok((1, true)));
        assert_eq!(outbox.accept(pay(7, 11), WallTime(2)).unwrap_err().kind, LedgerErrorKind::Conflict);
        assert_eq!(outbox.accept(pay(8, 10), WallTime(2)), Ok((2, false)));
        let sent = again(&outbox).unsent();
        assert_eq!(sent.iter().map(|signed| signed.intent.sequence).collect::<Vec<_>>(), [1, 2]);
        assert!(sent.iter().all(|signed| signed.is_signed_by(&outbox.public)));
        outbox.told(&sent[0].intent, IntentState::Applied { transfer: Some(3) });
        outbox.told(&sent[0].intent, IntentState::Waiting);
        let outbox = again(&outbox);
        assert_eq!(outbox.unsent(), sent[1..], "what is settled stays so");
    }

    #[test]
    fn nothing_is_signed_that_the_allowance_as_last_heard_of_does_not_bear() {
        let mut outbox = Outbox::begin(&NodeKey::generate());
        let unknown = outbox.accept(pay(1, 1), WallTime(1)).unwrap_err();
        assert!(unknown.message.contains(&hex(&outbox.public)), "{unknown}");
        let mut outbox = open(100);
        outbox.accept(pay(1, 60), WallTime(1)).unwrap();
        let short = outbox.accept(pay(2, 41), WallTime(1)).unwrap_err();
        assert_eq!(short.kind, LedgerErrorKind::Refused);
        assert!(short.message.contains("0.41 is more than the 0.40"), "{short}");
        let first = outbox.unsent()[0].intent;
        outbox.told(&first, IntentState::Applied { transfer: Some(3) });
        assert_eq!(outbox.available(), Some(40), "it counts before and after it is settled");
        outbox.accept(pay(2, 40), WallTime(1)).unwrap();
        let closed = Wish::Close { period: Period(2026) };
        assert_eq!(outbox.accept(closed, WallTime(1)), Ok((3, false)));
        assert_eq!(outbox.accept(closed, WallTime(1)), Ok((3, true)));
        assert!(outbox.accept(pay(4, 1), WallTime(1)).is_err());
        let mut outbox = open(100);
        outbox.heard(Heard { state: "quarantined".to_owned(), left: 100, at: WallTime(5) });
        assert!(outbox.accept(pay(1, 1), WallTime(1)).unwrap_err().message.contains("quarantined"));
    }

    #[test]
    fn the_box_is_bounded_and_forgets_what_is_settled_first() {
        let mut outbox = open(i128::from(u32::MAX));
        for id in 0..UNSETTLED_MAX as u128 {
            outbox.accept(pay(id + 1, 1), WallTime(1)).unwrap();
        }
        assert!(outbox.accept(pay(9999, 1), WallTime(1)).unwrap_err().message.contains("no more"));
        let all: Vec<Intent> = outbox.items.iter().map(|item| item.signed.intent).collect();
        assert_eq!(outbox.unsent().len(), INTENTS_MAX);
        for intent in &all[..900] {
            outbox.told(intent, IntentState::Applied { transfer: None });
        }
        assert_eq!(outbox.items.len(), SETTLED_KEPT + 100);
        assert_eq!(outbox.accept(pay(9999, 1), WallTime(1)), Ok((1001, false)));
        assert!(!again(&outbox).is_settled());
    }

    #[test]
    fn a_record_that_was_changed_or_cut_is_none() {
        let mut outbox = open(100);
        outbox.accept(pay(7, 10), WallTime(1)).unwrap();
        let bytes = outbox.to_bytes();
        assert!((0..bytes.len()).all(|length| Outbox::from_bytes(&bytes[..length]).is_err()));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Outbox::from_bytes(&changed).is_err(), "byte {at}");
        }
        for seed in outbox_seeds(&NodeKey::generate()) {
            assert!(Outbox::from_record(&seed).is_ok());
        }
    }
}
