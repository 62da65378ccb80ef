//! All decoders, by who reads what they read.

mod book;
mod files;
mod identity;
mod membership;
mod services;
mod tlog;
mod words;

use covenant_cluster::fuzz as cluster;
use covenant_consensus::fuzz as consensus;
use covenant_ledger_state::fuzz as ledger_state;
use covenant_placement::fuzz as placement;
use covenant_transport::fuzz as transport;

use crate::Target;

/// Every target, in the order in which they are hunted.
pub fn targets() -> Vec<Target> {
    let connections = [
        Target::new("hello", transport::fuzz_hello, transport::hello_seeds),
        Target::new("join-request", transport::fuzz_join_request, transport::join_request_seeds),
        Target::new("join-answer", transport::fuzz_join_answer, transport::join_answer_seeds),
        Target::new("feed-frame", cluster::fuzz_feed_frame, cluster::feed_frame_seeds),
        Target::new("presence-frame", cluster::fuzz_presence_frame, cluster::presence_frame_seeds),
        Target::new("node-record", cluster::fuzz_node_record, cluster::node_record_seeds),
        Target::new("actor-frame", cluster::fuzz_actor_frame, cluster::actor_frame_seeds),
        Target::new("reply-frame", cluster::fuzz_reply_frame, cluster::reply_frame_seeds),
        Target::new("tie-frame", cluster::fuzz_tie_frame, cluster::tie_frame_seeds),
        Target::new("seeds-file", cluster::fuzz_seeds_file, cluster::seeds_file_seeds),
        Target::new("lease-tokens", cluster::fuzz_lease_tokens, cluster::lease_tokens_seeds),
        Target::new("consensus-message", consensus::fuzz_consensus_message, consensus::consensus_message_seeds),
        Target::new("consensus-head", consensus::fuzz_consensus_head, consensus::consensus_head_seeds),
        Target::new("consensus-log", consensus::fuzz_consensus_log, consensus::consensus_log_seeds),
        Target::new("ledger-manifest", ledger_state::fuzz_ledger_manifest, ledger_state::ledger_manifest_seeds),
        Target::new("ledger-journal", ledger_state::fuzz_ledger_journal, ledger_state::ledger_journal_seeds),
        Target::new("ledger-run", ledger_state::fuzz_ledger_run, ledger_state::ledger_run_seeds),
        Target::new("placement-command", placement::fuzz_placement_command, placement::placement_command_seeds),
        Target::new("placement-table", placement::fuzz_placement_table, placement::placement_table_seeds),
        Target::new("ledger-state", ledger_state::fuzz_ledger_state, ledger_state::ledger_state_seeds),
    ];
    let cores = [words::TARGETS, &connections, membership::TARGETS, identity::TARGETS].concat();
    [&cores, services::TARGETS, book::TARGETS, files::TARGETS, tlog::TARGETS].concat()
}
