//! Draws a snapshot. Made for 80 columns and 24 lines; what does not fit is scrolled to.

use covenant_cluster::MemberState;
use covenant_runtime::{MailboxView, TreeView};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout as Split, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};

use super::history::History;
use super::snapshot::{TopNode, TopSnapshot};
use crate::output::{Tone, bytes};
use crate::verbs::tree::tone;

/// What the keys have chosen.
#[derive(Debug)]
pub(super) struct View {
    /// The node whose tree is shown.
    pub(super) node: usize,
    /// The first line of the tree that is shown.
    pub(super) scroll: usize,
    colours: bool,
}

impl View {
    pub(super) fn new(colours: bool) -> Self {
        Self { node: 0, scroll: 0, colours }
    }

    pub(super) fn choose(&mut self, node: usize) {
        (self.node, self.scroll) = (node, 0);
    }

    fn style(&self, tone: Tone) -> Style {
        let colour = match tone {
            Tone::Plain => return Style::default(),
            Tone::Dim => return Style::default().dim(),
            Tone::Good => Color::Green,
            Tone::Warn => Color::Yellow,
            Tone::Bad => Color::Red,
        };
        if self.colours { Style::default().fg(colour) } else { Style::default() }
    }
}

/// Frame, heading and the names of the columns.
const AROUND: u16 = 3;
/// How wide the columns before a line of bars are: what is left of the line is the bars'.
const NODE_COLUMNS: usize = 61;
const ACTOR_COLUMNS: usize = 64;

pub(super) fn draw(frame: &mut Frame<'_>, snapshot: &TopSnapshot, history: &History, view: &mut View) {
    view.node = view.node.min(snapshot.nodes.len().saturating_sub(1));
    let wanted = u16::try_from(snapshot.nodes.len()).unwrap_or(u16::MAX).saturating_add(AROUND);
    let most = (frame.area().height / 2).max(AROUND + 1);
    let [head, nodes, tree, keys] = Split::vertical([
        Constraint::Length(1),
        Constraint::Length(wanted.min(most)),
        Constraint::Min(AROUND),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(heading(snapshot)), head);
    boxed(frame, nodes, " nodes ".to_owned(), node_lines(snapshot, history, view, nodes));
    let title = snapshot.nodes.get(view.node).map_or_else(String::new, |node| format!(" tree of {} ", node.name));
    let lines = tree_lines(snapshot.nodes.get(view.node), history, view, tree);
    boxed(frame, tree, title, lines);
    let help = "q quit · Tab node · ↑↓ PgUp PgDn scroll · ↻ restarts · ✉ waiting · /s messages";
    frame.render_widget(Paragraph::new(Line::from(help).dim()), keys);
}

fn boxed(frame: &mut Frame<'_>, area: Rect, title: String, lines: Vec<Line<'static>>) {
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title.bold())), area);
}

fn heading(snapshot: &TopSnapshot) -> Line<'static> {
    let nodes = &snapshot.nodes;
    let answering = nodes.iter().filter(|node| node.status.is_some()).count();
    let cluster = nodes.iter().find_map(|node| node.status.as_ref()).map_or("covenant", |status| &status.cluster);
    let (actors, restarts) = nodes.iter().fold((0, 0), |sum, node| (sum.0 + node.actors, sum.1 + node.restarts));
    let rate: f64 = nodes.iter().map(|node| node.per_second).sum();
    let said = format!(
        "{cluster}: {answering} of {} nodes answer · {actors} actors · {restarts} restarts · {}/s",
        nodes.len(),
        short(rate)
    );
    Line::from(said).bold()
}

fn node_lines(snapshot: &TopSnapshot, history: &History, view: &View, area: Rect) -> Vec<Line<'static>> {
    let names = format!(
        "  {:<14} {:<6} {:<11} {:>5} {:>9} {:>4} {:>5} {:>6}",
        "NODE", "ROLE", "MEMBER", "EPOCH", "MEMORY", "↻", "✉", "/s"
    );
    let mut lines = vec![Line::from(names).dim()];
    let room = usize::from(area.height.saturating_sub(AROUND)).max(1);
    let width = usize::from(area.width.saturating_sub(2)).saturating_sub(NODE_COLUMNS + 9);
    let first = (view.node + 1).saturating_sub(room); // the chosen one is always in sight
    for (at, node) in snapshot.nodes.iter().enumerate().skip(first).take(room) {
        let mark = if at == view.node { "▶ " } else { "  " };
        let member = node.member.map_or_else(|| "-".to_owned(), |state| state.to_string());
        let Some(status) = &node.status else {
            let why = node.error.as_deref().unwrap_or("it has not been asked yet");
            lines.push(Line::from(vec![
                Span::raw(format!("{mark}{:<14.14} {:<6} ", node.name, "-")),
                Span::styled(format!("{member:<11} "), view.style(member_tone(node.member))),
                Span::styled(format!("no answer: {why}"), view.style(Tone::Bad)),
            ]));
            continue;
        };
        lines.push(Line::from(vec![
            Span::raw(format!("{mark}{:<14.14} {:<6} ", node.name, status.role)),
            Span::styled(format!("{member:<11} "), view.style(member_tone(node.member))),
            Span::raw(format!("{:>5} {:>9} ", status.epoch, bytes(status.rss_bytes))),
            Span::raw(format!("{:>4} {:>5} {:>6} ", node.restarts, node.waiting, short(node.per_second))),
            Span::raw(history.node(&node.name, width)),
        ]));
    }
    lines
}

fn member_tone(state: Option<MemberState>) -> Tone {
    match state {
        Some(MemberState::Reachable) => Tone::Good,
        Some(MemberState::Unreachable) => Tone::Warn,
        Some(MemberState::Down) => Tone::Bad,
        Some(MemberState::Left | MemberState::Asleep | MemberState::Removed) | None => Tone::Dim,
    }
}

fn tree_lines(node: Option<&TopNode>, history: &History, view: &mut View, area: Rect) -> Vec<Line<'static>> {
    let Some(TopNode { name, tree: Some(tree), rates, .. }) = node else {
        return vec![Line::from("the node does not answer").dim()];
    };
    let mut rows = Vec::new();
    collect(tree, "", "", &mut rows);
    let room = usize::from(area.height.saturating_sub(AROUND));
    view.scroll = view.scroll.min(rows.len().saturating_sub(room));
    let names = format!("{:<22} {:<10} {:>4} {:>4} {:<15} {:>6}", "ACTOR", "STATE", "INC", "↻", "✉ MAILBOX", "/s");
    let mut lines = vec![Line::from(names).dim()];
    let width = usize::from(area.width.saturating_sub(2)).saturating_sub(ACTOR_COLUMNS + 3);
    for (left, actor) in rows.into_iter().skip(view.scroll).take(room) {
        let rate = rates.get(&actor.path).copied().unwrap_or_default();
        let worker = actor.behaviour.is_some();
        let restarts = Span::styled(
            format!("{:>4} ", actor.restarts),
            view.style(if actor.restarts > 0 { Tone::Warn } else { Tone::Plain }),
        );
        let (full, mailbox) = actor.mailbox.map_or((Tone::Plain, String::new()), mailbox);
        lines.push(Line::from(vec![
            Span::raw(format!("{left:<22.22} ")),
            Span::styled(format!("{:<10} ", actor.state), view.style(tone(actor.state))),
            Span::raw(format!("{:>4} ", actor.incarnation)),
            restarts,
            Span::styled(format!("{mailbox:<15} "), view.style(full)),
            Span::raw(if worker { format!("{:>6} ", short(rate)) } else { format!("{:>6} ", "") }),
            Span::raw(if worker { history.actor(name, &actor.path, width) } else { String::new() }),
        ]));
    }
    lines
}

/// Every actor below, with its branch.
fn collect<'a>(view: &'a TreeView, lead: &str, below: &str, rows: &mut Vec<(String, &'a TreeView)>) {
    let name = if view.path.is_root() { "/" } else { view.path.id() };
    rows.push((format!("{lead}{name}"), view));
    let last = view.children.len().saturating_sub(1);
    for (at, child) in view.children.iter().enumerate() {
        let (corner, bar) = if at == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        collect(child, &format!("{below}{corner}"), &format!("{below}{bar}"), rows);
    }
}

/// How full a mailbox is: four cells, then the numbers.
fn mailbox(view: MailboxView) -> (Tone, String) {
    let cells = (view.depth * 4).div_ceil(view.capacity.max(1)).min(4);
    let bar: String = "█".repeat(cells) + &"·".repeat(4 - cells);
    let tone = match cells {
        0 => Tone::Dim,
        1 | 2 => Tone::Plain,
        3 => Tone::Warn,
        _ => Tone::Bad,
    };
    (tone, format!("{bar} {}/{}", view.depth, view.capacity))
}

/// A rate in at most six characters.
fn short(rate: f64) -> String {
    for (unit, size) in [("G", 1e9), ("M", 1e6), ("k", 1e4)] {
        if rate >= size {
            let scale = if unit == "k" { 1e3 } else { size };
            return format!("{:.1}{unit}", rate / scale);
        }
    }
    if rate >= 100.0 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}

#[cfg(test)]
mod tests;
