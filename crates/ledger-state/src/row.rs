//! Rows as they stand in layers and runs: the table's byte and the key in one, and a value or the word that there is none.

use std::sync::Arc;

use covenant_book::{KEY_BYTES_MAX, Table};

/// The value of a row; `None` says that the key was removed, which hides what older rows say.
pub(crate) type Value = Option<Arc<[u8]>>;

/// A row on its way from one place to another.
pub(crate) type Row = (RowKey, Value);

/// The longest row key, in bytes.
pub(crate) const ROW_KEY_BYTES_MAX: usize = KEY_BYTES_MAX + 1;

/// Table and key in one, in the order of tables and, within each, of keys. Bytes behind its end are zero, so that the order
/// of the whole arrays is that of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowKey {
    bytes: [u8; ROW_KEY_BYTES_MAX],
    length: u8,
}

impl RowKey {
    /// `None` where the key is longer than any key is.
    pub(crate) fn new(table: Table, key: &[u8]) -> Option<Self> {
        if key.len() > KEY_BYTES_MAX {
            return None;
        }
        Some(Self::cut(table, key))
    }

    /// The key, or as much of it as a key can have.
    fn cut(table: Table, key: &[u8]) -> Self {
        let kept = key.len().min(KEY_BYTES_MAX);
        let mut bytes = [0; ROW_KEY_BYTES_MAX];
        bytes[0] = table as u8;
        bytes[1..=kept].copy_from_slice(&key[..kept]);
        Self { bytes, length: u8::try_from(kept + 1).unwrap_or(u8::MAX) }
    }

    /// The row key of these bytes, if it names a table.
    pub(crate) fn from_bytes(from: &[u8]) -> Option<Self> {
        let (table, key) = from.split_first()?;
        Self::new(*Table::ALL.get(usize::from(*table))?, key)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    pub(crate) fn table(&self) -> Table {
        Table::ALL[usize::from(self.bytes[0])]
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.as_bytes()[1..]
    }

    /// A number that few keys share.
    pub(crate) fn hash(&self) -> u64 {
        const FACTOR: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        let mut state = u128::from(self.length) | 1 << 64;
        for word in self.bytes.chunks_exact(8) {
            let word = word.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            state = (state ^ u128::from(word)).wrapping_mul(FACTOR);
            state ^= state >> 64;
        }
        u64::try_from(state & u128::from(u64::MAX)).unwrap_or(0)
    }
}

/// Keys of one table from one on, up to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) from: RowKey,
    /// Whether `from` itself is outside, because what was asked for begins like it and is longer.
    pub(crate) behind: bool,
    pub(crate) to: RowKey,
}

impl Span {
    /// What is asked for may be longer than keys are. `None` where no key can be between.
    pub(crate) fn new(table: Table, from: &[u8], to: &[u8]) -> Option<Self> {
        let behind = from.len() > KEY_BYTES_MAX;
        let (from, to) = (RowKey::cut(table, from), RowKey::cut(table, to));
        (from < to || from == to && !behind).then_some(Self { from, behind, to })
    }

    pub(crate) fn holds(&self, key: &RowKey) -> bool {
        self.is_after_start(key) && *key <= self.to
    }

    pub(crate) fn is_after_start(&self, key: &RowKey) -> bool {
        *key > self.from || *key == self.from && !self.behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_keys_have_the_order_of_tables_and_keys() {
        let keys: [(Table, &[u8]); 6] = [
            (Table::Accounts, &[]),
            (Table::Accounts, &[0]),
            (Table::Accounts, &[0, 0]),
            (Table::Accounts, &[0, 1]),
            (Table::Accounts, &[255; KEY_BYTES_MAX]),
            (Table::Transfers, &[]),
        ];
        let keys = keys.map(|(table, key)| RowKey::new(table, key).unwrap());
        assert!(keys.is_sorted());
        for key in keys {
            assert_eq!(RowKey::from_bytes(key.as_bytes()), Some(key));
            assert_eq!(RowKey::new(key.table(), key.key()), Some(key));
        }
        assert_eq!(RowKey::new(Table::Accounts, &[0; KEY_BYTES_MAX + 1]), None);
        assert_eq!(RowKey::from_bytes(&[250]), None);
        assert_eq!(RowKey::from_bytes(&[]), None);
    }

    #[test]
    fn a_span_ends_where_it_was_asked_to() {
        let key = |key: &[u8]| RowKey::new(Table::Totals, key).unwrap();
        let long = [7; KEY_BYTES_MAX + 1];
        let span = Span::new(Table::Totals, &long, &[9]).unwrap();
        assert!(!span.holds(&key(&long[..KEY_BYTES_MAX])) && span.holds(&key(&[8])) && !span.holds(&key(&[9, 0])));
        assert!(Span::new(Table::Totals, &[2], &[1]).is_none());
        assert!(Span::new(Table::Totals, &long, &long).is_none());
        assert!(Span::new(Table::Totals, &[1], &[1]).unwrap().holds(&key(&[1])));
    }
}
