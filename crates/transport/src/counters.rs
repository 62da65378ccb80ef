//! What a transport counts. Handles are kept: looking one up costs a hash.

use covenant_env::Metrics;
use metrics::{Counter, Gauge};

use crate::Plane;
use crate::plane::PLANES;

/// The counters of one transport.
pub(crate) struct Counters {
    metrics: Metrics,
    pub(crate) peers: Gauge,
    pub(crate) bytes_sent: [Counter; PLANES],
    pub(crate) bytes_received: [Counter; PLANES],
    pub(crate) datagrams_sent: Counter,
    pub(crate) datagrams_received: Counter,
}

impl Counters {
    pub(crate) fn new(metrics: Metrics) -> Self {
        let bytes = |name: &'static str| Plane::ALL.map(|plane| metrics.counter(name, &[("plane", plane.as_str())]));
        Self {
            peers: metrics.gauge("covenant_transport_peers", &[]),
            bytes_sent: bytes("covenant_transport_sent_bytes_total"),
            bytes_received: bytes("covenant_transport_received_bytes_total"),
            datagrams_sent: metrics.counter("covenant_transport_datagrams_sent_total", &[]),
            datagrams_received: metrics.counter("covenant_transport_datagrams_received_total", &[]),
            metrics,
        }
    }

    /// Counts a connection that was refused or given up before it was a peer. `why` is one of a closed set of words.
    pub(crate) fn handshake_failed(&self, why: &str) {
        self.metrics.counter("covenant_transport_handshakes_failed_total", &[("why", why)]).increment(1);
    }

    /// Counts a connection that became a peer.
    pub(crate) fn opened(&self, side: &str) {
        self.metrics.counter("covenant_transport_connections_opened_total", &[("side", side)]).increment(1);
    }

    /// Counts a peer's connection that ended.
    pub(crate) fn closed(&self, why: &str) {
        self.metrics.counter("covenant_transport_connections_closed_total", &[("why", why)]).increment(1);
    }

    /// Counts a request to join or renew.
    pub(crate) fn join(&self, result: &str) {
        self.metrics.counter("covenant_transport_joins_total", &[("result", result)]).increment(1);
    }
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counters")
    }
}
