//! Counting, per node. The `metrics` crate's macros write to a process-wide recorder, which two nodes would share.

use std::fmt;
use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, NoopRecorder, Recorder};

/// Where one node counts. Cheap to clone. Keep the handles it returns; looking one up costs a hash.
#[derive(Clone)]
pub struct Metrics(Arc<dyn Recorder + Send + Sync>);

static METADATA: Metadata<'static> = Metadata::new("covenant", Level::INFO, None);

impl Metrics {
    /// Counts into `recorder`.
    pub fn new(recorder: impl Recorder + Send + Sync + 'static) -> Self {
        Self(Arc::new(recorder))
    }

    /// Counts nothing.
    pub fn none() -> Self {
        Self::new(NoopRecorder)
    }

    /// The counter `name` with these labels.
    pub fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.0.register_counter(&key(name, labels), &METADATA)
    }

    /// The gauge `name` with these labels.
    pub fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        self.0.register_gauge(&key(name, labels), &METADATA)
    }

    /// The histogram `name` with these labels.
    pub fn histogram(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        self.0.register_histogram(&key(name, labels), &METADATA)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<Label> = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    Key::from_parts(name, labels)
}
