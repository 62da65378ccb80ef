//! Rows in memory that no run holds yet.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::row::{Row, RowKey, Span, Value};

/// What one row costs beside its value: its key, its place in the tree, what the allocator adds.
const ROW_COST_BYTES: usize = 128;

/// The newest rows, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layer {
    rows: BTreeMap<RowKey, Value>,
    bytes: usize,
}

impl Layer {
    pub(crate) fn value(&self, key: &RowKey) -> Option<&Value> {
        self.rows.get(key)
    }

    pub(crate) fn set(&mut self, key: RowKey, value: Value) {
        self.bytes += cost(&value);
        if let Some(before) = self.rows.insert(key, value) {
            self.bytes -= cost(&before);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All rows, removed ones too.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row> {
        self.rows.iter().map(|(key, value)| (*key, value.clone()))
    }

    /// The rows of a span, removed ones too.
    pub(crate) fn between(&self, span: &Span) -> impl DoubleEndedIterator<Item = Row> + use<'_> {
        let from = if span.behind { Bound::Excluded(span.from) } else { Bound::Included(span.from) };
        self.rows.range((from, Bound::Included(span.to))).map(|(key, value)| (*key, value.clone()))
    }

    /// This layer with the rows of a newer one over it.
    pub(crate) fn under(mut self, newer: Self) -> Self {
        for (key, value) in newer.rows {
            self.set(key, value);
        }
        self
    }
}

fn cost(value: &Value) -> usize {
    ROW_COST_BYTES + value.as_ref().map_or(0, |value| value.len())
}
