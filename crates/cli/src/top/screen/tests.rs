use covenant_runtime::{ActorKind, ActorState};
use covenant_types::Incarnation;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;

fn actor(path: &str, depth: usize, children: Vec<TreeView>) -> TreeView {
    let worker = children.is_empty();
    TreeView {
        path: path.parse().unwrap(),
        kind: if worker { ActorKind::Worker } else { ActorKind::Supervisor },
        state: ActorState::Running,
        incarnation: Incarnation(1),
        restarts: 0,
        mailbox: worker.then_some(MailboxView { depth, capacity: 1024, dropped: 0 }),
        handled: 0,
        handler_us: 0,
        behaviour: worker.then(|| "x".to_owned()),
        children,
    }
}

fn tree(workers: usize) -> TreeView {
    let children = (0..workers).map(|at| actor(&format!("/w{at}"), at * 100, Vec::new())).collect();
    actor("/", 0, children)
}

/// The screen as lines of text.
fn shown(nodes: Vec<TopNode>, view: &mut View) -> Vec<String> {
    let snapshot = TopSnapshot { nodes };
    let mut history = History::default();
    history.add(&snapshot);
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| draw(frame, &snapshot, &history, view)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let line = |y: u16| (0..80).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>();
    (0..24).map(line).collect()
}

#[test]
fn eighty_columns_and_twenty_four_lines_are_enough() {
    let mut view = View::new(true);
    let lines = shown(vec![TopNode::of("hub-one", tree(5), &[("/w1", 12.5)])], &mut view);
    assert!(lines[0].contains("6 actors · 0 restarts · 12.5/s"), "{lines:#?}");
    let worker = lines.iter().find(|line| line.contains("├─ w1")).unwrap();
    for part in ["running", "█··· 100/1024", "12.5 █"] {
        assert!(worker.contains(part), "{part} is not in {worker}");
    }
    assert!(lines.iter().any(|line| line.contains("└─ w4")));
    assert!(lines[23].contains("q quit"));
}

#[test]
fn a_long_tree_is_scrolled_and_never_beyond_its_end() {
    let mut view = View::new(true);
    view.scroll = 1000;
    let lines = shown(vec![TopNode::of("hub-one", tree(100), &[])], &mut view);
    assert!(lines.iter().any(|line| line.contains("└─ w99")), "{lines:#?}");
    assert!(view.scroll < 101, "the next key up is seen at once");
    assert!(!lines.iter().any(|line| line.contains("├─ w1 ")));
}

#[test]
fn of_many_nodes_the_chosen_one_is_in_sight() {
    let nodes = || (0..30).map(|at| TopNode::of(&format!("node-{at}"), tree(1), &[])).collect::<Vec<_>>();
    let mut view = View::new(true);
    view.choose(29);
    let lines = shown(nodes(), &mut view);
    assert!(lines.iter().any(|line| line.contains("▶ node-29")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("tree of node-29")));
}

#[test]
fn without_colours_nothing_is_coloured() {
    for colours in [true, false] {
        let snapshot = TopSnapshot { nodes: vec![TopNode::of("hub-one", tree(3), &[])] };
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        let mut view = View::new(colours);
        terminal.draw(|frame| draw(frame, &snapshot, &History::default(), &mut view)).unwrap();
        let coloured = terminal.backend().buffer().content().iter().any(|cell| cell.fg != Color::Reset);
        assert_eq!(coloured, colours);
    }
}

#[test]
fn rates_are_short() {
    let cases = [(0.0, "0.0"), (99.94, "99.9"), (123.4, "123"), (9999.0, "9999"), (12_345.0, "12.3k"), (2.5e6, "2.5M")];
    for (rate, text) in cases {
        assert_eq!(short(rate), text);
    }
}
