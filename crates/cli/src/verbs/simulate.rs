//! `covenant tree simulate`: a tree file and a script of events in, JSON lines out.

use std::io::Read;
use std::path::Path;

use covenant_node::api::ApiError;
use covenant_supervision::load_tree;
use covenant_supervision::simulation::{
    Happening, Line, SCRIPT_BYTES_MAX, ScriptedEvent, Simulation, SimulationError, read_script,
};
use covenant_types::{ExitReason, Uptime};
use serde::Serialize;

use crate::args::Simulate;
use crate::output::Output;

/// Plays the tree and prints what happens as it happens.
pub(super) fn run(args: &Simulate, output: &Output) -> Result<(), ApiError> {
    let (name, trees) = covenant_node::Trees::around(&args.file).map_err(ApiError::usage)?;
    let tree = load_tree(&name, &trees).map_err(ApiError::usage)?;
    let events = match (&args.events, &args.kill) {
        (Some(file), _) => read(file)?,
        (None, Some(path)) => {
            vec![ScriptedEvent { at: Uptime::ZERO, path: path.clone(), what: Happening::Exit(ExitReason::Killed) }]
        }
        (None, None) => Vec::new(),
    };
    let mut out = |line: Line| print(&line, output);
    let played = Simulation::start(&tree, args.seed, &mut out).and_then(|mut simulation| {
        for event in &events {
            simulation.play(event, &mut out)?;
        }
        simulation.run_out(&mut out)?;
        Ok(simulation.state())
    });
    let endless = |error: &SimulationError| matches!(error, SimulationError::Endless { .. });
    let state =
        played.map_err(|error| if endless(&error) { ApiError::failure(error) } else { ApiError::usage(error) })?;
    print(&state, output);
    Ok(())
}

fn print(line: &impl Serialize, output: &Output) {
    output.data(&serde_json::to_string(line).unwrap_or_else(|error| format!("{{\"error\":{:?}}}", error.to_string())));
}

fn read(file: &Path) -> Result<Vec<ScriptedEvent>, ApiError> {
    let complain = |error: std::io::Error| ApiError::usage(format!("{}: {error}", file.display()));
    let opened = std::fs::File::open(file).map_err(complain)?;
    let mut text = Vec::new();
    // One byte more than is read shows that there is more.
    let limit = u64::try_from(SCRIPT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    opened.take(limit).read_to_end(&mut text).map_err(complain)?;
    read_script(&text).map_err(|error| ApiError::usage(format!("{}:{error}", file.display())))
}
