//! What a bridge counts.

use covenant_env::Metrics;
use metrics::{Counter, Gauge};

use crate::refusal::Refusal;

/// The counters of one node's bridge.
#[derive(Clone)]
pub(crate) struct Counters {
    metrics: Metrics,
    pub(crate) connected: Gauge,
    pub(crate) casts: Counter,
    pub(crate) calls: Counter,
    pub(crate) waits: Counter,
}

impl Counters {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            connected: metrics.gauge("covenant_bridge_clients", &[]),
            casts: metrics.counter("covenant_bridge_casts_total", &[]),
            calls: metrics.counter("covenant_bridge_calls_total", &[]),
            waits: metrics.counter("covenant_bridge_waits_total", &[]),
            metrics,
        }
    }

    /// A client was turned away, or its session ended because of it.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.metrics.counter("covenant_bridge_refused_total", &[("why", refusal.code().as_str())]).increment(1);
    }

    /// A handshake came to nothing.
    pub(crate) fn handshake_failed(&self) {
        self.metrics.counter("covenant_bridge_refused_total", &[("why", "tls")]).increment(1);
    }

    /// A message did not reach a member, or a call has no answer.
    pub(crate) fn dropped(&self, why: &'static str) {
        self.metrics.counter("covenant_bridge_dropped_total", &[("why", why)]).increment(1);
    }

    /// Something a client said was left.
    pub(crate) fn left(&self, what: &'static str) {
        self.metrics.counter("covenant_bridge_left_total", &[("what", what)]).increment(1);
    }
}
