//! Layers over runs: what a key's value is, when the newest that says anything about it is believed.

use std::io;
use std::sync::Arc;

use covenant_book::{self as book, Table};

use crate::layer::Layer;
use crate::row::{Row, RowKey, Span, Value};
use crate::run::{Run, RunCursor};

/// Layers and runs, each from the newest to the oldest. Cheap to clone, and it never changes.
#[derive(Clone, Debug, Default)]
pub struct Stack {
    pub(crate) layers: Vec<Arc<Layer>>,
    pub(crate) runs: Arc<Vec<Arc<Run>>>,
}

impl Stack {
    /// What the stack below `top` and `top` itself say of a key.
    pub(crate) fn value(&self, top: Option<&Layer>, key: &RowKey) -> io::Result<Value> {
        let layers = top.into_iter().chain(self.layers.iter().map(|layer| &**layer));
        for layer in layers {
            if let Some(value) = layer.value(key) {
                return Ok(value);
            }
        }
        let hash = key.hash();
        for run in self.runs.iter() {
            if let Some(value) = run.value(key, hash)? {
                return Ok(value);
            }
        }
        Ok(None)
    }

    /// The rows of a span, at most so many.
    pub(crate) fn rows(&self, top: Option<&Layer>, span: &Span, most: usize) -> io::Result<Vec<book::Row>> {
        let mut merged = self.merged(top, Some(span))?;
        let mut rows = Vec::new();
        while rows.len() < most
            && let Some((key, value)) = merged.next()?
            && key <= span.to
        {
            if let Some(value) = value.filter(|_| span.is_after_start(&key)) {
                rows.push((key.key().to_vec(), value.to_vec()));
            }
        }
        Ok(rows)
    }

    /// The last row of a span.
    pub(crate) fn last_row(&self, top: Option<&Layer>, mut span: Span) -> io::Result<Option<book::Row>> {
        loop {
            let layers = top.into_iter().chain(self.layers.iter().map(|layer| &**layer));
            let mut last: Option<Row> = None;
            let mut see = |row: Option<Row>| {
                if let Some(row) = row
                    && last.as_ref().is_none_or(|last| last.0 < row.0)
                {
                    last = Some(row);
                }
            };
            layers.for_each(|layer| see(layer.between(&span).next_back()));
            for run in self.runs.iter() {
                see(run.last_in(&span)?);
            }
            match last {
                None => return Ok(None),
                Some((key, Some(value))) => return Ok(Some((key.key().to_vec(), value.to_vec()))),
                // Removed: the one before it is the last, and nothing lies between the two.
                Some((key, None)) => match before(&key) {
                    Some(to) if span.holds(&to) => span.to = to,
                    Some(_) | None => return Ok(None),
                },
            }
        }
    }

    /// All rows from the start of a span on, or all of them, removed ones too.
    pub(crate) fn merged<'s>(&'s self, top: Option<&'s Layer>, span: Option<&Span>) -> io::Result<Merged<'s>> {
        let layers = top.into_iter().chain(self.layers.iter().map(|layer| &**layer));
        let mut sources: Vec<Source<'s>> = Vec::new();
        for layer in layers {
            let rows: Box<dyn Iterator<Item = Row> + 's> = match span {
                Some(span) => layer.between(span),
                None => Box::new(layer.rows()),
            };
            sources.push(Source::Layer(rows));
        }
        sources.extend(self.runs.iter().map(|run| Source::Run(run.rows_from(span.map(|span| &span.from)))));
        Merged::new(sources)
    }

    /// How many rows with filtered keys it has at most.
    pub(crate) fn filtered_most(&self) -> u64 {
        let layers: usize = self.layers.iter().map(|layer| layer.len()).sum();
        layers as u64 + self.runs.iter().map(|run| run.filtered()).sum::<u64>()
    }
}

/// The greatest key below this one that a key of the same table can be; `None` where there is none.
fn before(key: &RowKey) -> Option<RowKey> {
    let mut bytes = key.key().to_vec();
    match bytes.pop() {
        None => return None,
        Some(0) => {}
        Some(last) => {
            bytes.push(last - 1);
            bytes.resize(covenant_book::KEY_BYTES_MAX, u8::MAX);
        }
    }
    RowKey::new(key.table(), &bytes)
}

/// Where rows come from.
enum Source<'s> {
    Layer(Box<dyn Iterator<Item = Row> + 's>),
    Run(RunCursor),
}

impl Source<'_> {
    fn next(&mut self) -> io::Result<Option<Row>> {
        match self {
            Self::Layer(rows) => Ok(rows.next()),
            Self::Run(rows) => rows.next(),
        }
    }
}

/// The rows of several sources in one order; of a key that several have, the newest.
pub(crate) struct Merged<'s> {
    /// From the newest to the oldest, each with its next row.
    sources: Vec<(Source<'s>, Option<Row>)>,
}

impl std::fmt::Debug for Merged<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Merged({} sources)", self.sources.len())
    }
}

impl<'s> Merged<'s> {
    fn new(sources: Vec<Source<'s>>) -> io::Result<Self> {
        let with_first = |mut source: Source<'s>| source.next().map(|first| (source, first));
        Ok(Self { sources: sources.into_iter().map(with_first).collect::<io::Result<_>>()? })
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<Row>> {
        let mut least: Option<(usize, RowKey)> = None;
        for (at, (_, next)) in self.sources.iter().enumerate() {
            if let Some((key, _)) = next
                && least.is_none_or(|(_, least)| *key < least)
            {
                least = Some((at, *key));
            }
        }
        let Some((newest, key)) = least else { return Ok(None) };
        let mut found = None;
        for (source, next) in self.sources.iter_mut().skip(newest) {
            if next.as_ref().is_some_and(|(at, _)| *at == key) {
                let row = std::mem::replace(next, source.next()?);
                // Those behind are older.
                found = found.or(row);
            }
        }
        Ok(found)
    }
}

/// A stack that is looked at and not written to.
impl book::Store for Stack {
    type Error = io::Error;

    fn value(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let Some(key) = RowKey::new(table, key) else { return Ok(None) };
        Ok(Self::value(self, None, &key)?.map(|value| value.to_vec()))
    }

    fn rows(&self, table: Table, from: &[u8], to: &[u8], most: usize) -> io::Result<Vec<book::Row>> {
        Span::new(table, from, to).map_or_else(|| Ok(Vec::new()), |span| Self::rows(self, None, &span, most))
    }

    fn last_row(&self, table: Table, from: &[u8], to: &[u8]) -> io::Result<Option<book::Row>> {
        Span::new(table, from, to).map_or(Ok(None), |span| Self::last_row(self, None, span))
    }

    fn set(&mut self, _: Table, _: &[u8], _: Option<&[u8]>) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "this is a view of the book, to read only"))
    }
}
