//! A case on our core, told in the words of `otp_diff.erl`.

use std::collections::BTreeMap;

use covenant_supervision::simulation::{Line, Simulation, What};
use covenant_supervision::{ChildState, Shutdown};
use covenant_types::ExitReason;

use crate::case::Case;

/// One line for the boot and one for each step. A spec that cannot be has one line that says so.
pub(crate) fn play(case: &Case) -> Vec<String> {
    let mut said = Vec::new();
    let mut simulation = match Simulation::start(&case.tree, 0, &mut |line| said.push(line)) {
        Ok(simulation) => simulation,
        Err(error) => return vec![error.to_string()],
    };
    let mut told = vec![tell("boot", &said, &simulation)];
    for step in case.steps() {
        said.clear();
        if let Err(error) = simulation.play_together(step, &mut |line| said.push(line)) {
            told.push(error.to_string());
            return told;
        }
        let word = if step.len() == 1 { word(&said) } else { together(&said) };
        told.push(tell(&word, &said, &simulation));
    }
    told
}

/// What the step came to: the answer of a call, or whether there was anybody to end.
fn word(lines: &[Line]) -> String {
    let ignored = lines.iter().any(|line| matches!(line.what, What::Ignored(_)));
    answer(lines).unwrap_or_else(|| if ignored { "ignored" } else { "done" }.to_owned())
}

/// The same for a step of many events.
fn together(lines: &[Line]) -> String {
    let ignored = lines.iter().filter(|line| matches!(line.what, What::Ignored(_))).count();
    // Where OTP's supervisor ends over a call, nobody answers; ours may say that it is stopping.
    let answer = answer(lines).map(|word| format!(", {}", word.replace("stopping", "noproc")));
    format!("together, {ignored} ignored{}", answer.unwrap_or_default())
}

fn answer(lines: &[Line]) -> Option<String> {
    let value = |line: &Line| serde_json::to_value(line).unwrap();
    lines.iter().find_map(|line| value(line)["result"].as_str().map(str::to_owned))
}

fn tell(word: &str, lines: &[Line], simulation: &Simulation<'_>) -> String {
    let state = simulation.state();
    let mut paths: BTreeMap<&str, (&str, u64)> =
        simulation.starts().iter().map(|(path, starts)| (path.as_str(), ("gone", *starts))).collect();
    paths.remove("/");
    for (path, standing) in &state.children {
        let word = match standing.state {
            ChildState::Undefined => "undefined",
            ChildState::Running => "running",
            ChildState::Starting => "starting",
            ChildState::Restarting => "restarting",
            ChildState::Stopping => "stopping",
            ChildState::Unkillable => "unkillable",
        };
        paths.insert(path.as_str(), (word, standing.incarnation));
    }
    let root = state.ended.as_ref().map_or_else(|| "running".to_owned(), |reason| format!("exited {reason}"));
    let paths: String = paths.iter().map(|(path, (state, starts))| format!(" {path}={state}:{starts}")).collect();
    let started = paths_of(lines.iter().filter(|line| matches!(line.what, What::Started(_))));
    format!("{word} | {root} |{paths} | started{started} | stopped{}", stopped(lines))
}

/// Workers that were asked to stop, in order.
fn stopped(lines: &[Line]) -> String {
    if lines.iter().any(|line| line.what == What::Exited(ExitReason::Killed)) {
        return " (a supervisor was killed)".to_owned();
    }
    let asked = |line: &Line| matches!(line.what, What::Stopped(Shutdown::Timeout(_) | Shutdown::Infinity));
    // Of a supervisor that was asked, the next word is that it has ended. Later there may be a worker at its path.
    let supervises = |at: usize| {
        let next = lines[at + 1..].iter().find(|line| line.path == lines[at].path);
        next.is_some_and(|line| matches!(line.what, What::Exited(_)))
    };
    let workers = lines.iter().enumerate().filter(|(at, line)| asked(line) && !supervises(*at));
    paths_of(workers.map(|(_, line)| line))
}

fn paths_of<'l>(lines: impl Iterator<Item = &'l Line>) -> String {
    lines.map(|line| format!(" {}", line.path)).collect()
}
