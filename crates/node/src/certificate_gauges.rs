//! When the node's certificate, its issuing authority and the root it is certified under end, and whether its clock is doubted.

use covenant_env::Metrics;
use covenant_identity::{ClockVerdict, authority_ends};
use covenant_types::WallTime;
use metrics::Gauge;

use crate::node::Shared;

/// The gauges about certificates.
pub(crate) struct CertificateGauges {
    node: Gauge,
    issuing: Gauge,
    root: Gauge,
    doubted: Gauge,
}

impl CertificateGauges {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let ends = |of| metrics.gauge("covenant_certificate_ends_timestamp_seconds", &[("of", of)]);
        Self {
            node: ends("node"),
            issuing: ends("issuing"),
            root: ends("root"),
            doubted: metrics.gauge("covenant_clock_doubted", &[]),
        }
    }

    pub(crate) fn update(&self, shared: &Shared) {
        let at = |time: WallTime| u32::try_from(time.0).map_or(f64::INFINITY, f64::from);
        self.node.set(at(shared.credentials.identity().not_after));
        if let Some(authority) = shared.desk.any_authority() {
            self.issuing.set(at(authority.not_after()));
        }
        if let Ok(ends) = authority_ends(&shared.credentials.trusted().roots()[0]) {
            self.root.set(at(ends));
        }
        self.doubted.set(if shared.clock.judge() == ClockVerdict::Plausible { 0.0 } else { 1.0 });
    }
}
