//! The live view of `up`: members, one tree, ledger, content, incidents, updated in place.
//!
//! One task asks the nodes, this one draws what it last heard, so that a slow node never freezes the keys.

use std::path::Path;
use std::time::Duration;

use covenant_cluster::MemberState;
use covenant_env::{Spawner, Task};
use covenant_runtime::TreeView;
use covenant_types::{ActorPath, NodeName};
use crossterm::event::{Event, EventStream, KeyCode, KeyEventKind, KeyModifiers};
use futures_util::StreamExt;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout as Split, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};
use tokio::sync::watch;

use super::layout::Layout;
use super::processes::ProcessesRef;
use super::snapshot::Snapshot;
use crate::client::Client;
use crate::verbs::content::bar;

/// How often the nodes are asked.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// What the keys have chosen.
#[derive(Debug, Default)]
struct Chosen {
    node: usize,
    said: String,
    /// Whether colours are wanted.
    colours: bool,
}

/// Shows the cluster until q or Ctrl-C.
pub(crate) async fn show(
    processes: &ProcessesRef,
    layout: &Layout,
    folder: &Path,
    colours: bool,
) -> std::io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let chosen = Chosen { colours, ..Chosen::default() };
    let result = run(&mut terminal, processes, layout, folder, chosen).await;
    ratatui::try_restore()?;
    result
}

async fn run(
    terminal: &mut ratatui::DefaultTerminal,
    processes: &ProcessesRef,
    layout: &Layout,
    folder: &Path,
    mut chosen: Chosen,
) -> std::io::Result<()> {
    let (choose, chosen_node) = watch::channel(0);
    let (_asker, mut snapshots) = ask(processes.clone(), layout.clone(), folder.to_owned(), chosen_node);
    let mut keys = EventStream::new();
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        terminal.draw(|frame| draw(frame, &snapshot, layout, &chosen))?;
        tokio::select! {
            biased;
            key = keys.next() => match key {
                Some(Ok(Event::Key(key))) if key.kind == KeyEventKind::Press => {
                    let interrupt = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
                    if interrupt || key.code == KeyCode::Char('q') {
                        return Ok(());
                    }
                    chosen.said = press(key.code, &mut chosen.node, processes, layout, folder).await;
                    choose.send_replace(chosen.node);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            changed = snapshots.changed() => if changed.is_err() {
                return Ok(());
            },
        }
    }
}

/// Asks the nodes again and again; ends with its owner.
fn ask(
    processes: ProcessesRef,
    layout: Layout,
    folder: std::path::PathBuf,
    chosen: watch::Receiver<usize>,
) -> (Task, watch::Receiver<Snapshot>) {
    let (sender, receiver) = watch::channel(Snapshot::default());
    let task = Spawner::new(tokio::runtime::Handle::current()).spawn(async move {
        loop {
            let node = *chosen.borrow();
            sender.send_replace(Snapshot::take(&processes, &layout, &folder, node).await);
            tokio::time::sleep(ASK_EVERY).await;
        }
    });
    (task, receiver)
}

/// Does what a key says, and says what it did.
#[expect(clippy::wildcard_enum_match_arm, reason = "most keys mean nothing here")]
async fn press(key: KeyCode, node: &mut usize, processes: &ProcessesRef, layout: &Layout, folder: &Path) -> String {
    let count = layout.node.len().max(1);
    match key {
        KeyCode::Down | KeyCode::Tab | KeyCode::Char('j') => *node = (*node + 1) % count,
        KeyCode::Up | KeyCode::BackTab | KeyCode::Char('k') => *node = (*node + count - 1) % count,
        KeyCode::Char('a') => return kill_actor(*node, layout, folder).await,
        KeyCode::Char(letter @ ('K' | 'H' | 'S')) => {
            let Some(plan) = layout.node.get(*node) else { return String::new() };
            let (what, result) = match letter {
                'K' => ("killed, its policy restarts it", processes.kill(&plan.name, false).await),
                'H' => ("killed and held down, S starts it", processes.kill(&plan.name, true).await),
                _ => ("started", processes.start(&plan.name).await),
            };
            return match result {
                Ok(()) => format!("{}: {what}", plan.name),
                Err(error) => error.message,
            };
        }
        _ => {}
    }
    String::new()
}

async fn kill_actor(node: usize, layout: &Layout, folder: &Path) -> String {
    let Some(plan) = layout.node.get(node) else { return String::new() };
    let path: ActorPath = match "/sync/scheduler".parse() {
        Ok(path) => path,
        Err(error) => return format!("{error}"),
    };
    let client = Client::socket(&plan.dir(folder).join("control.sock"));
    let order = covenant_node::api::KillActor { path };
    match client.post::<covenant_node::api::ActorKilled>("/v1/actor/kill", &order).await {
        Ok(killed) => format!("{}:{} incarnation {} killed", plan.name, killed.path, killed.incarnation),
        Err(error) => error.message,
    }
}

fn draw(frame: &mut Frame<'_>, snapshot: &Snapshot, layout: &Layout, chosen: &Chosen) {
    let rows = u16::try_from(layout.node.len()).unwrap_or(u16::MAX).saturating_add(3);
    let incidents = if frame.area().height < 32 { 3 } else { 6 };
    let [members, middle, bottom, keys] = Split::vertical([
        Constraint::Length(rows),
        Constraint::Min(8),
        Constraint::Length(incidents),
        Constraint::Length(3),
    ])
    .areas(frame.area());
    let [tree, right] = Split::horizontal([Constraint::Percentage(55), Constraint::Percentage(45)]).areas(middle);
    let [ledger, content] = Split::vertical([Constraint::Length(5), Constraint::Min(3)]).areas(right);
    boxed(frame, members, " members ", member_lines(snapshot, layout, chosen));
    let title = snapshot.tree.as_ref().map_or_else(|| " tree ".to_owned(), |(node, _)| format!(" tree of {node} "));
    boxed(frame, tree, &title, tree_lines(snapshot));
    boxed(frame, ledger, " ledger ", ledger_lines(snapshot));
    boxed(frame, content, " content ", content_lines(snapshot));
    boxed(frame, bottom, " incidents ", incident_lines(snapshot));
    let help = "q stop all · ↑↓ choose · a kill actor · K kill node · H kill and hold · S start";
    let verbs = "try elsewhere: covenant members · ledger assess --year 2024 · node kill hub-europe";
    let lines = vec![Line::from(chosen.said.clone()).yellow(), Line::from(help), Line::from(verbs).dim()];
    frame.render_widget(Paragraph::new(lines), keys);
    if !chosen.colours {
        without_colours(frame.buffer_mut());
    }
}

fn boxed(frame: &mut Frame<'_>, area: Rect, title: &str, lines: Vec<Line<'static>>) {
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title.to_owned().bold())), area);
}

fn member_lines(snapshot: &Snapshot, layout: &Layout, chosen: &Chosen) -> Vec<Line<'static>> {
    let head = format!(
        "  {:<14} {:<6} {:<8} {:<12} {:>6} {:>9} {:>8}",
        "NODE", "ROLE", "PROCESS", "MEMBER", "EPOCH", "RSS", "RESTARTS"
    );
    let mut lines = vec![Line::from(head).dim()];
    for (at, plan) in layout.node.iter().enumerate() {
        let node = snapshot.nodes.get(at);
        let process = node.and_then(|node| node.process.as_ref());
        let status = node.and_then(|node| node.status.as_ref());
        let members = snapshot.members.iter().flat_map(|(_, members)| members);
        let member = members.into_iter().find(|member| member.name == plan.name).map(|member| member.state);
        let process_state = process.map_or("?", |process| process.state.as_str()).to_owned();
        let member_state = member.map_or_else(|| "?".to_owned(), |state| format!("{state:?}").to_lowercase());
        let epoch = status.map_or_else(|| "-".to_owned(), |status| status.epoch.to_string());
        let rss = status.map_or_else(|| "-".to_owned(), |status| crate::output::bytes(status.rss_bytes));
        let restarts = process.map_or(0, |process| process.restarts);
        let mark = if at == chosen.node { "▶ " } else { "  " };
        let good = process_state == "running";
        lines.push(Line::from(vec![
            Span::raw(format!("{mark}{:<14} {:<6} ", plan.name, plan.role)),
            Span::styled(format!("{process_state:<8.8} "), colour(if good { Color::Green } else { Color::Yellow })),
            Span::styled(format!("{member_state:<12} "), colour(member_colour(member))),
            Span::raw(format!("{epoch:>6} {rss:>9} {restarts:>8}")),
        ]));
    }
    lines
}

fn member_colour(state: Option<MemberState>) -> Color {
    match state {
        Some(MemberState::Reachable) => Color::Green,
        Some(MemberState::Unreachable) => Color::Yellow,
        Some(MemberState::Down) => Color::Red,
        Some(MemberState::Left | MemberState::Asleep | MemberState::Removed) | None => Color::DarkGray,
    }
}

fn colour(colour: Color) -> Style {
    Style::default().fg(colour)
}

/// What is drawn loses its colours, whoever put them there.
fn without_colours(drawn: &mut Buffer) {
    for cell in &mut drawn.content {
        cell.set_fg(Color::Reset).set_bg(Color::Reset);
    }
}

fn tree_lines(snapshot: &Snapshot) -> Vec<Line<'static>> {
    let Some((_, tree)) = &snapshot.tree else { return vec![Line::from("the node does not answer").dim()] };
    let mut lines = Vec::new();
    branch(tree, "", "", &mut lines);
    lines
}

fn branch(view: &TreeView, lead: &str, below: &str, lines: &mut Vec<Line<'static>>) {
    let name = if view.path.is_root() { "/".to_owned() } else { view.path.id().to_owned() };
    let state = view.state.to_string();
    let good = state == "running";
    let left = format!("{lead}{name}");
    let restarts = if view.restarts > 0 { format!(" ↻{}", view.restarts) } else { String::new() };
    let mailbox =
        view.mailbox.as_ref().map(|mailbox| format!(" ✉{}/{}", mailbox.depth, mailbox.capacity)).unwrap_or_default();
    lines.push(Line::from(vec![
        Span::raw(format!("{left:<20} ")),
        Span::styled(format!("{state:<10}"), colour(if good { Color::Green } else { Color::Yellow })),
        Span::raw(format!("#{}{restarts}{mailbox}", view.incarnation)),
    ]));
    let last = view.children.len().saturating_sub(1);
    for (at, child) in view.children.iter().enumerate() {
        let (corner, bar) = if at == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        branch(child, &format!("{below}{corner}"), &format!("{below}{bar}"), lines);
    }
}

fn ledger_lines(snapshot: &Snapshot) -> Vec<Line<'static>> {
    match &snapshot.ledger {
        Some(Ok(status)) => vec![
            Line::from(format!("kept by {}", names(&status.voters))),
            Line::from(format!("led by {}", status.leader.as_ref().map_or("nobody", NodeName::as_str))),
            Line::from(format!("{} transfers at position {}", status.entries, status.position)),
        ],
        Some(Err(why)) => vec![Line::from(why.clone()).red()],
        None => vec![Line::from("no node answers").dim()],
    }
}

fn names(nodes: &[NodeName]) -> String {
    let names: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
    if names.is_empty() { "nobody known".to_owned() } else { names.join(", ") }
}

fn content_lines(snapshot: &Snapshot) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for node in &snapshot.nodes {
        for dataset in node.content.iter().flat_map(|content| &content.datasets) {
            let progress = bar(dataset.chunks_have, dataset.chunks_total);
            let tone = if dataset.complete { Color::Green } else { Color::Yellow };
            lines.push(Line::from(vec![
                Span::raw(format!("{:<13.13} {:<10.10} ", node.name, dataset.name)),
                Span::styled(progress, colour(tone)),
            ]));
        }
    }
    if lines.is_empty() {
        lines.push(Line::from("nothing published yet; try:").dim());
        lines.push(Line::from("covenant content publish docs --name docs --class health").dim());
    }
    lines
}

fn incident_lines(snapshot: &Snapshot) -> Vec<Line<'static>> {
    if snapshot.incidents.is_empty() {
        return vec![Line::from("none").dim()];
    }
    let line = |(node, incident): &(covenant_types::NodeName, covenant_watch::Incident)| {
        let open = incident.is_open();
        let newest = incident.evidence.last().map(|evidence| evidence.what.as_str()).unwrap_or_default();
        let state = if open { "open  " } else { "closed" };
        let text = format!("{state} {node}: {} {}: {newest}", incident.kind.as_str(), incident.subject);
        Line::from(Span::styled(text, colour(if open { Color::Red } else { Color::DarkGray })))
    };
    snapshot.incidents.iter().rev().take(4).map(line).collect()
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    #[test]
    fn who_wants_no_colours_gets_none_and_reads_the_same() {
        let layout = Layout { cluster: "test".to_owned(), node: Vec::new() };
        let snapshot = Snapshot { ledger: Some(Err("the book is away".to_owned())), ..Snapshot::default() };
        let drawn = |colours| {
            let chosen = Chosen { node: 0, said: "hub-africa: killed".to_owned(), colours };
            let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
            terminal.draw(|frame| draw(frame, &snapshot, &layout, &chosen)).unwrap();
            terminal.backend().buffer().clone()
        };
        let coloured = |buffer: &Buffer| buffer.content().iter().filter(|cell| cell.fg != Color::Reset).count();
        let text = |buffer: &Buffer| buffer.content().iter().map(|cell| cell.symbol().to_owned()).collect::<String>();
        let (with, without) = (drawn(true), drawn(false));
        assert_eq!(coloured(&without), 0);
        assert!(coloured(&with) >= "the book is away".len() + "hub-africa: killed".len());
        assert_eq!(text(&with), text(&without));
    }
}
