//! What a cluster counts. Handles are kept: looking one up costs a hash.

use covenant_env::Metrics;
use metrics::{Counter, Gauge};

/// The counters of one node's cluster.
pub(crate) struct Counters {
    metrics: Metrics,
    pub(crate) members: Gauge,
    pub(crate) denied: Gauge,
    pub(crate) inbox_dropped: Counter,
    pub(crate) datagrams_unsent: Counter,
    pub(crate) feeds_dropped: Counter,
    pub(crate) swim_refused: Counter,
    pub(crate) swim_held: Counter,
    pub(crate) renewals: Counter,
    pub(crate) rebirths: Counter,
    pub(crate) dials_failed: Counter,
    pub(crate) demands: Counter,
    pub(crate) demands_refused: Counter,
    pub(crate) idle_closed: Counter,
    pub(crate) mail_kept: Counter,
    pub(crate) mail_delivered: Counter,
    pub(crate) mail_waiting: Gauge,
    pub(crate) casts_sent: Counter,
    pub(crate) calls_sent: Counter,
    pub(crate) casts_received: Counter,
    pub(crate) calls_received: Counter,
    pub(crate) waits: Counter,
    pub(crate) presence_frames: Counter,
    pub(crate) presence_bytes: Counter,
    pub(crate) presence_entries: Gauge,
    pub(crate) presence_refused: Counter,
    pub(crate) names_lost: Counter,
}

impl Counters {
    pub(crate) fn new(metrics: Metrics) -> Self {
        let counter = |name| metrics.counter(name, &[]);
        Self {
            members: metrics.gauge("covenant_cluster_members_reachable", &[]),
            denied: metrics.gauge("covenant_cluster_denied", &[]),
            inbox_dropped: counter("covenant_cluster_inbox_dropped_total"),
            datagrams_unsent: counter("covenant_cluster_datagrams_unsent_total"),
            feeds_dropped: counter("covenant_cluster_feeds_dropped_total"),
            swim_refused: counter("covenant_cluster_swim_refused_total"),
            swim_held: counter("covenant_cluster_swim_held_total"),
            renewals: counter("covenant_cluster_renewals_total"),
            rebirths: counter("covenant_cluster_epochs_raised_total"),
            dials_failed: counter("covenant_cluster_dials_failed_total"),
            demands: counter("covenant_cluster_dials_on_demand_total"),
            demands_refused: counter("covenant_cluster_dials_on_demand_refused_total"),
            idle_closed: counter("covenant_cluster_idle_closed_total"),
            mail_kept: counter("covenant_cluster_mail_kept_total"),
            mail_delivered: counter("covenant_cluster_mail_delivered_total"),
            mail_waiting: metrics.gauge("covenant_cluster_mail_waiting", &[]),
            casts_sent: counter("covenant_remoting_casts_sent_total"),
            calls_sent: counter("covenant_remoting_calls_sent_total"),
            casts_received: counter("covenant_remoting_casts_received_total"),
            calls_received: counter("covenant_remoting_calls_received_total"),
            waits: counter("covenant_remoting_waits_total"),
            presence_frames: counter("covenant_presence_frames_sent_total"),
            presence_bytes: counter("covenant_presence_bytes_sent_total"),
            presence_entries: metrics.gauge("covenant_presence_entries", &[]),
            presence_refused: counter("covenant_presence_shards_refused_total"),
            names_lost: counter("covenant_presence_names_lost_total"),
            metrics,
        }
    }

    /// Counts a record that was not kept. `why` is one of a closed set of words.
    pub(crate) fn record_refused(&self, why: &str) {
        self.metrics.counter("covenant_cluster_records_refused_total", &[("why", why)]).increment(1);
    }

    /// Counts letters for sleepers that were lost. `why` is one of a closed set of words.
    pub(crate) fn mail_dropped(&self, why: &str, letters: u64) {
        self.metrics.counter("covenant_cluster_mail_dropped_total", &[("why", why)]).increment(letters);
    }

    /// Counts a denial that was not believed or not kept. `why` is one of a closed set of words.
    pub(crate) fn denial_refused(&self, why: &str) {
        self.metrics.counter("covenant_cluster_denials_refused_total", &[("why", why)]).increment(1);
    }

    /// Counts a member whose accusations are not heard. `why` is one of a closed set of words.
    pub(crate) fn quarantined(&self, why: &str) {
        self.metrics.counter("covenant_cluster_quarantined_total", &[("why", why)]).increment(1);
    }

    /// Counts a cast that arrived and reached nobody. `why` is one of a closed set of words.
    pub(crate) fn cast_dropped(&self, why: &str) {
        self.metrics.counter("covenant_remoting_casts_dropped_total", &[("why", why)]).increment(1);
    }

    /// Counts a call, or the first of some casts, that was refused before it was read; of those under a lease each. `why` is
    /// one of a closed set of words.
    pub(crate) fn message_refused(&self, why: &str) {
        self.metrics.counter("covenant_remoting_messages_refused_total", &[("why", why)]).increment(1);
    }

    /// Counts a message type that is another one on another node.
    pub(crate) fn schemas_differ(&self, message: &str) {
        self.metrics.counter("covenant_remoting_schemas_differ_total", &[("message", message)]).increment(1);
    }

    /// Counts an actor that is ended by order of another node. `order` is one of a closed set of words.
    pub(crate) fn ordered(&self, order: &str) {
        self.metrics.counter("covenant_remoting_orders_total", &[("order", order)]).increment(1);
    }

    /// Counts a stream that was not taken. `why` is one of a closed set of words.
    pub(crate) fn stream_refused(&self, why: &str) {
        self.metrics.counter("covenant_cluster_streams_refused_total", &[("why", why)]).increment(1);
    }
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counters")
    }
}
