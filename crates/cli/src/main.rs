//! The `covenant` binary: one command for operators, chaos engineers and newcomers.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    covenant_cli::main(|_| {})
}
