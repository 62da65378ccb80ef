//! What `up --check` says: one line per step with its time, and a verdict.

use std::time::Duration;

use covenant_node::api::ApiError;
use serde::Serialize;

use crate::output::{Output, Tone};

/// One step of the story.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Step {
    /// Its number and what it promises.
    pub(crate) name: &'static str,
    /// Whether it held.
    pub(crate) ok: bool,
    /// What was seen.
    pub(crate) seen: String,
    /// How long it took, in milliseconds.
    pub(crate) ms: u64,
}

/// The whole story.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Whether every step held.
    pub(crate) ok: bool,
    /// The steps in order; the first that failed is the last.
    pub(crate) steps: Vec<Step>,
    /// How long all of it took, in milliseconds.
    pub(crate) ms: u64,
}

impl Report {
    /// Runs one step, prints it unless JSON was asked for, and passes on what it found.
    pub(crate) async fn step<T>(
        &mut self,
        output: &Output,
        name: &'static str,
        work: impl Future<Output = Result<(T, String), ApiError>>,
    ) -> Result<T, ApiError> {
        let began = tokio::time::Instant::now();
        let result = work.await;
        let took = began.elapsed();
        let (ok, seen) = match &result {
            Ok((_, seen)) => (true, seen.clone()),
            Err(error) => (false, error.message.clone()),
        };
        let step = Step { name, ok, seen, ms: millis(took) };
        if !output.json() {
            output.data(&step.line(output));
        }
        self.steps.push(step);
        result.map(|(found, _)| found)
    }
}

impl Step {
    fn line(&self, output: &Output) -> String {
        let (tone, mark) = if self.ok { (Tone::Good, "ok  ") } else { (Tone::Bad, "FAIL") };
        let time = format!("{:>7.2} s", Duration::from_millis(self.ms).as_secs_f64());
        format!(
            "{} {}  {}\n               {}",
            output.paint(tone, mark),
            output.paint(Tone::Dim, &time),
            self.name,
            output.paint(Tone::Dim, &self.seen)
        )
    }
}

/// Whole milliseconds.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
