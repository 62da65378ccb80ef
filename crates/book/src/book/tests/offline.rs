//! What the book promises of towers that nobody hears.

use ed25519_dalek::{Signer, SigningKey};

use super::*;

/// A device, by its key.
pub(super) struct Device(SigningKey);

impl Device {
    pub(super) fn new(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }

    pub(super) fn key(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    pub(super) fn id(&self) -> DeviceId {
        DeviceId::of(&self.key())
    }

    pub(super) fn account(&self) -> AccountId {
        Purpose::Allowance(self.id()).account().unwrap()
    }

    pub(super) fn sign(&self, intent: Intent) -> SignedIntent {
        SignedIntent { intent, signature: self.0.sign(&intent.to_bytes()).to_bytes() }
    }

    /// Pays into the account 2, under an id that follows from what is paid.
    pub(super) fn pay(&self, sequence: u64, amount: i128) -> SignedIntent {
        let id = TransferId(u128::from(sequence) << 64 | amount.unsigned_abs() << 8 | self.id().0 & 0xff);
        let wish = Wish::Pay { id, to: AccountId(2), amount, tags: Tags::default(), period: YEAR };
        self.sign(Intent { device: self.id(), sequence, wish })
    }

    pub(super) fn close(&self, sequence: u64) -> SignedIntent {
        self.sign(Intent { device: self.id(), sequence, wish: Wish::Close { period: YEAR } })
    }

    pub(super) fn allowance(&self, id: u128, amount: i128) -> AllowanceOrder {
        AllowanceOrder { key: self.key(), id: TransferId(id), from: AccountId(1), amount, period: YEAR }
    }
}

impl super::Desk {
    fn come(&mut self, intents: &[SignedIntent]) -> Vec<Result<IntentState, Refusal>> {
        let outcome = self.apply(Order::Intents(intents.to_vec()));
        let Outcome::Intents(answers) = outcome else { panic!("{outcome:?}") };
        answers
    }

    fn left(&self, device: &Device) -> i128 {
        self.book.account(device.account()).unwrap().unwrap().balances.posted()
    }

    fn state(&self, device: &Device) -> AllowanceState {
        self.book.allowance(device.id()).unwrap().unwrap().state
    }

    fn resolve(&mut self, entry: u64, decision: Decision) -> Outcome {
        self.apply(Order::Resolve { entry, decision, reason: "asked the village".to_owned(), period: Period(2027) })
    }
}

/// A book with an allowance of 100, which the account 1 filled.
fn offline() -> (super::Desk, Device) {
    let (mut desk, device) = (desk(), Device::new(7));
    let opened = desk.apply(Order::OpenAllowance(device.allowance(1, 100)));
    assert_eq!(opened, Outcome::AllowanceOpened { account: device.account(), transfer: 0, again: false });
    (desk, device)
}

fn applied(transfer: u64) -> Result<IntentState, Refusal> {
    Ok(IntentState::Applied { transfer: Some(transfer) })
}

#[test]
fn intents_are_applied_in_sequence_once_whatever_order_they_come_in() {
    let (mut desk, device) = offline();
    let [one, two, three] = [device.pay(1, 10), device.pay(2, 20), device.pay(3, 30)];
    assert_eq!(desk.come(&[three, two]), [Ok(IntentState::Waiting), Ok(IntentState::Waiting)]);
    assert_eq!((desk.posted(2), desk.left(&device)), (0, 100));
    assert_eq!(desk.book.allowance(device.id()).unwrap().unwrap().waiting, 2);
    assert_eq!(desk.come(&[one]), [applied(1)]);
    assert_eq!((desk.posted(2), desk.left(&device)), (60, 40));
    // They all come again, as after an answer that was lost.
    assert_eq!(desk.come(&[one, two, three]), [applied(1), applied(2), applied(3)]);
    assert_eq!((desk.posted(2), desk.posted(1), desk.left(&device)), (60, -100, 40));
    desk.check();
}

#[test]
fn more_than_the_allowance_is_rejected_for_ever_and_what_follows_is_not_held_up() {
    let (mut desk, device) = offline();
    let (much, little) = (device.pay(1, 101), device.pay(2, 100));
    let rejected = Ok(IntentState::Rejected(Refusal::Short { account: device.account(), by: 1 }));
    assert_eq!(desk.come(&[much, little]), [rejected.clone(), applied(1)]);
    // Filled up afterwards it stays rejected: its record is the answer.
    desk.booked(Action::Post(Movement { credit: device.account(), ..movement(1, 2, 500) }));
    assert_eq!(desk.come(&[much]), [rejected]);
    assert_eq!((desk.posted(2), desk.left(&device)), (100, 500));
    desk.check();
}

#[test]
fn only_its_device_spends_from_an_allowance() {
    let (mut desk, device) = offline();
    let account = device.account();
    let only = Refusal::AllowanceOnly(account);
    assert_eq!(desk.refusal(Action::Post(Movement { debit: account, ..movement(1, 2, 5) })), only);
    let pend = Movement { credit: account, ..movement(1, 2, 5) };
    assert_eq!(desk.refusal(Action::Pend { movement: pend, expires_after: None }), only);
    assert_eq!(desk.refusal(Action::Correct { of: TransferId(1), amount: None }), only);
    let other = Device::new(8);
    let forged = SignedIntent { signature: other.pay(1, 5).signature, ..device.pay(1, 5) };
    assert_eq!(desk.come(&[forged]), [Err(Refusal::BadSignature(device.id()))]);
    assert_eq!(desk.come(&[other.pay(1, 5)]), [Err(Refusal::UnknownDevice(other.id()))]);
    assert_eq!(desk.come(&[device.pay(0, 5)]), [Err(Refusal::BadSequence)]);
    let ahead = Refusal::TooFarAhead { next: 1, asked: WAITING_MAX + 1 };
    assert_eq!(desk.come(&[device.pay(WAITING_MAX + 1, 5), device.pay(1, 5)]), [Err(ahead), applied(1)]);
    let mut order = other.allowance(9, 5);
    order.from = account;
    assert_eq!(desk.apply(Order::OpenAllowance(order)), Outcome::Refused(only));
    let weak = AllowanceOrder { key: [0; 32], ..order };
    assert_eq!(desk.apply(Order::OpenAllowance(weak)), Outcome::Refused(Refusal::BadDevice));
    let many = vec![device.pay(2, 5); INTENTS_MAX + 1];
    let too_many = Refusal::IntentsTooMany(INTENTS_MAX as u64 + 1);
    assert_eq!(desk.apply(Order::Intents(many)), Outcome::Refused(too_many));
    desk.check();
}

#[test]
fn an_allowance_is_opened_once() {
    let (mut desk, device) = offline();
    let again = Outcome::AllowanceOpened { account: device.account(), transfer: 0, again: true };
    assert_eq!(desk.apply(Order::OpenAllowance(device.allowance(1, 100))), again);
    for order in [device.allowance(1, 99), device.allowance(2, 100)] {
        let refused = desk.apply(Order::OpenAllowance(order));
        assert!(matches!(refused, Outcome::Refused(Refusal::IdUsed(_))), "{refused:?}");
    }
    let poor = AllowanceOrder { from: AccountId(3), ..Device::new(8).allowance(3, 5) };
    let short = Outcome::Refused(Refusal::Short { account: AccountId(3), by: 5 });
    assert_eq!(desk.apply(Order::OpenAllowance(poor)), short);
    assert_eq!(desk.apply(Order::OpenAllowance(poor)), short, "an id has one answer");
    assert_eq!(desk.book.allowance(Device::new(8).id()).unwrap(), None);
    assert_eq!(desk.book.allowances(DeviceId(0), 10).unwrap().len(), 1);
    desk.check();
}

#[test]
fn two_intents_with_one_number_quarantine_the_device_and_a_person_decides() {
    let (mut desk, device) = offline();
    let twin = device.pay(1, 11);
    assert_eq!(desk.come(&[device.pay(1, 10), device.pay(3, 30)]), [applied(1), Ok(IntentState::Waiting)]);
    assert_eq!(desk.come(&[twin]), [Ok(IntentState::Inbox(2))]);
    assert_eq!(desk.state(&device), AllowanceState::Quarantined { sequence: 1 });
    // What waited is before a person, and so is all that comes later; nothing is entered twice.
    assert_eq!(desk.come(&[device.pay(2, 20), twin]), [Ok(IntentState::Inbox(3)), Ok(IntentState::Inbox(2))]);
    assert_eq!(desk.come(&[device.pay(1, 10), device.pay(3, 30)]), [applied(1), Ok(IntentState::Inbox(1))]);
    let whys: Vec<InboxReason> = desk.book.inbox(0, 10).unwrap().into_iter().map(|entry| entry.why).collect();
    assert_eq!(whys, [InboxReason::Quarantined, InboxReason::Equivocation, InboxReason::Quarantined]);

    let booked = Outcome::Resolved { state: applied(2).unwrap(), again: false };
    assert_eq!(desk.resolve(1, Decision::Book), booked);
    let again = Outcome::Resolved { state: applied(2).unwrap(), again: true };
    assert_eq!(desk.resolve(1, Decision::Book), again);
    assert_eq!(desk.resolve(1, Decision::Reject), Outcome::Refused(Refusal::ResolvedAlready(1)));
    let rejected = IntentState::Rejected(Refusal::RejectedByPerson("asked the village".to_owned()));
    assert_eq!(desk.resolve(2, Decision::Reject), Outcome::Resolved { state: rejected.clone(), again: false });
    assert_eq!(desk.come(&[twin, device.pay(3, 30)]), [Ok(rejected), applied(2)]);
    assert_eq!(desk.resolve(9, Decision::Book), Outcome::Refused(Refusal::UnknownEntry(9)));
    assert_eq!((desk.posted(2), desk.left(&device)), (40, 60));
    desk.check();
}

#[test]
fn two_that_wait_with_one_number_are_both_kept_as_evidence() {
    let (mut desk, device) = offline();
    let answers = desk.come(&[device.pay(2, 20), device.pay(2, 21), device.pay(1, 10)]);
    assert_eq!(answers, [Ok(IntentState::Waiting), Ok(IntentState::Inbox(2)), Ok(IntentState::Inbox(3))]);
    let inbox = desk.book.inbox(1, 10).unwrap();
    assert!(inbox[..2].iter().all(|entry| entry.why == InboxReason::Equivocation), "{inbox:?}");
    assert_eq!([inbox[0].signed, inbox[1].signed], [device.pay(2, 20), device.pay(2, 21)]);
    assert_eq!(desk.posted(2), 0);
    desk.check();
}

#[test]
fn a_closing_statement_ends_the_allowance_after_all_before_it() {
    let (mut desk, device) = offline();
    assert_eq!(desk.come(&[device.close(2), device.pay(3, 5)]), [Ok(IntentState::Waiting), Ok(IntentState::Waiting)]);
    assert_eq!(desk.come(&[device.pay(1, 10)]), [applied(1)]);
    assert_eq!(desk.state(&device), AllowanceState::Closed { returned: 90 });
    assert_eq!((desk.posted(1), desk.posted(2), desk.left(&device)), (-10, 10, 0));
    assert_eq!(desk.come(&[device.close(2)]), [applied(2)]);
    // What was signed behind the last one is a person's business, and is paid by whoever had filled the allowance.
    assert_eq!(desk.come(&[device.pay(3, 5)]), [Ok(IntentState::Inbox(1))]);
    assert_eq!(desk.resolve(1, Decision::Book), Outcome::Resolved { state: applied(3).unwrap(), again: false });
    assert_eq!((desk.posted(1), desk.posted(2)), (-15, 15));
    let ended = Refusal::AllowanceEnded(device.id());
    assert_eq!(desk.refusal(Action::Post(Movement { credit: device.account(), ..movement(1, 2, 5) })), ended);
    let paid = desk.book.transfer(1).unwrap().unwrap().id;
    assert_eq!(desk.refusal(Action::Correct { of: paid, amount: None }), ended);
    let write_off = Order::WriteOff { device: device.id(), reason: "lost".to_owned(), period: YEAR };
    assert_eq!(desk.apply(write_off), Outcome::Refused(ended));
    desk.check();
}

#[test]
fn what_comes_after_a_write_off_needs_a_person() {
    let (mut desk, device) = offline();
    desk.come(&[device.pay(1, 10), device.pay(3, 30)]);
    let write_off = |reason: &str| Order::WriteOff { device: device.id(), reason: reason.to_owned(), period: YEAR };
    for bad in ["", " \n", &"x".repeat(REASON_BYTES_MAX + 1)] {
        assert_eq!(desk.apply(write_off(bad)), Outcome::Refused(Refusal::BadReason));
    }
    assert_eq!(desk.apply(write_off("burnt")), Outcome::WrittenOff { returned: 90, again: false });
    assert_eq!(desk.apply(write_off("burnt")), Outcome::WrittenOff { returned: 90, again: true });
    assert_eq!(
        desk.come(&[device.pay(2, 20), device.pay(3, 30)]),
        [Ok(IntentState::Inbox(2)), Ok(IntentState::Inbox(1))]
    );
    assert_eq!(desk.come(&[device.close(4)]), [Ok(IntentState::Inbox(3))]);
    assert_eq!(desk.resolve(3, Decision::Book), Outcome::Refused(Refusal::NothingToBook(3)));
    assert!(matches!(desk.resolve(3, Decision::Reject), Outcome::Resolved { again: false, .. }));
    assert_eq!((desk.posted(1), desk.left(&device)), (-10, 0));
    desk.check();
}

#[test]
fn a_closed_period_and_an_unknown_account_are_for_a_person_and_hold_nothing_up() {
    let (mut desk, device) = offline();
    desk.apply(Order::Close { through: Period(2025) });
    let signed = |sequence, to, period| {
        let id = TransferId(u128::from(sequence) + 70);
        let wish = Wish::Pay { id, to: AccountId(to), amount: 5, tags: Tags::default(), period: Period(period) };
        device.sign(Intent { device: device.id(), sequence, wish })
    };
    let answers = desk.come(&[signed(1, 2, 2025), signed(2, 99, 2026), signed(3, 5, 2026), device.pay(4, 5)]);
    let differ = Refusal::AssetsDiffer { debit: Asset::USD, credit: EUR() };
    let inbox = |entry| Ok(IntentState::Inbox(entry));
    assert_eq!(answers, [inbox(1), inbox(2), Ok(IntentState::Rejected(differ)), applied(1)]);
    assert_eq!(desk.resolve(1, Decision::Book), Outcome::Resolved { state: applied(2).unwrap(), again: false });
    assert_eq!(desk.book.transfer(2).unwrap().unwrap().period, Period(2027));
    let unknown = Outcome::Refused(Refusal::UnknownAccount(AccountId(99)));
    assert_eq!(desk.resolve(2, Decision::Book), unknown);
    desk.apply(Order::Open(vec![AccountOrder { id: AccountId(99), asset: Asset::USD, limit: Limit::None }]));
    assert_eq!(desk.resolve(2, Decision::Book), Outcome::Resolved { state: applied(3).unwrap(), again: false });
    desk.check();
}

#[test]
fn an_id_that_was_used_books_nothing_more() {
    let (mut desk, device) = offline();
    let (first, second) = (device.pay(1, 10), device.pay(2, 20));
    let Wish::Pay { id, .. } = first.intent.wish else { unreachable!("it pays") };
    let Wish::Pay { to, amount, tags, period, .. } = second.intent.wish else { unreachable!("it pays") };
    let again = device.sign(Intent { wish: Wish::Pay { id, to, amount, tags, period }, ..second.intent });
    let answers = desk.come(&[first, again]);
    assert!(matches!(&answers[1], Ok(IntentState::Rejected(Refusal::IdUsed(_)))), "{answers:?}");
    assert_eq!(desk.posted(2), 10);
    desk.check();
}

#[test]
fn a_full_inbox_keeps_nothing_and_goes_on_when_there_is_room() {
    let (mut desk, device) = offline();
    desk.apply(Order::Close { through: Period(2025) });
    let late = |sequence: u64| {
        let wish = Wish::Pay {
            id: TransferId(u128::from(sequence) + 1000),
            to: AccountId(2),
            amount: 1,
            tags: Tags::default(),
            period: Period(2025),
        };
        device.sign(Intent { device: device.id(), sequence, wish })
    };
    // As full as it gets, without signing so many.
    let mut allowance = desk.book.allowance(device.id()).unwrap().unwrap();
    desk.come(&[late(1)]);
    allowance.in_inbox = INBOX_MAX;
    allowance.next = 2;
    let key = Key::offline(crate::records::Offline::Allowance(device.id()));
    desk.book.store_mut().set(Table::Offline, key.as_bytes(), Some(&allowance.to_record())).unwrap();
    let full = Err(Refusal::InboxFull(device.id()));
    assert_eq!(desk.come(&[late(2), late(3)]), [full, Ok(IntentState::Waiting)]);
    assert!(matches!(desk.resolve(1, Decision::Reject), Outcome::Resolved { again: false, .. }));
    assert_eq!(desk.come(&[late(2)]), [Ok(IntentState::Inbox(2))]);
    assert_eq!(desk.come(&[late(3)]), [Ok(IntentState::Waiting)], "the inbox is full again");
    desk.resolve(2, Decision::Reject);
    assert_eq!(desk.come(&[late(3)]), [Ok(IntentState::Inbox(3))]);
}

#[test]
fn a_changed_signature_or_record_is_found() {
    let (mut desk, device) = offline();
    desk.come(&[device.pay(1, 10), device.pay(3, 30), device.pay(1, 11)]);
    desk.check();
    let rows = desk.book.store().rows(Table::Offline, &[], &[u8::MAX; 60], 100).unwrap();
    assert!(rows.len() > 6, "{}", rows.len());
    for (key, value) in rows {
        let mut store = desk.book.store().clone();
        let mut changed = value.clone();
        match changed.last_mut() {
            Some(last) => *last ^= 1,
            None => changed.push(1),
        }
        store.set(Table::Offline, &key, Some(&changed)).unwrap();
        let found = Book::open(store).unwrap().check();
        assert!(found.is_err() || !found.unwrap().problems.is_empty(), "{key:?}");
    }
    assert_eq!("7".parse::<DeviceId>(), Err(DeviceError));
    assert_eq!(device.id().to_string().parse(), Ok(device.id()));
    let golden: String = device.pay(1, 10).intent.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let domain = "00000011636f76656e616e742f696e74656e742f31";
    let (id, amount) = (device.id(), "0000000000000000000000000000000a");
    let tail = format!("{:032x}{:032x}{amount}00000007ea", (1u128 << 64) | 10 << 8 | id.0 & 0xff, 2);
    assert_eq!(golden, format!("{domain}{id}000000000000000101{tail}"), "what is signed never changes");
}
