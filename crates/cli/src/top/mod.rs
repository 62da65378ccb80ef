//! `covenant top`: nodes, one tree, mailboxes, rates and restarts, updated in place; with `--json` one look at all of it.
//!
//! One task asks the nodes, this one draws what it last heard, so that a slow node never freezes the keys.

mod history;
mod screen;
mod snapshot;

use std::io::IsTerminal;
use std::time::Duration;

use covenant_env::{Spawner, Task};
use covenant_node::api::ApiError;
use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures_util::StreamExt;
use tokio::sync::watch;

use crate::args::Global;
use crate::output::Output;
use history::History;
use screen::View;
use snapshot::{Asker, TopSnapshot};

/// How often the nodes are asked, and the time over which `--json` counts.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Shows the cluster until q or Ctrl-C, or prints one look at it.
pub(crate) async fn run(global: &Global, output: &Output) -> Result<(), ApiError> {
    let mut asker = Asker::new(global).await?;
    if output.json() {
        asker.look().await;
        tokio::time::sleep(ASK_EVERY).await;
        let snapshot = asker.look().await;
        output.view(&snapshot, |_| String::new());
        return Ok(());
    }
    if !std::io::stdout().is_terminal() {
        return Err(ApiError::usage("top draws on a terminal; ask for one look with --json"));
    }
    let mut terminal = ratatui::try_init().map_err(ApiError::failure)?;
    let result = live(&mut terminal, asker, output.colours()).await;
    ratatui::try_restore().map_err(ApiError::failure)?;
    result.map_err(ApiError::failure)
}

async fn live(terminal: &mut ratatui::DefaultTerminal, asker: Asker, colours: bool) -> std::io::Result<()> {
    let (_asking, mut heard) = ask(asker);
    let mut keys = EventStream::new();
    let (mut view, mut history) = (View::new(colours), History::default());
    let mut snapshot = TopSnapshot::default();
    loop {
        terminal.draw(|frame| screen::draw(frame, &snapshot, &history, &mut view))?;
        tokio::select! {
            biased;
            key = keys.next() => match key {
                Some(Ok(Event::Key(key))) if key.kind == KeyEventKind::Press => {
                    if is_quit(key) {
                        return Ok(());
                    }
                    press(key.code, &snapshot, &mut view);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            changed = heard.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                snapshot = heard.borrow_and_update().clone();
                history.add(&snapshot);
            }
        }
    }
}

/// Asks the nodes again and again; ends with its owner.
fn ask(mut asker: Asker) -> (Task, watch::Receiver<TopSnapshot>) {
    let (sender, receiver) = watch::channel(TopSnapshot::default());
    let task = Spawner::new(tokio::runtime::Handle::current()).spawn(async move {
        loop {
            sender.send_replace(asker.look().await);
            tokio::time::sleep(ASK_EVERY).await;
        }
    });
    (task, receiver)
}

fn is_quit(key: KeyEvent) -> bool {
    let interrupt = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
    interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "most keys mean nothing here")]
fn press(key: KeyCode, snapshot: &TopSnapshot, view: &mut View) {
    let nodes = snapshot.nodes.len().max(1);
    match key {
        KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') => view.choose((view.node + 1) % nodes),
        KeyCode::BackTab | KeyCode::Left | KeyCode::Char('h') => view.choose((view.node + nodes - 1) % nodes),
        KeyCode::Down | KeyCode::Char('j') => view.scroll = view.scroll.saturating_add(1),
        KeyCode::Up | KeyCode::Char('k') => view.scroll = view.scroll.saturating_sub(1),
        KeyCode::PageDown => view.scroll = view.scroll.saturating_add(PAGE),
        KeyCode::PageUp => view.scroll = view.scroll.saturating_sub(PAGE),
        KeyCode::Home => view.scroll = 0,
        _ => {}
    }
}

/// Lines of a page.
const PAGE: usize = 10;
