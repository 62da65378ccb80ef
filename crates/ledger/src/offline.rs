//! Allowances, the inbox, and what devices signed: orders, questions and what people are shown. Pure.

mod outbox;
mod views;

use covenant_book::{
    Account as Kept, AccountId, Allowance, AllowanceOrder, AllowanceState, Asset, Book, BookError, Decision, DeviceId,
    InboxEntry, InboxReason, Intent, IntentState, Order, Outcome, Period, Projects, Refusal, SignedIntent, Store, Wish,
};
use covenant_types::TransferId;
use serde::{Deserialize, Serialize};

pub(crate) use outbox::{Heard, Outbox, outbox_seeds};
pub use views::{
    AllowanceList, AllowanceOpened, AllowanceView, Inbox, InboxView, IntentView, IntentWanted, OutboxView, Resolved,
    WrittenOff,
};

use crate::order::{self, Wanted};
use crate::question::amount_text;
use crate::{Account, LedgerError, Nations};

/// The most allowances or entries of the inbox on a page: a page fits into what a group answers with.
const PAGE: usize = 100;

/// A question about what devices do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum OfflineQuestion {
    /// Allowances, from a device on, or that device's alone.
    Allowances { from: String, alone: bool },
    /// What waits for a person, from the number of an entry on.
    Inbox { from: u64 },
    /// What became of these intents: their canonical bytes in hexadecimal.
    Fates { intents: Vec<String> },
}

/// Its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OfflineSaid {
    Allowances(AllowanceList),
    Inbox(Inbox),
    /// The canonical bytes of each state in hexadecimal; `None` where the book does not keep the intent.
    Fates(Vec<Option<String>>),
}

/// Answers a question; the error says what is wrong with it.
pub(crate) fn answer<S: Store>(
    book: &Book<S>,
    question: &OfflineQuestion,
) -> Result<Result<OfflineSaid, LedgerError>, BookError<S::Error>> {
    match question {
        OfflineQuestion::Allowances { from, alone } => {
            let Ok(from) = from.parse::<DeviceId>() else { return Ok(Err(no_device(from))) };
            allowances(book, from, *alone).map(|list| Ok(OfflineSaid::Allowances(list)))
        }
        OfflineQuestion::Inbox { from } => inbox(book, *from).map(|inbox| Ok(OfflineSaid::Inbox(inbox))),
        OfflineQuestion::Fates { intents } => {
            let mut fates = Vec::new();
            for intent in intents.iter().take(covenant_book::INTENTS_MAX) {
                let intent = from_hex(intent).and_then(|bytes| Intent::from_bytes(&bytes).ok());
                let Some(intent) = intent else { return Ok(Err(LedgerError::bad("an intent cannot be read"))) };
                fates.push(book.intent_state(&intent)?.map(|state| hex(&state.to_bytes())));
            }
            Ok(Ok(OfflineSaid::Fates(fates)))
        }
    }
}

fn allowances<S: Store>(book: &Book<S>, from: DeviceId, alone: bool) -> Result<AllowanceList, BookError<S::Error>> {
    let page = if alone { book.allowance(from)?.into_iter().collect() } else { book.allowances(from, PAGE)? };
    let last = page.last().filter(|_| page.len() == PAGE).and_then(|last| last.device().0.checked_add(1));
    let allowances = page.iter().map(|allowance| shown(book, allowance)).collect::<Result<_, _>>()?;
    Ok(AllowanceList { allowances, next: last.map(|id| DeviceId(id).to_string()), as_of: crate::AsOf::default() })
}

/// An allowance, as people read it.
fn shown<S: Store>(book: &Book<S>, allowance: &Allowance) -> Result<AllowanceView, BookError<S::Error>> {
    let device = allowance.device();
    let account = Account::Covenant(covenant_book::Purpose::Allowance(device));
    let kept = book.account(account.id())?;
    let asset = kept.map_or(Asset::USD, |kept| kept.spec.asset);
    let (state, said) = match &allowance.state {
        AllowanceState::Open => ("open", None),
        AllowanceState::Quarantined { sequence } => {
            ("quarantined", Some(format!("it signed two different intents with the number {sequence}")))
        }
        AllowanceState::Closed { returned } => ("closed", Some(format!("{} went back", amount_text(*returned, asset)))),
        AllowanceState::WrittenOff { returned, reason } => {
            ("written-off", Some(format!("{} went back: {reason}", amount_text(*returned, asset))))
        }
    };
    Ok(AllowanceView {
        device: device.to_string(),
        key: hex(&allowance.key),
        account: account.to_string(),
        home: named(book, allowance.home)?,
        left: amount_text(kept.map_or(0, |kept| kept.balances.posted()), asset),
        state: state.to_owned(),
        said,
        next: allowance.next,
        waiting: allowance.waiting,
        in_inbox: allowance.in_inbox,
    })
}

fn named<S: Store>(book: &Book<S>, id: AccountId) -> Result<String, BookError<S::Error>> {
    let kept: Option<Kept> = book.account(id)?;
    Ok(kept.map_or(Account::Opened(id), |kept| Account::of(id, kept.spec.purpose)).to_string())
}

fn inbox<S: Store>(book: &Book<S>, from: u64) -> Result<Inbox, BookError<S::Error>> {
    let page = book.inbox(from, PAGE)?;
    let next = page.last().filter(|_| page.len() == PAGE).map(|last| last.number + 1);
    let entries = page.iter().map(|entry| entry_shown(book, entry)).collect::<Result<_, _>>()?;
    Ok(Inbox { entries, next, as_of: crate::AsOf::default() })
}

fn entry_shown<S: Store>(book: &Book<S>, entry: &InboxEntry) -> Result<InboxView, BookError<S::Error>> {
    let Intent { device, sequence, wish } = entry.signed.intent;
    let why = match &entry.why {
        InboxReason::Equivocation => "its device signed another intent with this number".to_owned(),
        InboxReason::Quarantined => "its device was quarantined before".to_owned(),
        InboxReason::Ended => "its allowance had ended before".to_owned(),
        InboxReason::Refused(refusal) => order::words(refusal),
    };
    let (id, to, amount, period) = match wish {
        Wish::Pay { id, to, amount, period, .. } => {
            let asset = match book.allowance(device)? {
                Some(allowance) => book.account(allowance.home)?.map_or(Asset::USD, |home| home.spec.asset),
                None => Asset::USD,
            };
            (Some(id), Some(named(book, to)?), Some(amount_text(amount, asset)), period)
        }
        Wish::Close { period } => (None, None, None, period),
    };
    let device = device.to_string();
    Ok(InboxView { entry: entry.number, device, sequence, id, to, amount, period: period.0, why, since: entry.at })
}

/// An allowance for the device with this public key, in hexadecimal.
pub(crate) fn open(
    (key, id): (&str, TransferId),
    (from, amount): (&str, &str),
    period: Period,
    (nations, projects): (&Nations, &Projects),
) -> Result<Order, LedgerError> {
    let bytes = from_hex(key).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let key = bytes.ok_or_else(|| {
        LedgerError::bad(
            "the key of a device is 64 hexadecimal digits, which `covenant ledger outbox` shows on its tower",
        )
    })?;
    let from = order::account(from, nations, projects)?.id();
    let amount = order::positive(amount)?.as_cents();
    Ok(Order::OpenAllowance(AllowanceOrder { key, id, from, amount, period }))
}

pub(crate) fn opened(outcome: Outcome, key: &str) -> Result<AllowanceOpened, LedgerError> {
    let Outcome::AllowanceOpened { transfer, again, .. } = outcome else { return Err(order::strange(&outcome)) };
    let device = from_hex(key).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).map(|key| DeviceId::of(&key));
    Ok(AllowanceOpened {
        device: device.map(|device| device.to_string()).unwrap_or_default(),
        number: transfer,
        booked: !again,
    })
}

pub(crate) fn write_off(device: &str, reason: &str, period: Period) -> Result<Order, LedgerError> {
    let device = device.parse().map_err(|_| no_device(device))?;
    Ok(Order::WriteOff { device, reason: reason.to_owned(), period })
}

pub(crate) fn written_off(outcome: Outcome) -> Result<WrittenOff, LedgerError> {
    let Outcome::WrittenOff { returned, again } = outcome else { return Err(order::strange(&outcome)) };
    Ok(WrittenOff { returned: amount_text(returned, Asset::USD), booked: !again })
}

pub(crate) fn resolve(entry: u64, book: bool, reason: &str, period: Period) -> Order {
    let decision = if book { Decision::Book } else { Decision::Reject };
    Order::Resolve { entry, decision, reason: reason.to_owned(), period }
}

pub(crate) fn resolved(outcome: Outcome) -> Result<Resolved, LedgerError> {
    let Outcome::Resolved { state, again } = outcome else { return Err(order::strange(&outcome)) };
    let number = match state {
        IntentState::Applied { transfer } => transfer,
        IntentState::Waiting | IntentState::Rejected(_) | IntentState::Inbox(_) => None,
    };
    Ok(Resolved { number, again })
}

/// What the book answered to each of the intents.
pub(crate) fn answers(
    outcome: Outcome,
    intents: &[SignedIntent],
) -> Result<Vec<Result<IntentState, Refusal>>, LedgerError> {
    let Outcome::Intents(answers) = outcome else { return Err(order::strange(&outcome)) };
    if answers.len() == intents.len() { Ok(answers) } else { Err(LedgerError::unsure("an answer is missing")) }
}

/// The wish to pay, by the tables of this node.
pub(crate) fn wish(
    wanted: &IntentWanted,
    device: DeviceId,
    period: Period,
    (nations, projects): (&Nations, &Projects),
) -> Result<Wish, LedgerError> {
    let from = Account::Covenant(covenant_book::Purpose::Allowance(device)).to_string();
    let IntentWanted { id, to, amount, nation } = wanted.clone();
    let movement = order::movement(&Wanted { id, from, to, amount, nation }, nations, projects)?;
    Ok(Wish::Pay { id: wanted.id, to: movement.credit, amount: movement.amount, tags: movement.tags, period })
}

fn no_device(text: &str) -> LedgerError {
    LedgerError::bad(format_args!("a device is named by 32 lower-case hexadecimal digits, and {text:?} is none"))
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _never = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes from hexadecimal.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.last()?)?)).collect()
}
