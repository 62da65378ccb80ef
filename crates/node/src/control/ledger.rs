//! The verbs of the ledger. All go to this node's desk, which knows where the book is.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::header;
use axum::{Extension, Json};
use covenant_identity::Verb;
use covenant_ledger::{
    AssessmentDone, Balances, CheckDone, ClosedDone, DeskMessage, DistributionDone, ExportForm, ExportPage,
    LedgerError, LedgerErrorKind, LedgerKeys, LedgerStatus, Statement, Step, TransferDone, VOTERS, VotersChange,
    VotersDone, YearReport, plot,
};
use covenant_runtime::Reply;
use covenant_types::{Name, NodeName};
use serde::Deserialize;

use super::caller::{Caller, Done, act};
use super::{Answer, Control, body};
use crate::api::{ApiError, Assess, CloseBooks, Distribute, ErrorKind, LedgerStep, Transfer, Voters};

/// How long the desk may take to answer: longer than it gives the book.
const DESK_WITHIN: Duration = Duration::from_secs(12);
/// How long a report may take: it reads all transfers of nations.
const REPORT_WITHIN: Duration = Duration::from_secs(60);
/// How long a change of voters may take: a new one fetches the book first.
const CHANGE_WITHIN: Duration = Duration::from_secs(70);

/// Which part of the export, and for what.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    #[serde(default)]
    from: u64,
    #[serde(default)]
    form: ExportForm,
}

pub(super) async fn ask<T: Send + 'static>(
    control: &Control,
    make: impl FnOnce(Reply<Result<T, LedgerError>>) -> DeskMessage + Send,
) -> Result<T, ApiError> {
    ask_within(control, DESK_WITHIN, make).await
}

async fn ask_within<T: Send + 'static>(
    control: &Control,
    within: Duration,
    make: impl FnOnce(Reply<Result<T, LedgerError>>) -> DeskMessage + Send,
) -> Result<T, ApiError> {
    let desk = control.lookup::<DeskMessage>("/ledger/desk")?;
    desk.call(make, within).await?.map_err(no)
}

pub(super) fn no(error: LedgerError) -> ApiError {
    let kind = match error.kind {
        LedgerErrorKind::BadRequest => ErrorKind::Usage,
        LedgerErrorKind::Conflict => ErrorKind::Conflict,
        LedgerErrorKind::Refused => ErrorKind::Refused,
        LedgerErrorKind::Unreachable => ErrorKind::Unreachable,
        LedgerErrorKind::Timeout => ErrorKind::Timeout,
        LedgerErrorKind::Failed => ErrorKind::Failure,
    };
    ApiError::new(kind, error.message)
}

pub(crate) async fn assess(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<AssessmentDone> {
    let Assess { year } = body(&bytes)?;
    act(&control, &caller, Verb::LedgerAssess, year.to_string(), async {
        let answer = ask(&control, |reply| DeskMessage::Assess { year, reply }).await?;
        let after = format!("{} nations owe ${}, {} newly booked", answer.payers, answer.pool, answer.booked);
        Ok(Done { answer, before: String::new(), after })
    })
    .await
}

pub(crate) async fn distribute(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<DistributionDone> {
    let Distribute { amount, id } = body(&bytes)?;
    act(&control, &caller, Verb::LedgerDistribute, id.to_string(), async {
        let answer = ask(&control, |reply| DeskMessage::Distribute { amount, id, reply }).await?;
        let after = format!("${} shared, newly booked: {}", answer.sum, answer.booked);
        Ok(Done { answer, before: String::new(), after })
    })
    .await
}

pub(crate) async fn transfer(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<TransferDone> {
    let Transfer { id, from, to, amount, nation } = body(&bytes)?;
    let said = format!("${amount} from {from} to {to}");
    act(&control, &caller, Verb::LedgerTransfer, id.to_string(), async {
        let answer = ask(&control, |reply| DeskMessage::Transfer { id, from, to, amount, nation, reply }).await?;
        let after = format!("{said}, newly booked: {}", answer.booked);
        Ok(Done { answer, before: String::new(), after })
    })
    .await
}

pub(crate) async fn step(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<TransferDone> {
    let LedgerStep { id, step } = body(&bytes)?;
    let said = match &step {
        Step::Pend { from, to, amount, .. } => format!("${amount} from {from} to {to} set aside"),
        Step::Post { pending, amount } => format!("{pending} posted, {}", amount.as_deref().unwrap_or("all of it")),
        Step::Void { pending } => format!("{pending} voided"),
        Step::Correct { of, amount } => format!("{of} corrected, {}", amount.as_deref().unwrap_or("all that is left")),
    };
    act(&control, &caller, Verb::LedgerTransfer, id.to_string(), async {
        let answer = ask(&control, |reply| DeskMessage::Step { id, step, reply }).await?;
        let after = format!("{said}, newly booked: {}", answer.booked);
        Ok(Done { answer, before: String::new(), after })
    })
    .await
}

pub(crate) async fn close(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<ClosedDone> {
    let CloseBooks { through } = body(&bytes)?;
    act(&control, &caller, Verb::LedgerClose, through.to_string(), async {
        let answer = ask(&control, |reply| DeskMessage::Close { through, reply }).await?;
        let after = format!("the books are closed through {}", answer.through);
        Ok(Done { answer, before: String::new(), after })
    })
    .await
}

/// Which page of whose statement.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lines {
    account: String,
    #[serde(default)]
    from: u64,
}

pub(crate) async fn statement(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    Query(Lines { account, from }): Query<Lines>,
) -> Answer<Statement> {
    control.allow(&caller, Verb::Balances).await?;
    ask(&control, |reply| DeskMessage::Statement { account, from, reply }).await.map(Json)
}

/// Which year.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Year {
    year: u16,
}

pub(crate) async fn report(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    Query(Year { year }): Query<Year>,
) -> Answer<YearReport> {
    control.allow(&caller, Verb::Balances).await?;
    ask_within(&control, REPORT_WITHIN, |reply| DeskMessage::Report { year, reply }).await.map(Json)
}

/// The report as a picture.
pub(crate) async fn report_plot(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    Query(Year { year }): Query<Year>,
) -> Result<([(header::HeaderName, &'static str); 1], String), ApiError> {
    control.allow(&caller, Verb::Balances).await?;
    let report = ask_within(&control, REPORT_WITHIN, |reply| DeskMessage::Report { year, reply }).await?;
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], plot(&report)))
}

/// The nodes that keep the book and vote, as far as is known here.
pub(super) fn voters_of(control: &Control) -> BTreeSet<NodeName> {
    let Ok(group) = Name::new(VOTERS) else { return BTreeSet::new() };
    control.cluster.group_places(&group).into_iter().map(|place| place.node).collect()
}

/// Which accounts, how fresh.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Accounts {
    from: Option<String>,
    #[serde(default)]
    stale: bool,
}

pub(crate) async fn balances(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    Query(Accounts { from, stale }): Query<Accounts>,
) -> Answer<Balances> {
    control.allow(&caller, Verb::Balances).await?;
    ask(&control, |reply| DeskMessage::Balances { from, stale, reply }).await.map(Json)
}

pub(crate) async fn voters(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<VotersDone> {
    let Voters { node, add } = body(&bytes)?;
    let said = if add { format!("{node} gets a vote") } else { format!("{node} loses its vote") };
    let change = if add { VotersChange::Add(node) } else { VotersChange::Remove(node) };
    act(&control, &caller, Verb::LedgerVoters, said, async {
        let desk = control.lookup::<DeskMessage>("/ledger/desk")?;
        let asked = desk.call(|reply| DeskMessage::Voters { change, reply }, CHANGE_WITHIN).await?;
        let answer = asked.map_err(no)?;
        let after = format!("these vote: {}", answer.voters.join(", "));
        Ok(Done { answer, before: String::new(), after })
    })
    .await
}

pub(crate) async fn keys(State(control): State<Control>, Extension(caller): Extension<Caller>) -> Answer<LedgerKeys> {
    control.allow(&caller, Verb::Balances).await?;
    ask(&control, |reply| DeskMessage::Keys { reply }).await.map(Json)
}

pub(crate) async fn check(State(control): State<Control>, Extension(caller): Extension<Caller>) -> Answer<CheckDone> {
    control.allow(&caller, Verb::Balances).await?;
    ask(&control, |reply| DeskMessage::Check { reply }).await.map(Json)
}

pub(crate) async fn status(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
) -> Answer<LedgerStatus> {
    control.allow(&caller, Verb::Balances).await?;
    ask(&control, |reply| DeskMessage::Status { reply }).await.map(Json)
}

pub(crate) async fn export(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    Query(Page { from, form }): Query<Page>,
) -> Answer<ExportPage> {
    control.allow(&caller, Verb::Balances).await?;
    ask(&control, |reply| DeskMessage::Export { from, form, reply }).await.map(Json)
}
