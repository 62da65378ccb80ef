//! The verbs of allowances, the inbox, and a tower's outbox.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::{Extension, Json};
use covenant_identity::Verb;
use covenant_ledger::{
    AllowanceList, AllowanceOpened, DeskMessage, Inbox, IntentView, IntentWanted, LedgerError, OfflineMessage,
    OutboxMessage, OutboxView, Resolved, WrittenOff,
};
use covenant_runtime::Reply;
use serde::Deserialize;

use super::caller::{Caller, Done, act};
use super::ledger::{ask, no};
use super::{Answer, Control, body};
use crate::api::{ApiError, ErrorKind, OpenAllowance, Resolve, WriteOff};

/// How long a tower may take to write down what it signs.
const OUTBOX_WITHIN: Duration = Duration::from_secs(10);

/// Which allowances.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Allowances {
    from: Option<String>,
    device: Option<String>,
}

/// Which part of the inbox.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    #[serde(default)]
    from: u64,
}

pub(crate) async fn open(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<AllowanceOpened> {
    let OpenAllowance { device: key, id, from, amount } = body(&bytes)?;
    let said = format!("${amount} from {from}");
    act(&control, &caller, Verb::LedgerAllowance, format!("open {id}"), async {
        let message = |reply| DeskMessage::Offline(OfflineMessage::Open { key, id, from, amount, reply });
        let answer: AllowanceOpened = ask(&control, message).await?;
        let after = format!("{said} for the device {}, newly booked: {}", answer.device, answer.booked);
        Ok(Done { answer, before: String::new(), after })
    })
    .await
}

pub(crate) async fn write_off(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<WrittenOff> {
    let WriteOff { device, reason } = body(&bytes)?;
    act(&control, &caller, Verb::LedgerAllowance, format!("write off {device}"), async {
        let said = reason.clone();
        let message = |reply| DeskMessage::Offline(OfflineMessage::WriteOff { device, reason, reply });
        let answer: WrittenOff = ask(&control, message).await?;
        let after = format!("${} went back: {said}", answer.returned);
        Ok(Done { answer, before: String::new(), after })
    })
    .await
}

pub(crate) async fn allowances(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    Query(Allowances { from, device }): Query<Allowances>,
) -> Answer<AllowanceList> {
    control.allow(&caller, Verb::Balances).await?;
    let (alone, from) = (device.is_some(), device.or(from));
    let message = |reply| DeskMessage::Offline(OfflineMessage::Allowances { from, alone, stale: false, reply });
    ask(&control, message).await.map(Json)
}

pub(crate) async fn inbox(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    Query(Page { from }): Query<Page>,
) -> Answer<Inbox> {
    control.allow(&caller, Verb::Balances).await?;
    ask(&control, |reply| DeskMessage::Offline(OfflineMessage::Inbox { from, reply })).await.map(Json)
}

pub(crate) async fn resolve(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<Resolved> {
    let Resolve { entry, book, reason } = body(&bytes)?;
    act(&control, &caller, Verb::LedgerResolve, entry.to_string(), async {
        let said = reason.clone();
        let message = |reply| DeskMessage::Offline(OfflineMessage::Resolve { entry, book, reason, reply });
        let answer: Resolved = ask(&control, message).await?;
        let after = match answer.number {
            Some(number) => format!("booked as number {number}: {said}"),
            None => format!("rejected: {said}"),
        };
        Ok(Done { answer, before: String::new(), after })
    })
    .await
}

/// Asks the outbox of this node, which only towers have.
async fn ask_outbox<T: Send + 'static>(
    control: &Control,
    make: impl FnOnce(Reply<Result<T, LedgerError>>) -> OutboxMessage + Send,
) -> Result<T, ApiError> {
    let outbox = control.lookup::<OutboxMessage>("/ledger/outbox").map_err(|_| {
        let what = "this node has no outbox, which only towers have; nothing was signed: book with `ledger transfer`";
        ApiError::new(ErrorKind::Refused, what)
    })?;
    outbox.call(make, OUTBOX_WITHIN).await?.map_err(no)
}

pub(crate) async fn outbox(State(control): State<Control>, Extension(caller): Extension<Caller>) -> Answer<OutboxView> {
    control.allow(&caller, Verb::Balances).await?;
    ask_outbox(&control, |reply| OutboxMessage::Show { reply }).await.map(Json)
}

pub(crate) async fn intend(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<IntentView> {
    let wanted: IntentWanted = body(&bytes)?;
    let said = format!("${} to {}", wanted.amount, wanted.to);
    act(&control, &caller, Verb::LedgerIntend, wanted.id.to_string(), async {
        let answer: IntentView = ask_outbox(&control, |reply| OutboxMessage::Intend { wanted, reply }).await?;
        let after = format!("{said}, signed as number {}, not booked", answer.sequence);
        Ok(Done { answer, before: String::new(), after })
    })
    .await
}

pub(crate) async fn close(State(control): State<Control>, Extension(caller): Extension<Caller>) -> Answer<IntentView> {
    act(&control, &caller, Verb::LedgerIntend, "close".to_owned(), async {
        let answer: IntentView = ask_outbox(&control, |reply| OutboxMessage::Close { reply }).await?;
        let after = format!("its closing statement is signed as number {}", answer.sequence);
        Ok(Done { answer, before: String::new(), after })
    })
    .await
}
