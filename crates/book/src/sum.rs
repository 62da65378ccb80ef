//! The sum of the hashes of all records, which is kept up to date with each change.
//!
//! The construction is AdHash (Bellare and Micciancio, 1997) modulo 2^256: order does not matter, and a record is taken out as
//! it was put in. It tells apart what chance, a fault or a mistake made different. Somebody who can choose records freely
//! could search for others of the same sum (Wagner, 2002), which is why the head has the chain of all commands as well.

use crate::records::Head;
use crate::store::Table;
use covenant_types::canonical::CanonicalError;

/// Counts the records of a book again, to be compared with its head.
#[derive(Clone, Debug, Default)]
pub struct BookSum([u8; 32]);

impl BookSum {
    /// Counts one record. Records come in the order of tables and keys; those of tables that are not hashed change nothing.
    ///
    /// # Errors
    /// It can be no record of a book.
    pub fn add(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), CanonicalError> {
        if table.is_hashed() {
            count_into(&mut self.0, &record_hash(table, key, value), Sign::More);
        }
        Ok(())
    }

    /// Whether the records so far are those of a book with this head.
    pub fn is_of(&self, head: &Head) -> bool {
        self.0 == head.sum
    }
}

/// Whether a record comes or goes.
#[derive(Clone, Copy)]
pub(crate) enum Sign {
    More,
    Less,
}

/// The hash of one record with its place.
pub(crate) fn record_hash(table: Table, key: &[u8], value: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    // Table and key length first: no record can be taken for one of another place.
    hasher.update(&[table as u8, u8::try_from(key.len()).unwrap_or(u8::MAX)]).update(key).update(value);
    *hasher.finalize().as_bytes()
}

/// Adds or takes one hash, modulo 2^256.
pub(crate) fn count_into(sum: &mut [u8; 32], hash: &[u8; 32], sign: Sign) {
    let mut carry = false;
    for (sum, hash) in sum.chunks_exact_mut(8).zip(hash.chunks_exact(8)) {
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
        let (a, b) = (number(sum), number(hash));
        let (now, over) = match sign {
            Sign::More => (a.overflowing_add(b), u64::overflowing_add as fn(u64, u64) -> (u64, bool)),
            Sign::Less => (a.overflowing_sub(b), u64::overflowing_sub as fn(u64, u64) -> (u64, bool)),
        };
        let (result, again) = over(now.0, u64::from(carry));
        carry = now.1 || again;
        sum.copy_from_slice(&result.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_counted_in_any_order_and_taken_back() {
        let hashes: Vec<[u8; 32]> = (0..50u8).map(|at| record_hash(Table::Accounts, &[at], b"value")).collect();
        let (mut up, mut down) = ([0; 32], [0; 32]);
        hashes.iter().for_each(|hash| count_into(&mut up, hash, Sign::More));
        hashes.iter().rev().for_each(|hash| count_into(&mut down, hash, Sign::More));
        assert_eq!(up, down);
        count_into(&mut down, &hashes[7], Sign::Less);
        assert_ne!(up, down);
        hashes
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != 7)
            .for_each(|(_, hash)| count_into(&mut down, hash, Sign::Less));
        assert_eq!(down, [0; 32]);
        let mut below = [0; 32];
        count_into(&mut below, &[1; 32], Sign::Less);
        count_into(&mut below, &[1; 32], Sign::More);
        assert_eq!(below, [0; 32]);
    }
}
