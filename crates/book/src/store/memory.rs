//! A store in memory, for tests and for books that are small.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Bound;

use super::{Row, Store, Table};

/// Tables in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore([BTreeMap<Vec<u8>, Vec<u8>>; Table::ALL.len()]);

impl MemoryStore {
    fn table(&self, table: Table) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.0[table as usize]
    }

    fn between(&self, table: Table, from: &[u8], to: &[u8]) -> impl DoubleEndedIterator<Item = Row> {
        let rows =
            (from <= to).then(|| self.table(table).range::<[u8], _>((Bound::Included(from), Bound::Included(to))));
        rows.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone()))
    }
}

impl Store for MemoryStore {
    type Error = Infallible;

    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.table(table).get(key).cloned())
    }

    fn rows(&self, table: Table, from: &[u8], to: &[u8], most: usize) -> Result<Vec<Row>, Infallible> {
        Ok(self.between(table, from, to).take(most).collect())
    }

    fn last_row(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<Row>, Infallible> {
        Ok(self.between(table, from, to).next_back())
    }

    fn set(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) -> Result<(), Infallible> {
        let rows = &mut self.0[table as usize];
        match value {
            Some(value) => rows.insert(key.to_vec(), value.to_vec()),
            None => rows.remove(key),
        };
        Ok(())
    }
}
