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
    number: Number,
    unit: Unit,
    hosted: Goal,
    light: Goal,
}

/// Which of a cell's numbers.
#[derive(Clone, Copy)]
enum Number {
    /// This, in every round.
    Of(usize),
    /// The first, between the second and the third.
    Interval,
}

/// What is to be reached.
#[derive(Clone, Copy)]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// So many times the median of this engine in the same run.
    Times(f64, Engine),
    /// So many times another number of the same cell.
    TimesNumber(f64, usize, &'static str),
    /// The upper end of the interval.
    IntervalAtMost(f64),
    None,
}

const LINES: [Line; 15] = [
    line("crash by an error → next incarnation answers, p50", Metric::CrashError, Unit::Seconds)
        .goals(Goal::Times(0.5, Engine::Erlang), Goal::Times(0.35, Engine::Erlang)),
    line("… p99", Metric::CrashError, Unit::Seconds)
        .number(1)
        .goals(Goal::Times(0.6, Engine::Erlang), Goal::Times(0.6, Engine::Erlang)),
    line("crash by a panic → next incarnation answers, p50", Metric::CrashPanic, Unit::Seconds),
    line("… p99", Metric::CrashPanic, Unit::Seconds).number(1),
    line("call", Metric::Call, Unit::Seconds).goals(Goal::AtMost(0.65e-6), Goal::AtMost(0.35e-6)),
    line("casts, 1 → 1", Metric::Cast, Unit::PerSecond).goals(Goal::AtLeast(10e6), Goal::AtLeast(12e6)),
    line("casts, 4 → 1", Metric::CastFour, Unit::PerSecond).goals(Goal::AtLeast(8e6), Goal::AtLeast(9e6)),
    line("start of one more, warm", Metric::Spawn, Unit::Seconds).goals(Goal::AtMost(3e-6), Goal::AtMost(0.7e-6)),
    line("memory of an idle one among 100 000", Metric::Memory, Unit::Bytes)
        .goals(Goal::Times(1.1, Engine::Ractor), Goal::AtMost(1.2 * 1024.0)),
    line("stop of 100 000 children one after the other, each", Metric::Stop, Unit::Seconds).both(TWICE_FEW),
    line("… of 1000, each", Metric::Stop, Unit::Seconds).number(1),
    line("stop of 100 000 instances all at once, each", Metric::StopInstances, Unit::Seconds).both(TWICE_FEW),
    line("… of 1000, each", Metric::StopInstances, Unit::Seconds).number(1),
    Line {
        number: Number::Interval,
        ..line("casts lost to the flight recorder, 30 pairs, 95 % interval", Metric::Recorder, Unit::Share)
    }
    .both(Goal::IntervalAtMost(0.1)),
    line("plan of a change over 100 000 children", Metric::Plan, Unit::Seconds)
        .goals(Goal::AtMost(crate::plan::MARK), Goal::None),
];

const TWICE_FEW: Goal = Goal::TimesNumber(2.0, 1, "each of 1000");

const fn line(what: &'static str, metric: Metric, unit: Unit) -> Line {
    Line { what, metric, number: Number::Of(0), unit, hosted: Goal::None, light: Goal::None }
}

impl Line {
    const fn number(self, number: usize) -> Self {
        Self { number: Number::Of(number), ..self }
    }

    const fn goals(self, hosted: Goal, light: Goal) -> Self {
        Self { hosted, light, ..self }
    }

    const fn both(self, goal: Goal) -> Self {
        self.goals(goal, goal)
    }

    fn goal(&self, engine: Engine) -> Goal {
        match engine {
            Engine::Hosted => self.hosted,
            Engine::Light => self.light,
            Engine::Tokio | Engine::Ractor | Engine::Kameo | Engine::Erlang => Goal::None,
        }
    }
}

#[derive(Serialize)]
struct Cell {
    what: &'static str,
    engine: &'static str,
    unit: Unit,
    spread: Spread,
    /// This median by those of others.
    by: Vec<Ratio>,
    /// In words.
    goal: Option<String>,
    met: Option<bool>,
}

#[derive(Serialize)]
struct Ratio {
    engine: &'static str,
    ratio: f64,
}

impl Table {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn note(&mut self, metric: Metric, engine: Engine, numbers: Vec<f64>) {
        self.values.extend(numbers.into_iter().enumerate().map(|(at, value)| (metric, engine, at, value)));
    }

    /// The spread of one number of a cell over the rounds.
    fn spread_of(&self, metric: Metric, engine: Engine, number: usize) -> Option<Spread> {
        let is_it = |(of, by, at, _): &&(Metric, Engine, usize, f64)| (*of, *by, *at) == (metric, engine, number);
        let values: Vec<f64> = self.values.iter().filter(is_it).map(|(_, _, _, value)| *value).collect();
        (!values.is_empty()).then(|| Spread::of(values))
    }

    fn spread(&self, line: &Line, engine: Engine) -> Option<Spread> {
        let of = |number| self.spread_of(line.metric, engine, number);
        match line.number {
            Number::Of(number) => of(number),
            Number::Interval => Some(Spread { min: of(1)?.median, max: of(2)?.median, ..of(0)? }),
        }
    }

    /// Whether `goal` is met; `None` where there is none, or nothing to hold it against.
    fn met(&self, line: &Line, engine: Engine, goal: Goal) -> Option<bool> {
        let Spread { median, max, .. } = self.spread(line, engine)?;
        match goal {
            Goal::AtMost(most) => Some(median <= most),
            Goal::AtLeast(least) => Some(median >= least),
            Goal::Times(factor, other) => Some(median <= factor * self.spread(line, other)?.median),
            Goal::TimesNumber(factor, number, _) => {
                Some(median <= factor * self.spread_of(line.metric, engine, number)?.median)
            }
            Goal::IntervalAtMost(most) => Some(max <= most),
            Goal::None => None,
        }
    }

    fn cell(&self, line: &'static Line, engine: Engine) -> Option<Cell> {
        let spread = self.spread(line, engine)?;
        // Ours beside Erlang, and beside what they are built on.
        let beside: &[Engine] = match engine {
            Engine::Hosted => &[Engine::Erlang, Engine::Ractor],
            Engine::Light => &[Engine::Erlang, Engine::Tokio],
            Engine::Tokio | Engine::Ractor | Engine::Kameo => &[Engine::Erlang],
            Engine::Erlang => &[],
        };
        let by = |other: &Engine| {
            let ratio = spread.median / self.spread(line, *other)?.median;
            Some(Ratio { engine: other.word(), ratio })
        };
        let goal = line.goal(engine);
        Some(Cell {
            what: line.what,
            engine: engine.word(),
            unit: line.unit,
            spread,
            by: beside.iter().filter_map(by).collect(),
            goal: goal.words(line.unit),
            met: self.met(line, engine, goal),
        })
    }

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
            "each: median (lowest to highest round), and the median by that of others; goals of ours: met or MISSED\n"
        )?;
        let mut table =
            vec![[vec!["what".to_owned()], Engine::ALL.map(|engine| engine.word().to_owned()).to_vec()].concat()];
        table.push(vec!["---".to_owned(); table[0].len()]);
        for line in LINES.iter().filter(|line| Engine::ALL.iter().any(|engine| self.spread(line, *engine).is_some())) {
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

impl Goal {
    fn words(self, unit: Unit) -> Option<String> {
        Some(match self {
            Self::AtMost(most) => format!("≤ {}", unit.show(most)),
            Self::AtLeast(least) => format!("≥ {}", unit.show(least)),
            Self::Times(factor, other) => format!("≤ {factor} × {}", other.word()),
            Self::TimesNumber(factor, _, what) => format!("≤ {factor} × {what}"),
            Self::IntervalAtMost(most) => format!("all of it ≤ {}", unit.show(most)),
            Self::None => return None,
        })
    }
}

impl Cell {
    fn shown(&self) -> String {
        let show = |value| self.unit.show(value);
        let Spread { min, median, max, .. } = self.spread;
        let mut text = format!("{} ({} to {})", show(median), show(min), show(max));
        for Ratio { engine, ratio } in &self.by {
            text.push_str(&format!(", {ratio:.2} × {engine}"));
        }
        if let (Some(goal), Some(met)) = (&self.goal, self.met) {
            text.push_str(&format!("; {goal}: {}", if met { "met" } else { "MISSED" }));
        }
        text
    }
}
