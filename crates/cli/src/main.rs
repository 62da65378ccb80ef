//! The `covenant` binary: one command for operators, chaos engineers and newcomers.
//!
//! stdout is for data, stderr for talk; `--json` is beside every view; exit codes are in `covenant --help`.

mod args;
mod client;
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

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let output = output::Output::new(&cli.global);
    match verbs::run(cli, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.kind.exit_code())
        }
    }
}
