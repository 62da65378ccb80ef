//! What the book's log carries, and the tables that come with it.

use std::sync::OnceLock;

use covenant_book::{
    AccountId, AccountOrder, Action, AllowanceOrder, Amount, Asset, Book, Command, Decision, DeviceId, Entitlements,
    Intent, Limit, MemoryStore, Movement, NewTransfer, Order, Outcome, Period, Projects, Purpose, SignedIntent, Tags,
    Wish,
};
use covenant_identity::NodeKey;
use covenant_types::{TransferId, WallTime};

use super::services::{TABLE, few};
use crate::Target;

pub(crate) const TARGETS: &[Target] = &[
    Target::new("book-command", fuzz_book_command, book_command_seeds),
    Target::new("book-outcome", fuzz_book_outcome, book_outcome_seeds),
    Target::new("signed-intent", fuzz_signed_intent, signed_intent_seeds),
    Target::new("book-entitlements", fuzz_book_entitlements, book_entitlements_seeds),
    Target::new("projects", fuzz_projects, projects_seeds),
];

/// Of a device that only exists here.
const DEVICE_PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n-----END PRIVATE KEY-----\n";
const NOW: WallTime = WallTime(1_790_000_000);
const PROJECTS: &str = "project,sector,name\nclean-water,health,Wells\nteachers,education,Training\n";

fn commands() -> Vec<Command> {
    let account = |id| AccountOrder { id: AccountId(id), asset: Asset::USD, limit: Limit::DebitsWithinCredits };
    let movement = |from: Purpose, to: u128, amount| {
        let debit = from.account().expect("an account of the covenant");
        Movement { debit, credit: AccountId(to), amount, tags: Tags::default() }
    };
    let transfer =
        |id, action| NewTransfer { id: TransferId(id), action, period: Period(2026), linked: id.is_multiple_of(2) };
    let actions = [
        Action::Post(movement(Purpose::Treasury, 1, 500)),
        Action::Pend { movement: movement(Purpose::Treasury, 2, 300), expires_after: Some(60) },
        Action::PostPending { pending: TransferId(11), amount: Some(100) },
        Action::VoidPending { pending: TransferId(11) },
        Action::Correct { of: TransferId(10), amount: None },
    ];
    let transfers = (10..).zip(actions).map(|(id, action)| transfer(id, action)).collect();
    let table = few().hash_bytes();
    let orders = [
        Order::AdoptNations { text: TABLE.to_owned() },
        Order::AdoptProjects { text: PROJECTS.to_owned() },
        Order::Open(vec![account(1), account(2)]),
        Order::Transfer { transfers, whole: false },
        Order::Expire { most: 10 },
        Order::Assess { year: Period(2025), table },
        Order::Distribute { id: TransferId(9), amount: Amount::cents(1_000_003), period: Period(2026), table },
        Order::Close { through: Period(2025) },
        allowance(),
        Order::Intents(intents()),
        Order::Resolve { entry: 1, decision: Decision::Reject, reason: "twice".to_owned(), period: Period(2026) },
        Order::WriteOff {
            device: DeviceId::of(&device().public_key()),
            reason: "lost".to_owned(),
            period: Period(2026),
        },
    ];
    orders.map(|order| Command { at: NOW, order }).to_vec()
}

/// The key of a device that only exists here.
fn device() -> &'static NodeKey {
    static DEVICE: OnceLock<NodeKey> = OnceLock::new();
    DEVICE.get_or_init(|| NodeKey::from_pem(DEVICE_PEM).expect("a key"))
}

fn allowance() -> Order {
    let from = Purpose::Treasury.account().expect("an account of the covenant");
    let (key, id, period) = (device().public_key(), TransferId(8), Period(2026));
    Order::OpenAllowance(AllowanceOrder { key, id, from, amount: 1000, period })
}

fn signed(sequence: u64, wish: Wish) -> SignedIntent {
    let intent = Intent { device: DeviceId::of(&device().public_key()), sequence, wish };
    SignedIntent { intent, signature: device().sign(&intent.to_bytes()) }
}

/// One that is applied, two that differ under one number, a last one.
fn intents() -> Vec<SignedIntent> {
    let pay = |id, to, amount| Wish::Pay {
        id: TransferId(id),
        to: AccountId(to),
        amount,
        tags: Tags::default(),
        period: Period(2026),
    };
    let close = Wish::Close { period: Period(2026) };
    vec![signed(1, pay(20, 1, 100)), signed(3, close), signed(2, pay(21, 2, 30)), signed(2, pay(21, 2, 31))]
}

/// A book in which a little happened.
fn begun() -> &'static MemoryStore {
    static BEGUN: OnceLock<MemoryStore> = OnceLock::new();
    BEGUN.get_or_init(|| {
        let mut book = Book::open(MemoryStore::default()).expect("memory holds a book");
        for command in &commands()[..4] {
            book.apply(command).expect("memory holds a book");
        }
        book.store().clone()
    })
}

/// Whatever a log says, the books balance after it.
fn fuzz_book_command(bytes: &[u8]) {
    let Ok(command) = Command::from_bytes(bytes) else { return };
    assert_eq!(command.to_bytes(), bytes, "a command has one form");
    let mut book = Book::open(begun().clone()).expect("memory holds a book");
    let outcome = book.apply(&command).expect("memory holds a book");
    assert_eq!(Outcome::from_bytes(&outcome.to_bytes()), Ok(outcome));
    let checked = book.check().expect("memory holds a book");
    assert!(checked.problems.is_empty(), "{:?}", checked.problems);
}

fn book_command_seeds() -> Vec<Vec<u8>> {
    commands().iter().map(Command::to_bytes).collect()
}

/// Whatever a device signs, the books balance after it, and what it signed is answered or kept.
fn fuzz_signed_intent(bytes: &[u8]) {
    static FILLED: OnceLock<MemoryStore> = OnceLock::new();
    let Ok(read) = SignedIntent::from_bytes(bytes) else { return };
    assert_eq!(read.to_bytes(), bytes, "an intent has one form");
    let filled = FILLED.get_or_init(|| {
        let mut book = Book::open(begun().clone()).expect("memory holds a book");
        book.apply(&Command { at: NOW, order: allowance() }).expect("memory holds a book");
        book.store().clone()
    });
    let mut book = Book::open(filled.clone()).expect("memory holds a book");
    let again = signed(read.intent.sequence, read.intent.wish);
    for intents in [vec![read, again], intents(), vec![again]] {
        book.apply(&Command { at: NOW, order: Order::Intents(intents) }).expect("memory holds a book");
    }
    let checked = book.check().expect("memory holds a book");
    assert!(checked.problems.is_empty(), "{:?}", checked.problems);
}

fn signed_intent_seeds() -> Vec<Vec<u8>> {
    intents().iter().map(SignedIntent::to_bytes).collect()
}

fn fuzz_book_outcome(bytes: &[u8]) {
    if let Ok(outcome) = Outcome::from_bytes(bytes) {
        assert_eq!(outcome.to_bytes(), bytes, "an outcome has one form");
    }
}

fn book_outcome_seeds() -> Vec<Vec<u8>> {
    let mut book = Book::open(MemoryStore::default()).expect("memory holds a book");
    commands().iter().map(|command| book.apply(command).expect("memory holds a book").to_bytes()).collect()
}

fn fuzz_book_entitlements(bytes: &[u8]) {
    if let Ok(mut entitlements) = Entitlements::from_bytes(bytes) {
        assert_eq!(entitlements.to_bytes(), bytes, "entitlements have one form");
        let shared = entitlements.distribute(Amount::cents(1_000_003), few());
        assert!(shared.is_none_or(|shared| shared.sum() == Amount::cents(1_000_003)));
    }
}

fn book_entitlements_seeds() -> Vec<Vec<u8>> {
    let mut entitlements = Entitlements::default();
    let empty = entitlements.to_bytes();
    for cents in [7, 1_000_003] {
        entitlements.distribute(Amount::cents(cents), few()).expect("it can be shared");
    }
    vec![empty, entitlements.to_bytes()]
}

fn fuzz_projects(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _any_result = Projects::parse(text);
    }
}

fn projects_seeds() -> Vec<Vec<u8>> {
    vec![PROJECTS.as_bytes().to_vec()]
}
