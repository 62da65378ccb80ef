//! What the book promises, one promise a test. The model says the same of commands that nobody thought of.

mod covenant;
mod model;
mod offline;
mod offline_model;

use covenant_types::TransferId;

use super::*;
use crate::*;

/// A book, and a client who counts ids.
struct Desk {
    book: Book<MemoryStore>,
    at: u64,
    next_id: u128,
}

const YEAR: Period = Period(2026);
const EUR: fn() -> Asset = || Asset { code: "EUR".parse().unwrap(), scale: 2 };

/// Accounts 1 and 2 without limits, 3 that spends what it has, 4 that takes back what it gave, 5 in euros.
fn desk() -> Desk {
    let mut desk = Desk { book: Book::open(MemoryStore::default()).unwrap(), at: 1000, next_id: 100 };
    let limits = [Limit::None, Limit::None, Limit::DebitsWithinCredits, Limit::CreditsWithinDebits];
    let mut orders: Vec<AccountOrder> =
        (1..).zip(limits).map(|(id, limit)| AccountOrder { id: AccountId(id), asset: Asset::USD, limit }).collect();
    orders.push(AccountOrder { id: AccountId(5), asset: EUR(), limit: Limit::None });
    let answers = desk.answers(Order::Open(orders));
    assert!(answers.iter().all(|answer| answer.result == Ok(1)), "{answers:?}");
    desk
}

fn movement(debit: u128, credit: u128, amount: i128) -> Movement {
    Movement { debit: AccountId(debit), credit: AccountId(credit), amount, tags: Tags::default() }
}

impl Desk {
    fn apply(&mut self, order: Order) -> Outcome {
        let command = Command { at: WallTime(self.at), order };
        assert_eq!(Command::from_bytes(&command.to_bytes()), Ok(command.clone()));
        let outcome = self.book.apply(&command).unwrap();
        assert_eq!(Outcome::from_bytes(&outcome.to_bytes()), Ok(outcome.clone()));
        outcome
    }

    fn answers(&mut self, order: Order) -> Vec<Answer> {
        let outcome = self.apply(order);
        let Outcome::Answers(answers) = outcome else { panic!("{outcome:?}") };
        answers
    }

    fn batch(&mut self, transfers: Vec<NewTransfer>, whole: bool) -> Vec<Result<u64, Refusal>> {
        self.answers(Order::Transfer { transfers, whole }).into_iter().map(|answer| answer.result).collect()
    }

    fn transfer(&mut self, action: Action) -> NewTransfer {
        self.next_id += 1;
        NewTransfer { id: TransferId(self.next_id), action, period: YEAR, linked: false }
    }

    /// Asks for one transfer with a new id.
    fn ask(&mut self, action: Action) -> (TransferId, Result<u64, Refusal>) {
        let new = self.transfer(action);
        (new.id, self.batch(vec![new], false).remove(0))
    }

    fn refusal(&mut self, action: Action) -> Refusal {
        let before = self.balances();
        let refusal = self.ask(action).1.unwrap_err();
        assert_eq!(self.balances(), before, "a refusal changes no balance");
        refusal
    }

    /// Asks for one transfer that is booked.
    fn booked(&mut self, action: Action) -> TransferId {
        let (id, result) = self.ask(action);
        assert!(result.is_ok(), "{result:?}");
        id
    }

    fn balances(&self) -> Vec<Balances> {
        self.book.accounts(AccountId(0), 1000).unwrap().iter().map(|account| account.balances).collect()
    }

    fn posted(&self, id: u128) -> i128 {
        self.book.account(AccountId(id)).unwrap().unwrap().balances.posted()
    }

    fn available(&self, id: u128) -> i128 {
        self.book.account(AccountId(id)).unwrap().unwrap().balances.available()
    }

    fn check(&self) {
        assert_eq!(self.book.check().unwrap().problems, Vec::<String>::new());
    }
}

#[test]
fn amounts_that_move_nothing_or_backwards_are_refused() {
    let mut desk = desk();
    assert_eq!(desk.refusal(Action::Post(movement(1, 2, 0))), Refusal::AmountZero);
    assert_eq!(desk.refusal(Action::Post(movement(1, 2, -5))), Refusal::AmountNegative(-5));
    assert_eq!(desk.refusal(Action::Post(movement(1, 2, i128::MIN))), Refusal::AmountNegative(i128::MIN));
    let pending = desk.booked(Action::Pend { movement: movement(1, 2, 9), expires_after: None });
    assert_eq!(desk.refusal(Action::PostPending { pending, amount: Some(0) }), Refusal::AmountZero);
    let said = desk.refusal(Action::PostPending { pending, amount: Some(-1) }).to_string();
    assert_eq!(said, "an amount is above zero, and this is -1: turn debit and credit round");
    desk.check();
}

#[test]
fn accounts_that_do_not_fit_are_refused() {
    let mut desk = desk();
    assert_eq!(desk.refusal(Action::Post(movement(2, 2, 5))), Refusal::SameAccount(AccountId(2)));
    assert_eq!(desk.refusal(Action::Post(movement(9, 2, 5))), Refusal::UnknownAccount(AccountId(9)));
    assert_eq!(desk.refusal(Action::Post(movement(1, 9, 5))), Refusal::UnknownAccount(AccountId(9)));
    let differ = Refusal::AssetsDiffer { debit: Asset::USD, credit: EUR() };
    assert_eq!(desk.refusal(Action::Post(movement(1, 5, 5))), differ);
    assert_eq!(differ.to_string(), "USD/2 cannot move into an account of EUR/2");
    desk.check();
}

#[test]
fn what_would_not_fit_is_refused_and_never_wraps() {
    let mut desk = desk();
    desk.booked(Action::Post(movement(1, 2, i128::MAX)));
    assert_eq!(desk.refusal(Action::Post(movement(1, 3, 1))), Refusal::Overflow { account: AccountId(1) });
    assert_eq!(desk.refusal(Action::Post(movement(3, 2, 1))), Refusal::Short { account: AccountId(3), by: 1 });
    let pend = Action::Pend { movement: movement(1, 3, 1), expires_after: None };
    assert_eq!(desk.refusal(pend), Refusal::Overflow { account: AccountId(1) });
    let over = desk.refusal(Action::Post(movement(2, 1, 1)));
    assert_eq!(over.to_string(), "what is added up over 2026 in USD/2 would be more than can be counted");
    desk.check();
}

#[test]
fn limits_hold_for_what_is_pending_too() {
    let mut desk = desk();
    desk.booked(Action::Post(movement(1, 3, 100)));
    let pending = desk.booked(Action::Pend { movement: movement(3, 1, 70), expires_after: None });
    assert_eq!((desk.posted(3), desk.available(3)), (100, 30));
    let short = desk.refusal(Action::Post(movement(3, 1, 31)));
    assert_eq!(short, Refusal::Short { account: AccountId(3), by: 1 });
    assert!(short.to_string().ends_with("holds 1 too little: move less, or fill it first"));
    desk.booked(Action::VoidPending { pending });
    desk.booked(Action::Post(movement(3, 1, 100)));
    assert_eq!(desk.refusal(Action::Post(movement(1, 4, 1))), Refusal::Over { account: AccountId(4), by: 1 });
    desk.booked(Action::Post(movement(4, 1, 10)));
    desk.booked(Action::Pend { movement: movement(1, 4, 10), expires_after: None });
    assert_eq!(desk.refusal(Action::Post(movement(1, 4, 1))), Refusal::Over { account: AccountId(4), by: 1 });
    desk.check();
}

#[test]
fn an_id_gets_one_answer_for_ever_and_another_content_is_named() {
    let mut desk = desk();
    let first = NewTransfer { ..desk.transfer(Action::Post(movement(1, 2, 5))) };
    assert_eq!(desk.batch(vec![first, first], false), [Ok(0), Ok(0)]);
    let again = desk.answers(Order::Transfer { transfers: vec![first], whole: true });
    assert_eq!(again, [Answer { result: Ok(0), again: true }]);
    assert_eq!(desk.posted(2), 5);

    let tags = Tags { sector: Some(Sector::Health), ..Tags::default() };
    let others = [
        (Action::Post(movement(1, 2, 6)), YEAR, "the amount is 5 in the book and 6 in this request"),
        (Action::Post(movement(1, 3, 5)), YEAR, "the credit account is 0000"),
        (Action::Post(movement(3, 2, 5)), YEAR, "the debit account is 0000"),
        (Action::Post(movement(1, 2, 5)), Period(2027), "the period is 2026 in the book and 2027"),
        (Action::Post(Movement { tags, ..movement(1, 2, 5) }), YEAR, "the sector is not said in the book and health"),
        (Action::VoidPending { pending: first.id }, YEAR, "the action is post in the book and void in this request"),
    ];
    for (action, period, difference) in others {
        let refusal = desk.batch(vec![NewTransfer { action, period, ..first }], false).remove(0).unwrap_err();
        assert!(matches!(refusal, Refusal::IdUsed(_)), "{refusal:?}");
        assert!(refusal.to_string().contains(difference), "{refusal}");
    }
    assert_eq!(desk.batch(vec![first], false), [Ok(0)]);

    // A refusal is an answer too: what made it impossible may be gone, the answer stays.
    let poor = desk.transfer(Action::Post(movement(3, 1, 50)));
    let short = Err(Refusal::Short { account: AccountId(3), by: 50 });
    assert_eq!(desk.batch(vec![poor], false), std::slice::from_ref(&short));
    desk.booked(Action::Post(movement(1, 3, 50)));
    assert_eq!(
        desk.answers(Order::Transfer { transfers: vec![poor], whole: false }),
        [Answer { result: short, again: true }]
    );
    desk.check();
}

#[test]
fn ids_that_clients_may_not_make_are_refused() {
    let mut desk = desk();
    for (id, refusal) in [(0, Refusal::IdZero), (u128::MAX, Refusal::IdReserved)] {
        let new = NewTransfer { id: TransferId(id), ..desk.transfer(Action::Post(movement(1, 2, 5))) };
        assert_eq!(desk.batch(vec![new], false), [Err(refusal.clone())]);
        let account = AccountOrder { id: AccountId(id), asset: Asset::USD, limit: Limit::None };
        assert_eq!(desk.answers(Order::Open(vec![account]))[0].result, Err(refusal));
    }
    desk.check();
}

#[test]
fn an_account_is_opened_once_and_another_content_is_named() {
    let mut desk = desk();
    let open = |limit, asset| Order::Open(vec![AccountOrder { id: AccountId(3), asset, limit }]);
    let again = desk.answers(open(Limit::DebitsWithinCredits, Asset::USD));
    assert_eq!(again, [Answer { result: Ok(1), again: true }]);
    let limit = desk.answers(open(Limit::None, Asset::USD)).remove(0).result.unwrap_err();
    assert!(limit.to_string().contains("the limit is DebitsWithinCredits in the book and None"), "{limit}");
    let asset = desk.answers(open(Limit::DebitsWithinCredits, EUR())).remove(0).result.unwrap_err();
    assert!(asset.to_string().contains("the asset is USD/2 in the book and EUR/2"), "{asset}");
    let fine = Asset { scale: 19, ..Asset::USD };
    let order = AccountOrder { id: AccountId(77), asset: fine, limit: Limit::None };
    assert_eq!(desk.answers(Order::Open(vec![order]))[0].result, Err(Refusal::BadScale(19)));
}

#[test]
fn what_is_pending_is_posted_in_part_or_whole_and_once() {
    let mut desk = desk();
    let pend = Action::Pend { movement: movement(1, 2, 50), expires_after: None };
    let pending = desk.booked(pend);
    let more = Refusal::MoreThanLeft { of: pending, left: 50, asked: 51 };
    assert_eq!(desk.refusal(Action::PostPending { pending, amount: Some(51) }), more);
    let post = desk.booked(Action::PostPending { pending, amount: Some(20) });
    assert_eq!((desk.posted(2), desk.posted(1), desk.available(1)), (20, -20, -20));
    let resolved = Refusal::AlreadyResolved { pending, by: post };
    assert_eq!(desk.refusal(Action::PostPending { pending, amount: None }), resolved);
    assert_eq!(desk.refusal(Action::VoidPending { pending }), resolved);
    assert_eq!(desk.refusal(Action::VoidPending { pending: post }), Refusal::NotPending(post));
    let nobody = TransferId(7);
    assert_eq!(desk.refusal(Action::VoidPending { pending: nobody }), Refusal::UnknownTransfer(nobody));
    let pending = desk.booked(pend);
    desk.booked(Action::PostPending { pending, amount: None });
    assert_eq!(desk.posted(2), 70);
    desk.check();
}

#[test]
fn pending_transfers_expire_by_the_time_of_commands_and_never_go_back() {
    let mut desk = desk();
    let pend = |seconds| Action::Pend { movement: movement(1, 2, 10), expires_after: Some(seconds) };
    let (short, long) = (desk.booked(pend(60)), desk.booked(pend(600)));
    desk.at = 1059;
    assert_eq!(desk.apply(Order::Expire { most: 10 }), Outcome::Expired { ended: 0, more: false });
    desk.at = 1060;
    let over = Refusal::Expired { pending: short, at: WallTime(1060) };
    assert_eq!(desk.refusal(Action::PostPending { pending: short, amount: None }), over);
    // A clock that jumps back changes nothing.
    desk.at = 5;
    assert_eq!(desk.refusal(Action::PostPending { pending: short, amount: None }), over);
    assert_eq!(desk.book.head().at, WallTime(1060));
    let third = desk.booked(pend(0));
    assert_eq!(desk.apply(Order::Expire { most: 1 }), Outcome::Expired { ended: 1, more: true });
    assert_eq!(desk.apply(Order::Expire { most: u32::MAX }), Outcome::Expired { ended: 1, more: false });
    let ended = desk.refusal(Action::PostPending { pending: third, amount: None });
    assert!(matches!(ended, Refusal::AlreadyResolved { .. }), "{ended:?}");
    assert_eq!(desk.available(1), -10);
    desk.booked(Action::PostPending { pending: long, amount: None });
    desk.at = u64::MAX;
    assert_eq!(desk.apply(Order::Expire { most: 10 }), Outcome::Expired { ended: 0, more: false });
    desk.booked(pend(u32::MAX));
    desk.check();
}

#[test]
fn a_chain_is_booked_whole_or_not_at_all() {
    let mut desk = desk();
    let linked = |new: NewTransfer| NewTransfer { linked: true, ..new };
    let (a, b, c) = (
        desk.transfer(Action::Post(movement(1, 3, 5))),
        desk.transfer(Action::Post(movement(3, 2, 6))),
        desk.transfer(Action::Post(movement(1, 2, 7))),
    );
    let results = desk.batch(vec![linked(a), b, c], false);
    let broken = Err(Refusal::ChainBroken { culprit: b.id });
    assert_eq!(results, [broken.clone(), Err(Refusal::Short { account: AccountId(3), by: 1 }), Ok(0)]);
    assert_eq!((desk.posted(2), desk.posted(3)), (7, 0));
    // Asked again the answers are the same, one by one too.
    assert_eq!(desk.batch(vec![linked(a), b, c], false), results);
    assert_eq!(desk.batch(vec![a], false), [broken]);

    let (d, e) = (desk.transfer(Action::Post(movement(1, 3, 5))), desk.transfer(Action::Post(movement(3, 2, 5))));
    assert_eq!(desk.batch(vec![linked(d), e], false), [Ok(1), Ok(2)]);
    let f = desk.transfer(Action::Post(movement(1, 3, 5)));
    assert_eq!(desk.batch(vec![linked(f)], false), [Err(Refusal::ChainOpen)]);
    desk.check();
}

#[test]
fn a_batch_with_one_bad_entry_is_refused_alone_or_whole_as_asked() {
    let mut desk = desk();
    let batch = |desk: &mut Desk| -> Vec<NewTransfer> {
        [5, 0, 7].map(|amount| desk.transfer(Action::Post(movement(1, 2, amount)))).to_vec()
    };
    let alone = batch(&mut desk);
    assert_eq!(desk.batch(alone, false), [Ok(0), Err(Refusal::AmountZero), Ok(1)]);
    let whole = batch(&mut desk);
    let broken = || Err(Refusal::ChainBroken { culprit: whole[1].id });
    assert_eq!(desk.batch(whole.clone(), true), [broken(), Err(Refusal::AmountZero), broken()]);
    assert_eq!(desk.posted(2), 12);
    let long = vec![whole[0]; BATCH_MAX + 1];
    assert_eq!(
        desk.book
            .apply(&Command { at: WallTime(1), order: Order::Transfer { transfers: long, whole: false } })
            .unwrap(),
        Outcome::Refused(Refusal::BatchTooLong(BATCH_MAX as u64 + 1))
    );
    desk.check();
}

#[test]
fn a_closed_period_takes_nothing_more() {
    let mut desk = desk();
    let pending = desk.booked(Action::Pend { movement: movement(1, 2, 5), expires_after: Some(10) });
    let kept = desk.booked(Action::Pend { movement: movement(1, 2, 5), expires_after: None });
    assert_eq!(desk.apply(Order::Close { through: YEAR }), Outcome::Closed);
    assert_eq!(desk.apply(Order::Close { through: YEAR }), Outcome::Closed);
    let back = desk.apply(Order::Close { through: Period(2020) });
    assert_eq!(back, Outcome::Refused(Refusal::ClosedAlready(YEAR)));
    let closed = Refusal::PeriodClosed { through: YEAR, asked: YEAR };
    assert_eq!(desk.refusal(Action::Post(movement(1, 2, 5))), closed);
    assert_eq!(desk.refusal(Action::PostPending { pending, amount: None }), closed);
    assert!(closed.to_string().contains("closed up to 2026"), "{closed}");
    // What was pending can still be set free, and be posted in a later period.
    desk.at += 10;
    assert_eq!(desk.apply(Order::Expire { most: 10 }), Outcome::Expired { ended: 1, more: false });
    let later =
        NewTransfer { period: Period(2027), ..desk.transfer(Action::PostPending { pending: kept, amount: None }) };
    assert!(desk.batch(vec![later], false)[0].is_ok());
    let never = NewTransfer { period: Period(20), ..desk.transfer(Action::Post(movement(1, 2, 5))) };
    assert_eq!(desk.batch(vec![never], false), [Err(Refusal::BadPeriod(20))]);
    assert_eq!(desk.apply(Order::Close { through: Period(0) }), Outcome::Refused(Refusal::BadPeriod(0)));
    desk.check();
}

#[test]
fn a_correction_moves_back_at_most_what_moved() {
    let mut desk = desk();
    let of = desk.booked(Action::Post(movement(1, 2, 50)));
    desk.booked(Action::Correct { of, amount: Some(20) });
    assert_eq!(desk.posted(2), 30);
    let more = Refusal::MoreThanLeft { of, left: 30, asked: 31 };
    assert_eq!(desk.refusal(Action::Correct { of, amount: Some(31) }), more);
    let correction = desk.booked(Action::Correct { of, amount: None });
    assert_eq!(desk.posted(2), 0);
    assert_eq!(desk.refusal(Action::Correct { of, amount: None }), Refusal::MoreThanLeft { of, left: 0, asked: 0 });
    assert_eq!(desk.refusal(Action::Correct { of: correction, amount: None }), Refusal::NotCorrectable(correction));
    let totals = desk.book.totals(YEAR, Dimension::All).unwrap();
    assert_eq!(totals.iter().map(|(_, total)| (total.count, total.amount)).collect::<Vec<_>>(), [(3, 0)]);
    desk.check();
}

#[test]
fn balances_and_statements_are_shown_at_any_point_of_the_log() {
    let mut desk = desk();
    for amount in 1..=10 {
        desk.booked(Action::Post(movement(1, 2, amount)));
    }
    let at = |point| desk.book.balances_at(AccountId(2), point).unwrap().unwrap().posted();
    assert_eq!(at(Point::Position(0)), 0);
    assert_eq!(at(Point::Position(1)), 0, "the accounts are opened");
    assert_eq!(at(Point::Position(4)), 6);
    assert_eq!(at(Point::Transfer(3)), 10);
    assert_eq!(at(Point::Position(u64::MAX)), 55);
    assert_eq!(desk.book.balances_at(AccountId(5), Point::Position(9)).unwrap(), Some(Balances::default()));
    assert_eq!(desk.book.balances_at(AccountId(9), Point::Position(9)).unwrap(), None);
    let lines = desk.book.statement(AccountId(2), 4, 3).unwrap();
    let told: Vec<_> = lines.iter().map(|line| (line.transfer.number, line.after.posted())).collect();
    assert_eq!(told, [(4, 15), (5, 21), (6, 28)]);
    let all = desk.book.transfers(Dimension::All, 8, usize::MAX).unwrap();
    assert_eq!(all.iter().map(|transfer| transfer.number).collect::<Vec<_>>(), [8, 9]);
}

/// A store that fails at one of its writes.
#[derive(Debug)]
struct Failing {
    inner: MemoryStore,
    writes_left: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("the disk is full")]
struct DiskFull;

impl Store for Failing {
    type Error = DiskFull;

    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, DiskFull> {
        self.inner.value(table, key).map_err(|never| match never {})
    }

    fn rows(&self, table: Table, from: &[u8], to: &[u8], most: usize) -> Result<Vec<Row>, DiskFull> {
        self.inner.rows(table, from, to, most).map_err(|never| match never {})
    }

    fn last_row(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<Row>, DiskFull> {
        self.inner.last_row(table, from, to).map_err(|never| match never {})
    }

    fn set(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) -> Result<(), DiskFull> {
        self.writes_left = self.writes_left.checked_sub(1).ok_or(DiskFull)?;
        self.inner.set(table, key, value).map_err(|never| match never {})
    }
}

#[test]
fn a_store_that_fails_at_any_write_is_given_up_and_the_command_applied_once() {
    let mut desk = desk();
    let before = desk.book.store().clone();
    let transfers =
        vec![desk.transfer(Action::Post(movement(1, 2, 5))), desk.transfer(Action::Post(movement(2, 1, 3)))];
    let command = Command { at: WallTime(2000), order: Order::Transfer { transfers, whole: true } };
    let outcome = desk.book.apply(&command).unwrap();
    let mut failures = 0;
    loop {
        let mut book = Book::open(Failing { inner: before.clone(), writes_left: failures }).unwrap();
        match book.apply(&command) {
            Ok(told) => {
                assert_eq!((told, book.state_hash()), (outcome, desk.book.state_hash()));
                break;
            }
            Err(error) => assert!(error.to_string().contains("the disk is full"), "{error}"),
        }
        assert_eq!(book.head().position, 1, "the book does not say that it went on");
        // What was committed before is still there, and takes the command as if nothing had been.
        assert_eq!(Book::open(before.clone()).unwrap().apply(&command).unwrap(), outcome);
        failures += 1;
    }
    assert!(failures > 5, "{failures} writes");
}

#[test]
fn bytes_that_are_no_command_change_nothing() {
    let mut desk = desk();
    let before = desk.book.state_hash();
    assert!(matches!(desk.book.apply_bytes(b"?"), Err(BookError::NoCommand(_))));
    assert_eq!(desk.book.state_hash(), before);
    let close = Command { at: WallTime(1), order: Order::Close { through: YEAR } };
    let mut twin = super::tests::desk();
    assert_eq!(desk.book.apply_bytes(&close.to_bytes()).unwrap(), twin.apply(close.order));
    assert_eq!(desk.book.head().closed, Some(YEAR));
}

#[test]
fn a_damaged_store_is_found() {
    let mut desk = desk();
    desk.booked(Action::Post(movement(1, 2, 5)));
    desk.booked(Action::Pend { movement: movement(1, 3, 5), expires_after: Some(5) });
    desk.check();
    for table in [Table::Accounts, Table::Transfers, Table::Receipts, Table::Index, Table::Totals] {
        let mut store = desk.book.store().clone();
        let rows = store.rows(table, &[], &[u8::MAX; 60], 1).unwrap();
        store.set(table, &rows[0].0, None).unwrap();
        let checked = Book::open(store).unwrap().check().unwrap();
        assert!(!checked.problems.is_empty(), "a row of {table:?} is missing");
    }
    let mut store = desk.book.store().clone();
    store.set(Table::Accounts, &1u128.to_be_bytes(), Some(b"?")).unwrap();
    let mut book = Book::open(store).unwrap();
    let new = desk.transfer(Action::Post(movement(1, 2, 5)));
    let command = Command { at: WallTime(1), order: Order::Transfer { transfers: vec![new], whole: false } };
    assert!(matches!(book.apply(&command), Err(BookError::Damaged { table: Table::Accounts, .. })));
}
