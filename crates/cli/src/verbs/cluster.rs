//! Members, trees, actors, processes, incidents: what a cluster is and does.

use covenant_cluster::{LinkView, MemberState, MemberView, Phase};
use covenant_env::Clock;
use covenant_node::api::cert::Life;
use covenant_node::api::part::Member;
use covenant_node::api::{ApiError, Status};
use covenant_types::{NodeName, WallTime};
use covenant_watch::Incident;

use crate::args::{Global, NodeVerb};
use crate::output::{Output, Tone, bytes};
use crate::up::processes::ProcessView;
use crate::up::{KillNode, StartNode};

/// Who is in the cluster.
pub(crate) async fn members(global: &Global, wide: bool, output: &Output) -> Result<(), ApiError> {
    let members: Vec<Member> = global.client().await?.get("/v1/members").await?;
    let now = covenant_env::RealClock::new().wall();
    output.view(&members, |output| {
        let rows: Vec<_> = members.iter().map(|member| member_row(&member.view, now)).collect();
        let head =
            ["NODE", "ROLE", "REGION", "STATE", "EPOCH", "ADDRESS", "TIER", "RTT", "LOSS", "VERSION", "CERT", "ID"];
        let table = output.table(&head, &rows);
        if !wide {
            return table;
        }
        let links: Vec<_> = members.iter().filter_map(|member| member.link.as_ref()).map(link_row).collect();
        let head =
            ["LINK TO", "RTT", "LOSS", "OUT/S", "IN/S", "MEMBERSHIP", "CONTROL", "ACTORS", "REPLIES", "BULK", "FROM"];
        format!("{table}\n\n{}", output.table(&head, &links))
    });
    Ok(())
}

fn member_row(member: &MemberView, now: WallTime) -> Vec<(Tone, String)> {
    vec![
        (Tone::Plain, member.name.to_string()),
        (Tone::Plain, member.role.to_string()),
        (Tone::Plain, member.region.to_string()),
        (tone(member.state), state_and_phase(member)),
        (Tone::Plain, member.epoch.to_string()),
        (Tone::Plain, member.address.to_string()),
        (Tone::Dim, member.tier.to_string()),
        (Tone::Dim, or_dash(member.rtt_ms.map(|rtt| format!("{rtt} ms")))),
        (Tone::Dim, or_dash(member.loss_permille.map(permille))),
        version(member),
        certificate(member, now),
        (Tone::Dim, member.id.to_string()),
    ]
}

/// What passes on one connection: sent and received since it began.
fn link_row(link: &LinkView) -> Vec<(Tone, String)> {
    let mut row = vec![
        (Tone::Plain, link.name.to_string()),
        (Tone::Plain, format!("{}.{} ms", link.rtt_us / 1000, link.rtt_us % 1000 / 100)),
        (Tone::Plain, permille(link.loss_permille)),
        (Tone::Plain, bytes(link.goodput_out)),
        (Tone::Plain, bytes(link.goodput_in)),
    ];
    let planes = link.sent.by_plane().into_iter().zip(link.received.by_plane());
    row.extend(planes.map(|((_, sent), (_, received))| (Tone::Dim, format!("{} / {}", bytes(sent), bytes(received)))));
    row.push((Tone::Dim, link.address.to_string()));
    row
}

fn permille(loss: u64) -> String {
    format!("{}.{} %", loss / 10, loss % 10)
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn version(member: &MemberView) -> (Tone, String) {
    match &member.schema_differs[..] {
        [] => (Tone::Dim, member.version.clone()),
        types => (Tone::Bad, format!("{}, schema differs: {}", member.version, types.join(" "))),
    }
}

fn state_and_phase(member: &MemberView) -> String {
    match member.phase {
        Phase::Draining => format!("{}, draining", member.state),
        Phase::Active | Phase::Asleep { .. } => member.state.to_string(),
    }
}

/// How long a member's certificate still counts.
fn certificate(member: &MemberView, now: WallTime) -> (Tone, String) {
    let left = member.certificate_ends.0.saturating_sub(now.0);
    let tone = match Life::at(now, member.certificate_begins, member.certificate_ends) {
        Life::Ended => Tone::Bad,
        Life::Late => Tone::Warn,
        Life::Fresh => Tone::Dim,
    };
    let text = match left {
        0 => "ended".to_owned(),
        1..3600 => format!("{} min", left / 60),
        3600.. => format!("{} h", left / 3600),
    };
    (tone, text)
}

fn tone(state: MemberState) -> Tone {
    match state {
        MemberState::Reachable => Tone::Good,
        MemberState::Unreachable => Tone::Warn,
        MemberState::Down => Tone::Bad,
        MemberState::Left | MemberState::Asleep | MemberState::Removed => Tone::Dim,
    }
}

/// One node's own state.
pub(crate) async fn status(global: &Global, output: &Output) -> Result<(), ApiError> {
    let status: Status = global.client().await?.get("/v1/status").await?;
    output.view(&status, |output| {
        let ready = match status.ready {
            true => output.paint(Tone::Good, "ready"),
            false => output.paint(Tone::Bad, &format!("not ready: {}", status.not_ready_because)),
        };
        format!(
            "{} ({}, {}) of {}: {ready}\nid       {}\nepoch    {}\npid      {}\nversion  {}\nup       {} s\nmemory   {}\nlistens  {}\nbook on  {}",
            status.name,
            status.role,
            status.region,
            status.cluster,
            status.id,
            status.epoch,
            status.pid,
            status.version,
            status.uptime_ms / 1000,
            bytes(status.rss_bytes),
            status.listen,
            status.book_home,
        )
    });
    Ok(())
}

/// What the watchers noticed.
pub(crate) async fn incidents(global: &Global, output: &Output) -> Result<(), ApiError> {
    let incidents: Vec<Incident> = global.client().await?.get("/v1/incidents").await?;
    output.view(&incidents, |output| {
        if incidents.is_empty() {
            return "no incidents".to_owned();
        }
        let row = |incident: &Incident| {
            let (tone, state) = if incident.is_open() { (Tone::Bad, "open") } else { (Tone::Dim, "closed") };
            let newest = incident.evidence.last().map(|evidence| evidence.what.clone()).unwrap_or_default();
            vec![
                (Tone::Plain, incident.id.to_string()),
                (tone, state.to_owned()),
                (Tone::Plain, incident.kind.as_str().to_owned()),
                (Tone::Plain, incident.subject.clone()),
                (Tone::Dim, newest),
            ]
        };
        let rows: Vec<_> = incidents.iter().map(row).collect();
        output.table(&["ID", "STATE", "KIND", "SUBJECT", "EVIDENCE"], &rows)
    });
    Ok(())
}

/// The processes that `up` runs.
async fn processes(global: &Global, output: &Output) -> Result<(), ApiError> {
    let views: Vec<ProcessView> = global.up_client().get("/v1/processes").await?;
    output.view(&views, |output| {
        let rows: Vec<_> = views.iter().map(process_row).collect();
        output.table(&["NODE", "PROCESS", "PID", "RESTARTS", "LAST EXIT"], &rows)
    });
    Ok(())
}

fn process_row(view: &ProcessView) -> Vec<(Tone, String)> {
    let tone = if view.pid.is_some() { Tone::Good } else { Tone::Warn };
    vec![
        (Tone::Plain, view.node.to_string()),
        (tone, view.state.clone()),
        (Tone::Plain, view.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string())),
        (Tone::Plain, view.restarts.to_string()),
        (Tone::Dim, view.last_exit.clone().unwrap_or_default()),
    ]
}

/// Does one verb about the processes of `up`.
pub(crate) async fn node(global: &Global, verb: NodeVerb, output: &Output) -> Result<(), ApiError> {
    match verb {
        NodeVerb::Run(_) => Err(ApiError::usage("a node is run without a cluster around it")),
        NodeVerb::Replace(args) => super::cert::replace(global, args, output).await,
        NodeVerb::Ls => processes(global, output).await,
        NodeVerb::Kill { node, hold } => node_kill(global, node, hold, output).await,
        NodeVerb::Start { node } => node_start(global, node, output).await,
    }
}

/// SIGKILLs a node of `up`.
async fn node_kill(global: &Global, node: NodeName, hold: bool, output: &Output) -> Result<(), ApiError> {
    let view: ProcessView = global.up_client().post("/v1/node/kill", &KillNode { node, hold }).await?;
    output.view(&view, |_| match hold {
        true => format!("{} is killed and held down; start it with: covenant node start {}", view.node, view.node),
        false => format!("{} is killed; its policy starts it again", view.node),
    });
    Ok(())
}

/// Starts a node that is held down.
async fn node_start(global: &Global, node: NodeName, output: &Output) -> Result<(), ApiError> {
    let view: ProcessView = global.up_client().post("/v1/node/start", &StartNode { node }).await?;
    output.view(&view, |_| format!("{} is started", view.node));
    Ok(())
}
