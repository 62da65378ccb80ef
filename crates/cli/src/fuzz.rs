//! Doors for the fuzzer to decoders that only this crate calls. No part of the interface.

use clap::Parser;

use crate::args::Cli;
use crate::up::layout::Layout;

/// What is typed, one argument a line.
pub fn fuzz_arguments(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _parsed = Cli::try_parse_from(std::iter::once("covenant").chain(text.lines()));
    }
}

/// Lines as people type them.
pub fn arguments_seeds() -> Vec<Vec<u8>> {
    [
        "members --json",
        "node run --config node.toml",
        "up --check",
        "drain hub-africa --deadline 30s",
        "wait --for members=5 --timeout 60s",
        "actor kill /sync/scheduler --node hub-africa",
        "ledger transfer --from pool --to KEN --amount 12.34",
        "tree apply hub.toml --plan 0123abcd",
        "token create --role tower --region africa --name tower-kisumu --ttl 1h",
        "events --follow --socket control.sock",
    ]
    .map(|line| line.replace(' ', "\n").into_bytes())
    .into()
}

/// `up.toml`.
pub fn fuzz_up_layout(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _read: Result<Layout, _> = toml::from_str(text);
    }
}

/// A layout of one node.
pub fn up_layout_seeds() -> Vec<Vec<u8>> {
    let text = "cluster = \"demo\"\n[[node]]\nname = \"hub-africa\"\nrole = \"hub\"\nregion = \"africa\"\nlisten = \"127.0.0.1:7700\"\ncontrol = \"127.0.0.1:7701\"\nmetrics = \"127.0.0.1:7702\"\nsubscribe = [\"health\"]\n";
    vec![text.as_bytes().to_vec()]
}
