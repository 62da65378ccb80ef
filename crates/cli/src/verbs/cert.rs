//! `cert`, `remove`, `node replace`: how certificates do, and taking them back.

use std::time::Duration;

use covenant_node::api::ApiError;
use covenant_node::api::cert::{
    CertStatus, DeniedView, Life, MemberCertificate, NodeReplaced, RemoveNode, ReplaceNode, Revoke, Revoked, Whom,
};
use covenant_types::{NodeId, WallTime, format_duration};

use super::part::{confirm, consequences};
use crate::args::{self, CertVerb, Global};
use crate::output::{Output, Tone};

/// Does one verb about certificates.
pub(crate) async fn run(global: &Global, verb: CertVerb, output: &Output) -> Result<(), ApiError> {
    match verb {
        CertVerb::Status => status(global, output).await,
        CertVerb::Revoke(args) => revoke(global, args, output).await,
        CertVerb::Rotate { name } => super::authorities::rotate_certificate(global, name, output).await,
    }
}

async fn status(global: &Global, output: &Output) -> Result<(), ApiError> {
    let status: CertStatus = global.client().await?.get("/v1/cert").await?;
    output.view(&status, |output| {
        let rows: Vec<_> = status.members.iter().map(|member| member_row(member, status.now)).collect();
        let members = output.table(&["NODE", "STATE", "CERT", "LEFT", "RENEWED", "ISSUER", "ID"], &rows);
        if status.denied.is_empty() {
            return format!("{members}\n\nnobody is denied");
        }
        let rows: Vec<_> = status.denied.iter().map(|denied| denied_row(denied, status.now)).collect();
        format!("{members}\n\n{}", output.table(&["DENIED", "SINCE", "BY", "REASON", "ID"], &rows))
    });
    for member in status.members.iter().filter(|member| member.life != Life::Fresh) {
        let word = if member.life == Life::Ended { "has ended" } else { "is past two thirds of its life" };
        output.talk(&format!("the certificate of {} {word}: see that it reaches an issuing node", member.name));
    }
    Ok(())
}

fn member_row(member: &MemberCertificate, now: WallTime) -> Vec<(Tone, String)> {
    let tone = match member.life {
        Life::Fresh => Tone::Good,
        Life::Late => Tone::Warn,
        Life::Ended => Tone::Bad,
    };
    let renewed = match span(now, member.renew_at) {
        Some(left) => format!("in {left}"),
        None => "due".to_owned(),
    };
    vec![
        (Tone::Plain, member.name.to_string()),
        (Tone::Dim, member.state.to_string()),
        (tone, member.life.as_str().to_owned()),
        (tone, span(now, member.ends).unwrap_or_else(|| "-".to_owned())),
        (Tone::Dim, renewed),
        (Tone::Dim, short(member.issuer)),
        (Tone::Dim, member.id.to_string()),
    ]
}

fn denied_row(denied: &DeniedView, now: WallTime) -> Vec<(Tone, String)> {
    let name = denied.name.clone().unwrap_or_else(|| "?".to_owned());
    let who = if denied.id.is_some() { name } else { format!("operator {name}") };
    vec![
        (Tone::Bad, who),
        (Tone::Dim, span(denied.at, now).unwrap_or_else(|| "now".to_owned())),
        (Tone::Dim, denied.by.clone()),
        (Tone::Plain, denied.reason.clone()),
        (Tone::Dim, denied.id.map_or_else(|| "-".to_owned(), |id| id.to_string())),
    ]
}

/// The first digits of an id: enough to tell authorities apart.
fn short(id: NodeId) -> String {
    id.to_string().chars().take(8).collect()
}

/// The time from one date to a later one, to the minute.
fn span(from: WallTime, to: WallTime) -> Option<String> {
    let left = to.0.checked_sub(from.0).filter(|left| *left > 0)?;
    let unit = if left >= 3600 { 3600 } else { 60.min(left) };
    Some(format_duration(Duration::from_secs(left - left % unit)))
}

async fn revoke(global: &Global, args: args::Revoke, output: &Output) -> Result<(), ApiError> {
    let who = match args.who.as_slice() {
        [node] => Whom::Node(node.clone()),
        [kind, name] if kind == "operator" => Whom::Operator(name.clone()),
        _ => return Err(ApiError::usage("say NODE, or operator NAME; nothing was done")),
    };
    let request = |dry_run| Revoke { who: who.clone(), reason: args.act.reason.clone(), dry_run };
    let (path, client) = ("/v1/cert/revoke", global.client().await?);
    let plan: Revoked = client.post(path, &request(true)).await?;
    let what = format!("revoking {}", plan.who);
    if args.act.dry_run {
        output.view(&plan, |_| consequences(&what, &plan.consequences));
        return Ok(());
    }
    confirm(&what, &plan.consequences, args.act.yes, output)?;
    let done: Revoked = client.post(path, &request(false)).await?;
    output.view(&done, |_| format!("{} is denied", done.who));
    Ok(())
}

/// Gives a node up.
pub(crate) async fn remove(global: &Global, args: args::Remove, output: &Output) -> Result<(), ApiError> {
    let request =
        |dry_run| RemoveNode { node: args.target.clone(), force: args.force, reason: args.act.reason.clone(), dry_run };
    let (path, client) = ("/v1/node/remove", global.client().await?);
    let plan: Revoked = client.post(path, &request(true)).await?;
    let what = format!("removing {}", plan.who);
    if args.act.dry_run {
        output.view(&plan, |_| consequences(&what, &plan.consequences));
        return Ok(());
    }
    confirm(&what, &plan.consequences, args.act.yes, output)?;
    let done: Revoked = client.post(path, &request(false)).await?;
    output.view(&done, |_| format!("{} is removed", done.who));
    Ok(())
}

/// Gives a node up and lets a successor in.
pub(crate) async fn replace(global: &Global, args: args::Replace, output: &Output) -> Result<(), ApiError> {
    let request = |dry_run| ReplaceNode {
        node: args.target.clone(),
        force: args.force,
        reason: args.act.reason.clone(),
        ttl_s: args.ttl.as_secs(),
        dry_run,
    };
    let (path, client) = ("/v1/node/replace", global.client().await?);
    let plan: NodeReplaced = client.post(path, &request(true)).await?;
    let what = format!("replacing {} ({})", plan.node, plan.id);
    if args.act.dry_run {
        output.view(&plan, |_| consequences(&what, &plan.consequences));
        return Ok(());
    }
    confirm(&what, &plan.consequences, args.act.yes, output)?;
    let done: NodeReplaced = client.post(path, &request(false)).await?;
    output.view(&done, |_| done.token.as_ref().map(|token| token.token.clone()).unwrap_or_default());
    output.talk(&format!("{} is denied; give the token to `covenant join` on the stdin of its successor", done.id));
    Ok(())
}
