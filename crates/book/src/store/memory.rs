//! A store in memory, for tests and for books that are small.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Bound;

use super::{KEY_BYTES_MAX, Row, Store, Table};
use crate::records::Key;

/// Tables in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore([BTreeMap<Key, Box<[u8]>>; Table::ALL.len()]);

impl MemoryStore {
    fn between(&self, table: Table, from: &[u8], to: &[u8]) -> impl DoubleEndedIterator<Item = Row> {
        // No key is longer than the longest, so what begins behind that begins after its first bytes.
        let first = match from.split_at_checked(KEY_BYTES_MAX) {
            Some((head, [_, ..])) => Bound::Excluded(Key::of(head)),
            Some(_) | None => Bound::Included(Key::of(from)),
        };
        let last = Bound::Included(Key::of(&to[..to.len().min(KEY_BYTES_MAX)]));
        let rows = (from < to || from == to && from.len() <= KEY_BYTES_MAX)
            .then(|| self.0[table as usize].range((first, last)));
        rows.into_iter().flatten().map(|(key, value)| (key.as_bytes().to_vec(), value.to_vec()))
    }
}

impl Store for MemoryStore {
    type Error = Infallible;

    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Infallible> {
        let key = (key.len() <= KEY_BYTES_MAX).then(|| Key::of(key));
        Ok(key.and_then(|key| self.0[table as usize].get(&key)).map(|value| value.to_vec()))
    }

    fn rows(&self, table: Table, from: &[u8], to: &[u8], most: usize) -> Result<Vec<Row>, Infallible> {
        Ok(self.between(table, from, to).take(most).collect())
    }

    fn last_row(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<Row>, Infallible> {
        Ok(self.between(table, from, to).next_back())
    }

    /// # Panics
    /// The key is longer than [`KEY_BYTES_MAX`]: no key of a book is.
    fn set(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) -> Result<(), Infallible> {
        let rows = &mut self.0[table as usize];
        match value {
            Some(value) => rows.insert(Key::of(key), value.into()),
            None => rows.remove(&Key::of(key)),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_order_of_their_keys_whatever_is_asked_for() {
        let mut store = MemoryStore::default();
        let keys: [&[u8]; 6] = [&[], &[0], &[0, 0], &[0, 1], &[1], &[255; KEY_BYTES_MAX]];
        for key in keys.iter().rev() {
            store.set(Table::Index, key, Some(key)).unwrap();
        }
        let rows = |from: &[u8], to: &[u8]| -> Vec<Vec<u8>> {
            store.rows(Table::Index, from, to, 10).unwrap().into_iter().map(|row| row.0).collect()
        };
        assert_eq!(rows(&[], &[255; 60]), keys);
        assert_eq!(rows(&[0, 0], &[1]), keys[2..5]);
        assert_eq!(rows(&[1], &[0]), Vec::<Vec<u8>>::new());
        assert_eq!(rows(&[255; KEY_BYTES_MAX], &[255; 60]), keys[5..]);
        assert_eq!(rows(&[255; KEY_BYTES_MAX + 1], &[255; 60]), Vec::<Vec<u8>>::new());
        assert_eq!(rows(&[255; 60], &[255; 60]), Vec::<Vec<u8>>::new());
        assert_eq!(store.last_row(Table::Index, &[], &[0, 9]).unwrap().unwrap().0, [0, 1]);
        assert_eq!(store.value(Table::Index, &[255; 60]).unwrap(), None);
    }
}
