//! What a run came to.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use covenant_history::{History, Kind, Outcome, Verdict};
use serde::Serialize;

/// One run, for people and for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) ok: bool,
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    pub(crate) clients: usize,
    /// How often each trouble was there.
    pub(crate) troubles: BTreeMap<&'static str, u64>,
    pub(crate) counts: Counts,
    pub(crate) latency: Latency,
    /// Faults by their kind. All are zero where the ledger keeps its word.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// Those that are listed, in words.
    pub(crate) listed: Vec<String>,
    /// Processes that ended by themselves: none may.
    pub(crate) ended: Vec<String>,
    /// Each voter's position and state.
    pub(crate) replicas: BTreeMap<String, (u64, String)>,
    /// The longest time in which nothing was acknowledged, in seconds.
    pub(crate) longest_silence_s: f64,
}

/// What clients did.
#[derive(Debug, Serialize)]
pub(crate) struct Counts {
    pub(crate) attempts: usize,
    pub(crate) acknowledged: usize,
    pub(crate) acknowledged_again: usize,
    pub(crate) refused: usize,
    pub(crate) not_done: usize,
    pub(crate) unknown: usize,
    pub(crate) reads: usize,
    pub(crate) booked: usize,
}

/// What acknowledged tries took, in milliseconds.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl Counts {
    pub(crate) fn of(history: &History) -> Self {
        let count =
            |wanted: fn(&Outcome) -> bool| history.attempts.iter().filter(|attempt| wanted(&attempt.outcome)).count();
        Self {
            attempts: history.attempts.len(),
            acknowledged: count(|outcome| matches!(outcome, Outcome::Booked { .. })),
            acknowledged_again: count(|outcome| matches!(outcome, Outcome::Booked { fresh: false, .. })),
            refused: count(|outcome| *outcome == Outcome::Refused),
            not_done: count(|outcome| *outcome == Outcome::NotDone),
            unknown: count(|outcome| *outcome == Outcome::Unknown),
            reads: history.reads.len(),
            booked: history.book.len(),
        }
    }
}

impl Latency {
    pub(crate) fn of(history: &History) -> Self {
        let told = history.attempts.iter().filter(|attempt| matches!(attempt.outcome, Outcome::Booked { .. }));
        let mut took: Vec<u64> = told.map(|attempt| attempt.span.returned - attempt.span.invoked).collect();
        took.sort_unstable();
        let at = |part: usize| took.get((took.len().saturating_sub(1)) * part / 100).map_or(0.0, |us| *us as f64 / 1e3);
        Self { p50_ms: at(50), p99_ms: at(99), max_ms: at(100) }
    }
}

/// The longest time between two acknowledgements, in seconds.
pub(crate) fn longest_silence(history: &History) -> f64 {
    let told = history.attempts.iter().filter(|attempt| matches!(attempt.outcome, Outcome::Booked { .. }));
    let mut at: Vec<u64> = told.map(|attempt| attempt.span.returned).collect();
    at.sort_unstable();
    let gaps = at.iter().zip(at.iter().skip(1)).map(|(one, next)| next - one);
    gaps.max().unwrap_or(0) as f64 / 1e6
}

/// How many faults there are of each kind.
pub(crate) fn faults(verdict: &Verdict) -> BTreeMap<&'static str, u64> {
    Kind::ALL.iter().map(|kind| (kind.name(), verdict.count(*kind))).collect()
}

impl Report {
    /// As a table.
    pub(crate) fn table(&self) -> String {
        let Counts { attempts, acknowledged, acknowledged_again, refused, not_done, unknown, reads, booked } =
            &self.counts;
        let Latency { p50_ms, p99_ms, max_ms } = &self.latency;
        let rate = *acknowledged as f64 / (self.seconds.max(1)) as f64;
        let mut rows = vec![
            ("seed".to_owned(), self.seed.to_string()),
            ("clients, for so long".to_owned(), format!("{}, {} s", self.clients, self.seconds)),
            ("transfers tried".to_owned(), attempts.to_string()),
            (
                "… acknowledged".to_owned(),
                format!("{acknowledged}, {acknowledged_again} of them again; {rate:.0} a second"),
            ),
            ("… refused, not taken, not known".to_owned(), format!("{refused}, {not_done}, {unknown}")),
            ("… took: p50, p99, most".to_owned(), format!("{p50_ms:.0}, {p99_ms:.0}, {max_ms:.0} ms")),
            ("longest time without one".to_owned(), format!("{:.1} s", self.longest_silence_s)),
            ("linearizable reads".to_owned(), reads.to_string()),
            ("transfers in the book".to_owned(), booked.to_string()),
        ];
        rows.extend(self.troubles.iter().map(|(name, count)| (format!("trouble: {name}"), count.to_string())));
        rows.extend(self.faults.iter().map(|(name, count)| ((*name).to_owned(), count.to_string())));
        rows.extend(self.replicas.iter().map(|(node, (position, state))| {
            (format!("state of {node}"), format!("{} at {position}", state.get(..16).unwrap_or(state)))
        }));
        let mut text = String::new();
        for (what, value) in rows {
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "  {what:<34} {value}");
        }
        for line in self.ended.iter().chain(&self.listed) {
            let _infallible = writeln!(text, "  FAULT {line}");
        }
        text
    }
}
