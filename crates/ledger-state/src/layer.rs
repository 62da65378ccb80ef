//! Rows in memory that no run holds yet.
//!
//! Nobody needs most of them in order before they become a run, so they are kept as they are looked for: what is set again
//! and again or asked for by its key in a hash map, what only comes behind itself in a list, and in a tree the few of which
//! the book asks for ranges as it writes.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use covenant_book::Table;

use crate::row::{Row, RowKey, Span, Value};

/// What one row costs beside its value: its key, its place, what the allocator adds.
const ROW_COST_BYTES: usize = 128;
/// What one key of the index costs.
const INDEXED_COST_BYTES: usize = std::mem::size_of::<RowKey>();

/// The newest rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layer {
    hashed: HashMap<RowKey, Value>,
    ordered: BTreeMap<RowKey, Value>,
    /// Of the index, whose rows have no value, are new, and stay for ever. As they came.
    indexed: Vec<RowKey>,
    bytes: usize,
    /// All rows in order, once somebody asked for them.
    sorted: OnceLock<Vec<Row>>,
}

/// Whether the book asks for ranges of a table as it writes.
fn is_ordered(table: Table) -> bool {
    match table {
        Table::Head | Table::Expiries | Table::Totals | Table::Covenant | Table::Positions => true,
        Table::Accounts | Table::Transfers | Table::Receipts | Table::Standings | Table::Index | Table::Offline => {
            false
        }
    }
}

impl Layer {
    /// What it says of a key.
    pub(crate) fn value(&self, key: &RowKey) -> Option<Value> {
        if is_ordered(key.table()) {
            return self.ordered.get(key).cloned();
        }
        if let Some(value) = self.hashed.get(key) {
            return Some(value.clone());
        }
        let is_indexed = key.table() == Table::Index && self.sorted().binary_search_by_key(key, |row| row.0).is_ok();
        is_indexed.then(|| Some(Arc::default()))
    }

    pub(crate) fn set(&mut self, key: RowKey, value: Value) {
        self.sorted.take();
        if key.table() == Table::Index && value.as_ref().is_some_and(|value| value.is_empty()) {
            self.bytes += INDEXED_COST_BYTES;
            return self.indexed.push(key);
        }
        self.bytes += cost(&value);
        let before =
            if is_ordered(key.table()) { self.ordered.insert(key, value) } else { self.hashed.insert(key, value) };
        if let Some(before) = before {
            self.bytes -= cost(&before);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.hashed.len() + self.ordered.len() + self.indexed.len()
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All rows in order, removed ones too.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row> {
        self.sorted().iter().cloned()
    }

    /// The rows of some tables in any order.
    pub(crate) fn of_tables(&self, wanted: impl Fn(Table) -> bool) -> impl Iterator<Item = (&RowKey, &Value)> {
        self.hashed.iter().chain(&self.ordered).filter(move |(key, _)| wanted(key.table()))
    }

    /// The rows of a span in order, removed ones too.
    pub(crate) fn between<'s>(&'s self, span: &Span) -> Box<dyn DoubleEndedIterator<Item = Row> + 's> {
        // A span lies in one table.
        if is_ordered(span.from.table()) {
            let from = if span.behind { Bound::Excluded(span.from) } else { Bound::Included(span.from) };
            let rows = self.ordered.range((from, Bound::Included(span.to)));
            return Box::new(rows.map(|(key, value)| (*key, value.clone())));
        }
        let rows = self.sorted();
        let start = rows.partition_point(|(key, _)| !span.is_after_start(key));
        let end = rows.partition_point(|(key, _)| *key <= span.to);
        Box::new(rows.get(start..end).unwrap_or_default().iter().cloned())
    }

    fn sorted(&self) -> &[Row] {
        self.sorted.get_or_init(|| {
            let held = self.hashed.iter().chain(&self.ordered).map(|(key, value)| (*key, value.clone()));
            let indexed = self.indexed.iter().map(|key| (*key, Some(Arc::default())));
            let mut rows: Vec<Row> = held.chain(indexed).collect();
            // Where somebody gave a key of the index a value, or none, that comes first and stays.
            rows.sort_by_key(|row| row.0);
            rows.dedup_by_key(|row| row.0);
            rows
        })
    }

    /// This layer with the rows of a newer one over it.
    pub(crate) fn under(mut self, newer: Self) -> Self {
        for (key, value) in newer.hashed.into_iter().chain(newer.ordered) {
            self.set(key, value);
        }
        self.bytes += newer.indexed.len() * INDEXED_COST_BYTES;
        self.indexed.extend(newer.indexed);
        self.sorted.take();
        self
    }
}

fn cost(value: &Value) -> usize {
    ROW_COST_BYTES + value.as_ref().map_or(0, |value| value.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_wherever_they_are_kept_and_the_newer_hides_the_older() {
        let key = |table, at: u8| RowKey::new(table, &[at]).unwrap();
        let tables = [Table::Accounts, Table::Expiries, Table::Index, Table::Totals];
        let layer = |ats: [u8; 3], value: &[u8]| {
            let mut layer = Layer::default();
            for (table, at) in tables.into_iter().flat_map(|table| ats.map(|at| (table, at))) {
                let value = if table == Table::Index { &[] } else { value };
                layer.set(key(table, at), Some(value.into()));
            }
            layer
        };
        let both = layer([9, 1, 5], b"old").under(layer([5, 2, 7], b"new"));
        assert_eq!(
            both.bytes(),
            both.rows().map(|(_, value)| cost(&value)).sum::<usize>() - 5 * ROW_COST_BYTES + 6 * INDEXED_COST_BYTES
        );
        let keys: Vec<RowKey> = both.rows().map(|row| row.0).collect();
        assert!(keys.is_sorted() && keys.len() == 4 * 5);
        for table in tables {
            let span = Span::new(table, &[2], &[7]).unwrap();
            let found: Vec<Row> = both.between(&span).collect();
            assert_eq!(found.iter().map(|row| row.0.key()[0]).collect::<Vec<_>>(), [2, 5, 7]);
            assert_eq!(both.between(&span).next_back(), found.last().cloned());
            assert!(found.iter().all(|(key, value)| both.value(key).as_ref() == Some(value)));
            let expected: &[u8] = if table == Table::Index { b"" } else { b"new" };
            assert!(found.iter().all(|(_, value)| value.as_deref() == Some(expected)), "{found:?}");
            assert_eq!(both.value(&key(table, 3)), None);
        }
    }
}
