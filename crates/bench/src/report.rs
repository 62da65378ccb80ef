//! What was measured, as a table or as JSON.

use std::io::{self, Write};

use serde::Serialize;

use crate::machine::Machine;
use crate::stats::Spread;

/// What a number counts. Durations are in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Seconds,
    PerSecond,
    BytesPerSecond,
    Bytes,
    /// A part of one.
    Share,
}

/// What the median is held against.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// The ratio to what stands beside it.
    RatioAtMost(f64),
    RatioAtLeast(f64),
}

#[derive(Clone, Debug, Serialize)]
struct Mark {
    #[serde(flatten)]
    goal: Goal,
    met: bool,
}

/// The bare thing measured in turn with it.
#[derive(Clone, Debug, Serialize)]
struct Peer {
    what: String,
    spread: Spread,
    /// The median of ours by the median of the peer.
    ratio: f64,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    bench: &'static str,
    what: String,
    unit: Unit,
    spread: Spread,
    marks: Vec<Mark>,
    peer: Option<Peer>,
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, unit: Unit, rounds: Vec<f64>) -> Self {
        Self { bench: "", what: what.into(), unit, spread: Spread::of(rounds), marks: Vec::new(), peer: None }
    }

    pub(crate) fn at_most(self, mark: f64) -> Self {
        let met = self.spread.median <= mark;
        self.held_against(Goal::AtMost(mark), met)
    }

    pub(crate) fn at_least(self, mark: f64) -> Self {
        let met = self.spread.median >= mark;
        self.held_against(Goal::AtLeast(mark), met)
    }

    /// To be said after [`Row::beside`].
    pub(crate) fn ratio_at_most(self, mark: f64) -> Self {
        let met = self.peer.as_ref().is_some_and(|peer| peer.ratio <= mark);
        self.held_against(Goal::RatioAtMost(mark), met)
    }

    /// To be said after [`Row::beside`].
    pub(crate) fn ratio_at_least(self, mark: f64) -> Self {
        let met = self.peer.as_ref().is_some_and(|peer| peer.ratio >= mark);
        self.held_against(Goal::RatioAtLeast(mark), met)
    }

    fn held_against(mut self, goal: Goal, met: bool) -> Self {
        self.marks.push(Mark { goal, met });
        self
    }

    pub(crate) fn beside(mut self, what: impl Into<String>, rounds: Vec<f64>) -> Self {
        let spread = Spread::of(rounds);
        self.peer = Some(Peer { what: what.into(), spread, ratio: self.spread.median / spread.median });
        self
    }
}

/// What one benchmark has to say.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) rows: Vec<Row>,
    /// Things a reader of the numbers has to know.
    pub(crate) notes: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    rows: Vec<Row>,
    notes: Vec<String>,
    failed: Vec<String>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { machine: Machine::look(), rows: Vec::new(), notes: Vec::new(), failed: Vec::new() }
    }

    pub(crate) fn add(&mut self, bench: &'static str, outcome: Outcome) {
        self.rows.extend(outcome.rows.into_iter().map(|row| Row { bench, ..row }));
        self.notes.extend(outcome.notes.into_iter().map(|note| format!("{bench}: {note}")));
    }

    pub(crate) fn failed(&mut self, bench: &str, why: String) {
        self.failed.push(format!("{bench}: {why}"));
    }

    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    pub(crate) fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }

    /// A table in Markdown, so that it can stand in `docs/performance.md` as it is.
    pub(crate) fn write_table(&self, out: &mut impl Write) -> io::Result<()> {
        let Machine { cpu, cores, memory, kernel, commit, command, scratch } = &self.machine;
        writeln!(out, "machine: {cpu}, {cores} cores, {memory}, Linux {kernel}; scratch files on {scratch}")?;
        writeln!(out, "commit: {commit}; command: {command}\n")?;
        let mut table = vec![["what", "median", "min … max", "mark", "beside, same run", "ratio"].map(str::to_owned)];
        table.push(["---"; 6].map(str::to_owned));
        table.extend(self.rows.iter().map(Row::cells));
        let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..6).map(width).collect();
        for row in &table {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(out, "| {} |", cells.collect::<Vec<_>>().join(" | "))?;
        }
        writeln!(out)?;
        for note in &self.notes {
            writeln!(out, "- {note}")?;
        }
        for failure in &self.failed {
            writeln!(out, "- NOT MEASURED: {failure}")?;
        }
        Ok(())
    }
}

impl Row {
    fn cells(&self) -> [String; 6] {
        let show = |value| self.unit.show(value);
        let range = |spread: &Spread| format!("{} … {}", show(spread.min), show(spread.max));
        let range_of = |spread: &Spread| if spread.rounds > 1 { range(spread) } else { "one round".to_owned() };
        let shown = |mark: &Mark| {
            let goal = match mark.goal {
                Goal::AtMost(bound) => format!("≤ {}", show(bound)),
                Goal::AtLeast(bound) => format!("≥ {}", show(bound)),
                Goal::RatioAtMost(bound) => format!("≤ {bound} ×"),
                Goal::RatioAtLeast(bound) => format!("≥ {bound} ×"),
            };
            format!("{goal}: {}", if mark.met { "met" } else { "MISSED" })
        };
        let mark = self.marks.iter().map(shown).collect::<Vec<_>>().join("; ");
        let (beside, ratio) = self.peer.as_ref().map_or_else(Default::default, |peer| {
            (format!("{}: {}", peer.what, show(peer.spread.median)), format!("{:.2}", peer.ratio))
        });
        [self.what.clone(), show(self.spread.median), range_of(&self.spread), mark, beside, ratio]
    }
}

impl Unit {
    pub(crate) fn show(self, value: f64) -> String {
        let scaled = |steps: &[(f64, &str)]| {
            let (by, unit) = steps.iter().find(|(by, _)| value >= *by).or(steps.last()).copied().unwrap_or((1.0, ""));
            format!("{:.*} {unit}", if value / by >= 100.0 { 0 } else { 1 }, value / by)
        };
        match self {
            Self::Seconds => scaled(&[(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")]),
            Self::PerSecond => scaled(&[(1e6, "M/s"), (1e3, "k/s"), (1.0, "/s")]),
            Self::BytesPerSecond => scaled(&[(1e6, "MB/s"), (1e3, "kB/s"), (1.0, "B/s")]),
            // What one actor weighs is told to the byte.
            Self::Bytes if value < 10.0 * 1024.0 => format!("{value:.0} B"),
            Self::Bytes => scaled(&[(1024.0 * 1024.0, "MiB"), (1024.0, "KiB")]),
            Self::Share => format!("{:.1} %", value * 100.0),
        }
    }
}
