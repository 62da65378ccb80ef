//! The `covenant` command, as a library: a program with behaviours of its own is this command and knows them too.
//!
//! stdout is for data, stderr for talk; `--json` is beside every view; exit codes are in `covenant --help`.

mod args;
mod client;
#[doc(hidden)]
pub mod fuzz;
mod new;
mod node_run;
mod operator_file;
mod output;
mod rates;
mod target;
mod top;
mod up;
mod verbs;

use std::process::ExitCode;

use clap::Parser;
pub use covenant_runtime::BehaviourRegistry;

/// Does what was typed, and returns what a `main` returns. Nodes that this program runs can have, beside the built-in
/// behaviours, those that `register` adds; `up` starts such nodes, and `tree check` knows their names.
///
/// The allocator is the binary's choice. The `covenant` binary chooses mimalloc, built so that it takes no huge pages.
///
/// # Panics
/// `register` takes a name that is taken.
pub fn main(register: impl FnOnce(&mut BehaviourRegistry)) -> ExitCode {
    let cli = args::Cli::parse();
    let output = output::Output::new(&cli.global);
    let mut behaviours = covenant_node::registry();
    register(&mut behaviours);
    match verbs::run(cli, behaviours, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.kind.exit_code())
        }
    }
}
