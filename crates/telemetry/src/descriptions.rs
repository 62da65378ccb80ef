//! What each metric of a node means, for the `# HELP` lines of `/metrics`. `docs/operating/metrics.md` has the same names.

use metrics::{Recorder, SharedString};

/// How a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

/// Tells `recorder` what its metrics mean.
pub(crate) fn describe(recorder: &impl Recorder) {
    for (name, kind, text) in DESCRIPTIONS {
        let (name, text) = ((*name).into(), SharedString::const_str(text));
        match kind {
            Counter => recorder.describe_counter(name, None, text),
            Gauge => recorder.describe_gauge(name, None, text),
            Histogram => recorder.describe_histogram(name, None, text),
        }
    }
}

const DESCRIPTIONS: &[(&str, Kind, &str)] = &[
    ("process_resident_memory_bytes", Gauge, "Resident memory."),
    ("process_open_fds", Gauge, "Open files and sockets."),
    ("covenant_uptime_seconds", Gauge, "Time since the node started."),
    ("covenant_tasks", Gauge, "Tasks that have not ended, by runtime."),
    ("covenant_actor_restarts_total", Counter, "How often an actor came back after an exit."),
    ("covenant_actor_handled_total", Counter, "Messages an actor handled."),
    ("covenant_actor_handler_microseconds_total", Counter, "Time in an actor's handlers, waiting included."),
    ("covenant_actor_crashes_total", Counter, "Abnormal ends of actors."),
    ("covenant_mailbox_depth", Gauge, "Messages that wait, as of the last look at the tree."),
    ("covenant_unkillable_tasks", Gauge, "Actors that were killed and do not end; above zero the node is not ready."),
    ("covenant_certificate_ends_timestamp_seconds", Gauge, "When a certificate ends, in seconds since 1970."),
    ("covenant_certificate_renewals_total", Counter, "Attempts to renew the node's certificate, by result."),
    ("covenant_clock_doubted", Gauge, "1 while the machine's clock is doubted."),
    ("covenant_cluster_members_reachable", Gauge, "Members this node calls reachable, itself included."),
    (
        "covenant_cluster_epochs_raised_total",
        Counter,
        "How often this node raised its boot epoch above one that the cluster knew.",
    ),
    ("covenant_cluster_renewals_total", Counter, "How often others had given this node up while it ran."),
    ("covenant_cluster_dials_failed_total", Counter, "Dials that led nowhere."),
    ("covenant_cluster_dials_on_demand_total", Counter, "Messages for nodes to which no connection was kept."),
    ("covenant_cluster_dials_on_demand_refused_total", Counter, "Such messages that found too many dials under way."),
    ("covenant_cluster_idle_closed_total", Counter, "Connections closed because no message needed them any more."),
    ("covenant_cluster_mail_kept_total", Counter, "Messages to sleeping members taken to be kept here."),
    ("covenant_cluster_mail_delivered_total", Counter, "Messages that were kept for this node while it slept."),
    ("covenant_cluster_mail_dropped_total", Counter, "Messages to sleeping members that were lost."),
    ("covenant_cluster_mail_waiting", Gauge, "Messages to sleeping members that wait here."),
    ("covenant_cluster_inbox_dropped_total", Counter, "Datagrams of gossip that found no room here."),
    ("covenant_cluster_datagrams_unsent_total", Counter, "Datagrams of gossip that could not be sent."),
    ("covenant_cluster_feeds_dropped_total", Counter, "Larger pieces of gossip that found no room."),
    ("covenant_cluster_swim_refused_total", Counter, "Rumours that were not believed."),
    ("covenant_cluster_swim_held_total", Counter, "Rumours that wait for the node's own word."),
    ("covenant_cluster_denied", Gauge, "Keys and operators that are denied."),
    ("covenant_cluster_denials_refused_total", Counter, "Denials that were forged, or could not be kept."),
    ("covenant_cluster_quarantined_total", Counter, "Members that did what no honest one does."),
    ("covenant_cluster_records_refused_total", Counter, "Records of nodes that are hostile or foreign."),
    ("covenant_cluster_streams_refused_total", Counter, "Streams that are hostile or too many."),
    ("covenant_remoting_calls_sent_total", Counter, "Calls to actors of other nodes."),
    ("covenant_remoting_calls_received_total", Counter, "Calls from actors of other nodes."),
    ("covenant_remoting_casts_sent_total", Counter, "Casts to actors of other nodes."),
    ("covenant_remoting_casts_received_total", Counter, "Casts from actors of other nodes."),
    ("covenant_remoting_waits_total", Counter, "Senders that waited for room."),
    (
        "covenant_remoting_messages_refused_total",
        Counter,
        "Calls and first casts, and all messages under a lost lease, that were refused before they were read.",
    ),
    ("covenant_remoting_schemas_differ_total", Counter, "Message types that are other ones on another node."),
    ("covenant_remoting_orders_total", Counter, "Actors that were stopped or killed by order of another node."),
    ("covenant_remoting_casts_dropped_total", Counter, "Casts that found no room in time."),
    ("covenant_presence_entries", Gauge, "Names and memberships of other nodes' actors that are held."),
    ("covenant_presence_frames_sent_total", Counter, "Frames about names and groups that were sent."),
    ("covenant_presence_bytes_sent_total", Counter, "Bytes of them."),
    ("covenant_presence_shards_refused_total", Counter, "What other nodes told of names and groups and found no room."),
    ("covenant_presence_names_lost_total", Counter, "Actors that lost their name to another node's."),
    ("covenant_transport_peers", Gauge, "Open connections."),
    ("covenant_transport_connections_opened_total", Counter, "Connections that were opened."),
    ("covenant_transport_connections_closed_total", Counter, "Connections that ended."),
    ("covenant_transport_handshakes_failed_total", Counter, "Who knocked or was dialled and was not let in."),
    ("covenant_transport_joins_total", Counter, "Join requests by how they ended."),
    ("covenant_peer_rtt_seconds", Gauge, "The round trip to a node, smoothed."),
    ("covenant_peer_loss_ratio", Gauge, "How many of the packets sent to a node were lost lately."),
    ("covenant_peer_goodput_bytes_per_second", Gauge, "Content that passes to and from a node lately."),
    ("covenant_peer_bytes_total", Counter, "Content that passed to and from a node, by plane."),
    ("covenant_transport_faults", Gauge, "Faults that the node holds on itself."),
    ("covenant_transport_fault_datagrams_total", Counter, "Datagrams that such faults touched, by effect."),
    ("covenant_transport_sent_bytes_total", Counter, "Bytes sent on streams."),
    ("covenant_transport_received_bytes_total", Counter, "Bytes received on streams."),
    ("covenant_transport_datagrams_sent_total", Counter, "Datagrams sent."),
    ("covenant_transport_datagrams_received_total", Counter, "Datagrams received."),
    ("covenant_ledger_requests_total", Counter, "Requests to the ledger at this node's desk."),
    ("covenant_ledger_commit_seconds", Histogram, "How long a command took to be answered, on disk at a majority."),
    ("covenant_ledger_log_entries", Gauge, "Entries of this node's public log of the ledger, as published."),
    (
        "covenant_ledger_log_rounds_total",
        Counter,
        "Rounds of this node's public log, published or without enough witnesses.",
    ),
    ("covenant_content_served_bytes_total", Counter, "Bytes of chunks given to other nodes."),
    ("covenant_consensus_refused_total", Counter, "Requests of nodes that had no say in a group, by group and why."),
    ("covenant_content_fetched_bytes_total", Counter, "Bytes of chunks taken from other nodes."),
    ("covenant_content_wrong_chunks_total", Counter, "Chunks whose bytes were not what they are called."),
    ("covenant_incidents_open", Gauge, "Incidents that are open."),
    ("covenant_incidents_opened_total", Counter, "Incidents opened since the watcher started."),
    ("covenant_watch_overlooked", Gauge, "What found no room in the watcher; above zero its picture is incomplete."),
    ("covenant_bridge_clients", Gauge, "Clients of the ractor bridge that are connected."),
    (
        "covenant_bridge_refused_total",
        Counter,
        "Clients of the ractor bridge that were turned away or closed, by reason.",
    ),
    ("covenant_bridge_casts_total", Counter, "Casts that clients of the ractor bridge made to members."),
    ("covenant_bridge_calls_total", Counter, "Calls that clients of the ractor bridge made to members."),
    ("covenant_bridge_waits_total", Counter, "Messages whose client had too many under way, and had to wait."),
    (
        "covenant_bridge_dropped_total",
        Counter,
        "Messages of clients that reached no behaviour, and calls without an answer.",
    ),
    ("covenant_bridge_left_total", Counter, "What clients of the ractor bridge said and nobody listens to."),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in the tables of a page, with their kinds.
    fn documented(page: &str) -> Vec<(&str, Kind)> {
        let mut found = Vec::new();
        for line in page.lines().filter(|line| line.starts_with("| `")) {
            let mut cells = line.trim_matches('|').split('|');
            let (names, kind) = (cells.next().unwrap(), cells.next().unwrap().trim());
            let kind = match kind {
                "counter" => Counter,
                "gauge" => Gauge,
                "histogram" => Histogram,
                other => panic!("{other:?} is no kind: {line}"),
            };
            found.extend(names.split('`').skip(1).step_by(2).map(|name| (name, kind)));
        }
        found
    }

    #[test]
    fn every_metric_has_a_help_text_and_stands_in_the_manual() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operating/metrics.md");
        let page = std::fs::read_to_string(page).unwrap();
        let mut in_manual = documented(&page);
        let mut described: Vec<(&str, Kind)> = DESCRIPTIONS.iter().map(|(name, kind, _)| (*name, *kind)).collect();
        in_manual.sort_by_key(|(name, _)| *name);
        described.sort_by_key(|(name, _)| *name);
        assert_eq!(described, in_manual);
    }
}
