//! Tells that a key is not there without looking: a Bloom filter whose bits for one key lie in one cache line.
//!
//! Few keys that are not there are taken for ones that may be: about one in a hundred. None that is there is missed.

const WORDS_OF_A_LINE: usize = 8;
const BITS_OF_A_KEY: u64 = 10;
const PROBES: u32 = 6;
/// The most keys that a filter is made for; with more it errs more often, and takes no more memory.
const KEYS_MAX: u64 = 1 << 28;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bloom(Vec<u64>);

impl Bloom {
    /// A filter for so many keys.
    pub(crate) fn new(keys: u64) -> Self {
        let lines = (keys.min(KEYS_MAX) * BITS_OF_A_KEY).div_ceil(512).max(1);
        Self(vec![0; usize::try_from(lines).unwrap_or(1) * WORDS_OF_A_LINE])
    }

    pub(crate) fn add(&mut self, hash: u64) {
        let start = self.line(hash);
        for (word, bit) in probes(hash) {
            if let Some(word) = self.0.get_mut(start + word) {
                *word |= bit;
            }
        }
    }

    pub(crate) fn may_hold(&self, hash: u64) -> bool {
        let start = self.line(hash);
        probes(hash).all(|(word, bit)| self.0.get(start + word).is_none_or(|word| word & bit != 0))
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let whole = rest.is_empty() && !words.is_empty() && words.len().is_multiple_of(WORDS_OF_A_LINE);
        whole.then(|| Self(words.iter().map(|word| u64::from_be_bytes(*word)).collect()))
    }

    /// The first word of a key's line.
    fn line(&self, hash: u64) -> usize {
        let lines = (self.0.len() / WORDS_OF_A_LINE) as u128;
        // The high half of a product: every line gets its share of all hashes.
        let line = (u128::from(hash) * lines) >> 64;
        usize::try_from(line).unwrap_or(0) * WORDS_OF_A_LINE
    }
}

/// Which bits of its line say that a key is there.
fn probes(hash: u64) -> impl Iterator<Item = (usize, u64)> {
    // The line was chosen by the high bits.
    let bits = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    (0..PROBES).map(move |probe| {
        let at = (bits >> (probe * 9)) & 511;
        (usize::try_from(at / 64).unwrap_or(0), 1 << (at % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::RowKey;
    use covenant_book::Table;

    fn hash(number: u32) -> u64 {
        RowKey::new(Table::Receipts, &number.to_be_bytes()).unwrap().hash()
    }

    #[test]
    fn what_is_there_is_never_missed_and_few_others_are_believed() {
        let mut bloom = Bloom::new(10_000);
        (0..10_000).for_each(|number| bloom.add(hash(number)));
        assert!((0..10_000).all(|number| bloom.may_hold(hash(number))));
        let believed = (10_000..110_000).filter(|number| bloom.may_hold(hash(*number))).count();
        assert!(believed < 3000, "{believed} of 100000");
        assert_eq!(Bloom::from_bytes(&bloom.to_bytes()), Some(bloom.clone()));
        assert_eq!(Bloom::from_bytes(&bloom.to_bytes()[1..]), None);
        assert_eq!(Bloom::from_bytes(&[]), None);
    }
}
