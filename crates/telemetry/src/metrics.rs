//! One Prometheus recorder per node.

use std::fmt;

use covenant_env::Metrics;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::descriptions::describe;

/// Upper bounds of every histogram, in seconds: 1 µs to 30 s.
///
/// Fixed buckets keep memory per series fixed and let Prometheus add nodes up, which summaries do not.
const BUCKETS_S: &[f64] = &[
    0.000_001, 0.000_01, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 5.0, 10.0, 30.0,
];

/// Where one node counts, and the text of `/metrics` made from it. Cheap to clone; clones are the same node.
#[derive(Clone)]
pub struct NodeMetrics {
    metrics: Metrics,
    handle: PrometheusHandle,
}

impl NodeMetrics {
    /// An empty recorder of its own. Nothing is installed for the process.
    pub fn new() -> Self {
        let builder = PrometheusBuilder::new().set_buckets(BUCKETS_S).expect("there are buckets");
        let recorder = builder.build_recorder();
        describe(&recorder);
        let handle = recorder.handle();
        Self { metrics: Metrics::new(recorder), handle }
    }

    /// Where to count; goes into the node's `Env`.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// The text of `/metrics`, in Prometheus' exposition format.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds samples of histograms into their buckets. Call it every few seconds: [`NodeMetrics::render`] does the same, but
    /// nobody may be asking, and until then each sample is kept.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

impl Default for NodeMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for NodeMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeMetrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes_in_one_process_count_apart() {
        let (africa, asia) = (NodeMetrics::new(), NodeMetrics::new());
        africa.metrics().counter("covenant_restarts_total", &[("path", "/sync")]).increment(3);
        asia.metrics().counter("covenant_restarts_total", &[("path", "/sync")]).increment(40);
        assert!(africa.render().contains("covenant_restarts_total{path=\"/sync\"} 3\n"), "{}", africa.render());
        assert!(asia.render().contains("covenant_restarts_total{path=\"/sync\"} 40\n"), "{}", asia.render());
    }

    #[test]
    fn what_is_counted_is_explained() {
        let node = NodeMetrics::new();
        node.metrics().gauge("covenant_mailbox_depth", &[("path", "/sync")]).set(3.0);
        let text = node.render();
        assert!(text.contains("# HELP covenant_mailbox_depth Messages that wait"), "{text}");
    }

    #[test]
    fn a_histogram_is_rendered_as_buckets_that_can_be_added_up() {
        let node = NodeMetrics::new();
        node.metrics().histogram("covenant_call_seconds", &[]).record(0.002);
        node.upkeep();
        let text = node.render();
        assert!(text.contains("covenant_call_seconds_bucket{le=\"0.0025\"} 1"), "{text}");
        assert!(text.contains("covenant_call_seconds_bucket{le=\"0.001\"} 0"), "{text}");
    }
}
