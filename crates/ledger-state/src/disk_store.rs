//! The store of the book that is written to: a layer in memory over a stack that does not change, and rows read lately.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use covenant_book::{self as book, Table};
use parking_lot::Mutex;

use crate::layer::Layer;
use crate::row::{RowKey, Span, Value};
use crate::run::Run;
use crate::stack::Stack;

/// What one row costs in memory beside its value.
const ROW_COST_BYTES: usize = 112;

#[derive(Debug)]
pub(crate) struct DiskStore {
    active: Layer,
    below: Stack,
    recent: Mutex<Recent>,
}

impl DiskStore {
    pub(crate) fn new(runs: Arc<Vec<Arc<Run>>>, cache_bytes: usize) -> Self {
        let below = Stack { layers: Vec::new(), runs };
        Self { active: Layer::default(), below, recent: Mutex::new(Recent::new(cache_bytes)) }
    }

    /// Goes on with runs that say the same.
    pub(crate) fn refresh(&mut self, runs: Arc<Vec<Arc<Run>>>) {
        self.below.runs = runs;
    }

    /// About how much memory the rows take that no run holds.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.active.bytes() + self.below.layers.iter().map(|layer| layer.bytes()).sum::<usize>()
    }

    /// Everything as it is now, to be read beside what is written from here on.
    pub(crate) fn freeze(&mut self) -> Stack {
        if !self.active.is_empty() {
            self.below.layers.insert(0, Arc::new(std::mem::take(&mut self.active)));
        }
        // Each layer stays more than twice as long as the one above it, so that there are few to look through and each row
        // is moved a few times at most.
        let layers = &mut self.below.layers;
        while layers.len() > 1 && layers[1].len() <= 2 * layers[0].len() {
            let newer = Arc::unwrap_or_clone(layers.remove(0));
            let older = Arc::unwrap_or_clone(layers.remove(0));
            layers.insert(0, Arc::new(older.under(newer)));
        }
        self.below.clone()
    }

    /// Forgets the layers, which are in the newest of `runs` now, and keeps what of them is asked for often.
    pub(crate) fn settle(&mut self, runs: Arc<Vec<Arc<Run>>>) {
        let recent = self.recent.get_mut();
        for layer in self.below.layers.iter().rev() {
            for (key, value) in layer.of_tables(is_cached) {
                recent.put(*key, value.clone());
            }
        }
        self.below = Stack { layers: Vec::new(), runs };
    }

    fn read(&self, key: &RowKey) -> io::Result<Value> {
        let layers = std::iter::once(&self.active).chain(self.below.layers.iter().map(|layer| &**layer));
        for layer in layers {
            if let Some(value) = layer.value(key) {
                return Ok(value);
            }
        }
        if !is_cached(key.table()) {
            return self.below.value(None, key);
        }
        if let Some(value) = self.recent.lock().value(key) {
            return Ok(value);
        }
        let value = self.below.value(None, key)?;
        self.recent.lock().put(*key, value.clone());
        Ok(value)
    }
}

impl book::Store for DiskStore {
    type Error = io::Error;

    fn value(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let Some(key) = RowKey::new(table, key) else { return Ok(None) };
        Ok(self.read(&key)?.map(|value| value.to_vec()))
    }

    fn rows(&self, table: Table, from: &[u8], to: &[u8], most: usize) -> io::Result<Vec<book::Row>> {
        let Some(span) = Span::new(table, from, to) else { return Ok(Vec::new()) };
        self.below.rows(Some(&self.active), &span, most)
    }

    fn last_row(&self, table: Table, from: &[u8], to: &[u8]) -> io::Result<Option<book::Row>> {
        let Some(span) = Span::new(table, from, to) else { return Ok(None) };
        self.below.last_row(Some(&self.active), span)
    }

    fn set(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        let key = RowKey::new(table, key).ok_or(io::ErrorKind::InvalidInput)?;
        self.active.set(key, value.map(Arc::from));
        Ok(())
    }
}

/// Whether rows of a table are changed again and again, and few enough to keep.
fn is_cached(table: Table) -> bool {
    match table {
        Table::Accounts | Table::Totals | Table::Covenant => true,
        Table::Head
        | Table::Transfers
        | Table::Receipts
        | Table::Standings
        | Table::Expiries
        | Table::Positions
        | Table::Index
        | Table::Offline => false,
    }
}

/// Rows that were read or written lately, within a bound of memory. What was not asked for since half of it was filled
/// anew is forgotten.
#[derive(Debug)]
struct Recent {
    bytes_max: usize,
    young: HashMap<RowKey, Value>,
    young_bytes: usize,
    old: HashMap<RowKey, Value>,
}

impl Recent {
    fn new(bytes_max: usize) -> Self {
        Self { bytes_max, young: HashMap::new(), young_bytes: 0, old: HashMap::new() }
    }

    fn value(&mut self, key: &RowKey) -> Option<Value> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.put(*key, value.clone());
        Some(value)
    }

    fn put(&mut self, key: RowKey, value: Value) {
        let cost = |value: &Value| ROW_COST_BYTES + value.as_ref().map_or(0, |value| value.len());
        self.old.remove(&key);
        self.young_bytes += cost(&value);
        if let Some(before) = self.young.insert(key, value) {
            self.young_bytes -= cost(&before);
        }
        if self.young_bytes > self.bytes_max / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}
