//! The table of verbs: which path does what, and for whom.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use covenant_env::Tasks;
use covenant_identity::Verb;
use covenant_runtime::{TreeView, traced};
use covenant_types::TraceId;
use covenant_watch::Incident;
use tokio::sync::oneshot;

use super::caller::{Caller, Done, act};
use super::{
    Answer, Control, actor, backup, body, ca, cert, content, fault, identity, ledger, offline, part, state,
    tree as trees, whereabouts,
};
use crate::api::part::Member;
use crate::api::{ActorKilled, ApiError, ErrorKind, KillActor, Status};
use crate::http::Connected;

/// The longest request, in bytes.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// The most acts that one listener has under way, those included whose callers are gone.
const ACTS_MAX: usize = 64;

/// The header of an answer that names the trace of its request.
const TRACE_HEADER: &str = "covenant-trace";
/// The header of a request that is part of a trace already, as W3C Trace Context has it.
const TRACEPARENT_HEADER: &str = "traceparent";

/// The control API of a node.
pub(crate) fn router(control: Control) -> Router {
    let acts = Arc::new(Mutex::new(Tasks::new(control.env.system.clone(), ACTS_MAX)));
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/members", get(members))
        .route("/v1/tree", get(tree))
        .route("/v1/where", post(whereabouts::locate))
        .route("/v1/tree/plan", post(trees::plan).layer(DefaultBodyLimit::max(trees::BUNDLE_BYTES_MAX)))
        .route("/v1/tree/drift", post(trees::drift).layer(DefaultBodyLimit::max(trees::BUNDLE_BYTES_MAX)))
        .route("/v1/tree/apply", post(trees::apply).layer(DefaultBodyLimit::max(trees::BUNDLE_BYTES_MAX)))
        .route("/v1/incidents", get(incidents))
        .route("/v1/crashes", get(actor::crashes))
        .route("/v1/crashes/{id}", get(actor::crash))
        .route("/v1/actor/kill", post(kill_actor))
        .route("/v1/actor/inspect", post(actor::inspect))
        .route("/v1/actor/suspend", post(actor::suspend))
        .route("/v1/actor/resume", post(actor::resume))
        .route("/v1/actor/drain", post(actor::drain))
        .route("/v1/actor/trace", post(actor::trace))
        .route("/v1/node/drain", post(part::drain))
        .route("/v1/node/drain/cancel", post(part::drain_cancel))
        .route("/v1/node/sleep", post(part::sleep))
        .route("/v1/node/wake", post(part::wake))
        .route("/v1/node/leave", post(part::leave))
        .route("/v1/node/remove", post(cert::remove))
        .route("/v1/node/replace", post(cert::replace))
        .route("/v1/cert", get(cert::status))
        .route("/v1/cert/revoke", post(cert::revoke))
        .route("/v1/events", post(part::events))
        .route("/v1/faults", get(fault::list))
        .route("/v1/fault/set", post(fault::set))
        .route("/v1/fault/renew", post(fault::renew))
        .route("/v1/fault/lift", post(fault::lift))
        .route("/v1/doctor", get(part::doctor))
        .route("/v1/ledger/assess", post(ledger::assess))
        .route("/v1/ledger/distribute", post(ledger::distribute))
        .route("/v1/ledger/transfer", post(ledger::transfer))
        .route("/v1/ledger/steps", post(ledger::step))
        .route("/v1/ledger/close", post(ledger::close))
        .route("/v1/ledger/voters", post(ledger::voters))
        .route("/v1/ledger/allowances", get(offline::allowances).post(offline::open))
        .route("/v1/ledger/allowances/write-off", post(offline::write_off))
        .route("/v1/ledger/inbox", get(offline::inbox))
        .route("/v1/ledger/inbox/resolve", post(offline::resolve))
        .route("/v1/ledger/outbox", get(offline::outbox).post(offline::intend))
        .route("/v1/ledger/outbox/close", post(offline::close))
        .route("/v1/ledger/balances", get(ledger::balances))
        .route("/v1/ledger/statement", get(ledger::statement))
        .route("/v1/ledger/report", get(ledger::report))
        .route("/v1/ledger/report.svg", get(ledger::report_plot))
        .route("/v1/ledger/backup", get(backup::save))
        .route("/v1/ledger/check", get(ledger::check))
        .route("/v1/ledger/status", get(ledger::status))
        .route("/v1/ledger/export", get(ledger::export))
        .route("/v1/ledger/keys", get(ledger::keys))
        .route("/v1/content", get(content::view))
        .route("/v1/content/publish", post(content::publish))
        .route("/v1/content/get", post(content::get))
        .route("/v1/content/subscribe", post(content::subscribe))
        .route("/v1/token", post(identity::create_token))
        .route("/v1/ca", get(ca::view))
        .route("/v1/ca/request", post(ca::request))
        .route("/v1/ca/install", post(ca::install))
        .route("/v1/ca/roots", post(ca::roots).layer(DefaultBodyLimit::max(ca::ROOTS_BODY_MAX)))
        .route("/v1/cert/rotate", post(ca::rotate_certificate))
        .route("/v1/operator", post(identity::create_operator))
        .fallback(async || ApiError::new(ErrorKind::NotFound, "no such verb; `covenant --help` lists them"))
        .layer(middleware::from_fn_with_state(control.clone(), name_caller))
        .layer(middleware::from_fn_with_state(control.clone(), begin_trace))
        .layer(middleware::from_fn_with_state(acts, carry_through))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(control)
}

/// `/metrics`, `/livez`, `/readyz`: for monitors, without a name.
pub(crate) fn health_router(control: Control) -> Router {
    Router::new()
        .route("/metrics", get(async |State(control): State<Control>| control.render_metrics()))
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .with_state(control)
}

/// Carries an act through to its line in the audit log, whatever becomes of its caller. Who closes the connection behind an act,
/// or is denied in the middle of it, would else leave it half done and unseen.
async fn carry_through(State(acts): State<Arc<Mutex<Tasks>>>, request: Request, next: Next) -> Response {
    if request.method() == Method::GET {
        return next.run(request).await;
    }
    let (answer, answered) = oneshot::channel();
    let act = async move {
        let answered = next.run(request).await;
        // Its caller may be gone.
        let _heard = answer.send(answered);
    };
    if !acts.lock().unwrap_or_else(PoisonError::into_inner).spawn(act) {
        let busy = format!("{ACTS_MAX} acts are under way here; nothing was done, try again");
        return ApiError::new(ErrorKind::Refused, busy).into_response();
    }
    match answered.await {
        Ok(response) => response,
        Err(_) => ApiError::failure("the act broke off; what was asked may have been done").into_response(),
    }
}

/// Every request is part of a trace, which its answer names: of the caller's where a `traceparent` names one, or else of a new one.
async fn begin_trace(State(control): State<Control>, request: Request, next: Next) -> Response {
    let named = request.headers().get(TRACEPARENT_HEADER).and_then(|header| header.to_str().ok());
    let trace = named.and_then(TraceId::from_traceparent).unwrap_or_else(|| control.system.new_trace());
    let mut response = traced(Some(trace), next.run(request)).await;
    if let Ok(name) = HeaderValue::try_from(trace.to_string()) {
        response.headers_mut().insert(TRACE_HEADER, name);
    }
    response
}

/// Puts the [`Caller`] behind the connection beside the request.
async fn name_caller(State(control): State<Control>, mut request: Request, next: Next) -> Response {
    let caller = match request.extensions().get::<Connected>() {
        Some(connected) => Caller::identify(connected, control.uid, &control.config.cluster.name),
        None => return ApiError::failure("the connection has no caller").into_response(),
    };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

async fn readyz(State(control): State<Control>) -> Response {
    match control.not_ready() {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn status(State(control): State<Control>, Extension(caller): Extension<Caller>) -> Answer<Status> {
    control.allow(&caller, Verb::Status).await?;
    Ok(Json(state::status(&control)))
}

async fn members(State(control): State<Control>, Extension(caller): Extension<Caller>) -> Answer<Vec<Member>> {
    control.allow(&caller, Verb::Members).await?;
    let mut links: BTreeMap<_, _> = control.cluster.links().into_iter().map(|link| (link.id, link)).collect();
    let members = control.cluster.members().into_iter();
    Ok(Json(members.map(|view| Member { link: links.remove(&view.id), view }).collect()))
}

async fn tree(State(control): State<Control>, Extension(caller): Extension<Caller>) -> Answer<TreeView> {
    control.allow(&caller, Verb::TreeShow).await?;
    Ok(Json(control.system.tree()))
}

async fn incidents(State(control): State<Control>, Extension(caller): Extension<Caller>) -> Answer<Vec<Incident>> {
    control.allow(&caller, Verb::Incidents).await?;
    state::incidents(&control).await.map(Json)
}

async fn kill_actor(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer<ActorKilled> {
    let request: KillActor = body(&bytes)?;
    let target = format!("{}:{}", control.config.node.name, request.path);
    act(&control, &caller, Verb::ActorKill, target, async {
        let incarnation = state::incarnation(&control.system.tree(), &request.path)?;
        control.system.kill(&request.path).await.map_err(state::kill_error)?;
        let before = format!("incarnation {incarnation}");
        Ok(Done { answer: ActorKilled { path: request.path.clone(), incarnation }, before, after: "killed".to_owned() })
    })
    .await
}
