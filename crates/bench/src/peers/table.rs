//! The table of all engines, with what was to be reached.

use std::io::{self, Write};

use serde::Serialize;

use super::{Engine, Metric};
use crate::machine::Machine;
use crate::report::Unit;
use crate::stats::Spread;

/// The numbers of every cell, in rounds.
#[derive(Default)]
pub(super) struct Table {
    /// Metric, engine, which number of the cell, its value.
    values: Vec<(Metric, Engine, usize, f64)>,
}

/// One line of the table.
struct Line {
    what: &'static str,
    metric: Metric,
    /// Which of the cell's numbers.
    number: usize,
    unit: Unit,
    hosted: Goal,
    light: Goal,
}

/// What is to be reached.
#[derive(Clone, Copy)]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// So many times the median of this engine in the same run.
    Times(f64, Engine),
    None,
}

const LINES: [Line; 9] = [
    line(
        "crash by an error → next incarnation answers, p50",
        Metric::CrashError,
        0,
        Unit::Seconds,
        Goal::Times(0.5, Engine::Erlang),
        Goal::Times(0.35, Engine::Erlang),
    ),
    line(
        "… p99",
        Metric::CrashError,
        1,
        Unit::Seconds,
        Goal::Times(0.6, Engine::Erlang),
        Goal::Times(0.6, Engine::Erlang),
    ),
    line(
        "crash by a panic → next incarnation answers, p50",
        Metric::CrashPanic,
        0,
        Unit::Seconds,
        Goal::None,
        Goal::None,
    ),
    line("… p99", Metric::CrashPanic, 1, Unit::Seconds, Goal::None, Goal::None),
    line("call", Metric::Call, 0, Unit::Seconds, Goal::AtMost(0.65e-6), Goal::AtMost(0.35e-6)),
    line("casts, 1 → 1", Metric::Cast, 0, Unit::PerSecond, Goal::AtLeast(10e6), Goal::AtLeast(12e6)),
    line("casts, 4 → 1", Metric::CastFour, 0, Unit::PerSecond, Goal::AtLeast(8e6), Goal::AtLeast(9e6)),
    line("start of one more, warm", Metric::Spawn, 0, Unit::Seconds, Goal::AtMost(3e-6), Goal::AtMost(0.7e-6)),
    line(
        "memory of an idle one among 100 000",
        Metric::Memory,
        0,
        Unit::Bytes,
        Goal::Times(1.1, Engine::Ractor),
        Goal::AtMost(1.2 * 1024.0),
    ),
];

const fn line(what: &'static str, metric: Metric, number: usize, unit: Unit, hosted: Goal, light: Goal) -> Line {
    Line { what, metric, number, unit, hosted, light }
}

#[derive(Serialize)]
struct Cell {
    what: &'static str,
    engine: &'static str,
    unit: Unit,
    spread: Spread,
    /// This median by Erlang's.
    to_erlang: Option<f64>,
    met: Option<bool>,
}

impl Table {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn note(&mut self, metric: Metric, engine: Engine, numbers: Vec<f64>) {
        self.values.extend(numbers.into_iter().enumerate().map(|(at, value)| (metric, engine, at, value)));
    }

    fn spread(&self, line: &Line, engine: Engine) -> Option<Spread> {
        let is_it = |(metric, of, number, _): &&(Metric, Engine, usize, f64)| {
            (*metric, *of, *number) == (line.metric, engine, line.number)
        };
        let values: Vec<f64> = self.values.iter().filter(is_it).map(|(_, _, _, value)| *value).collect();
        (!values.is_empty()).then(|| Spread::of(values))
    }

    /// Whether `goal` is met; `None` where there is none, or nothing to hold it against.
    fn met(&self, line: &Line, engine: Engine, goal: Goal) -> Option<bool> {
        let median = self.spread(line, engine)?.median;
        match goal {
            Goal::AtMost(most) => Some(median <= most),
            Goal::AtLeast(least) => Some(median >= least),
            Goal::Times(factor, other) => Some(median <= factor * self.spread(line, other)?.median),
            Goal::None => None,
        }
    }

    fn cell(&self, line: &'static Line, engine: Engine) -> Option<Cell> {
        let spread = self.spread(line, engine)?;
        let goal = match engine {
            Engine::Hosted => line.hosted,
            Engine::Light => line.light,
            Engine::Tokio | Engine::Ractor | Engine::Kameo | Engine::Erlang => Goal::None,
        };
        let erlang = self.spread(line, Engine::Erlang);
        Some(Cell {
            what: line.what,
            engine: engine.word(),
            unit: line.unit,
            spread,
            to_erlang: erlang.map(|erlang| spread.median / erlang.median),
            met: self.met(line, engine, goal),
        })
    }

    /// As Markdown, so that it can stand in `docs/performance.md` as it is, or as JSON.
    pub(super) fn write(&self, out: &mut impl Write, rounds: usize, json: bool) -> io::Result<()> {
        if json {
            let cells: Vec<Cell> = LINES
                .iter()
                .flat_map(|line| Engine::ALL.iter().filter_map(move |engine| self.cell(line, *engine)))
                .collect();
            serde_json::to_writer_pretty(&mut *out, &cells)?;
            return writeln!(out);
        }
        let Machine { cpu, cores, memory, kernel, commit, .. } = Machine::look();
        writeln!(out, "machine: {cpu}, {cores} cores, {memory}, Linux {kernel}; commit: {commit}; {rounds} rounds")?;
        writeln!(
            out,
            "each: median (lowest to highest round), and the median by Erlang's; goals of ours: met or MISSED\n"
        )?;
        let mut table =
            vec![[vec!["what".to_owned()], Engine::ALL.map(|engine| engine.word().to_owned()).to_vec()].concat()];
        table.push(vec!["---".to_owned(); table[0].len()]);
        for line in &LINES {
            let shown = |engine: &Engine| self.cell(line, *engine).map_or_else(|| "–".to_owned(), |cell| cell.shown());
            table.push([vec![line.what.to_owned()], Engine::ALL.iter().map(shown).collect()].concat());
        }
        let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..table[0].len()).map(width).collect();
        for row in &table {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(out, "| {} |", cells.collect::<Vec<_>>().join(" | "))?;
        }
        Ok(())
    }
}

impl Cell {
    fn shown(&self) -> String {
        let show = |value| self.unit.show(value);
        let Spread { min, median, max, .. } = self.spread;
        let mut text = format!("{} ({} to {})", show(median), show(min), show(max));
        if let Some(ratio) = self.to_erlang.filter(|_| self.engine != Engine::Erlang.word()) {
            text.push_str(&format!(", {ratio:.2} ×"));
        }
        match self.met {
            Some(true) => text.push_str(", met"),
            Some(false) => text.push_str(", MISSED"),
            None => {}
        }
        text
    }
}
