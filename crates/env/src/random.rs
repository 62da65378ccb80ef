//! One root seed, one derived seed per consumer: adding a consumer does not shift the others.

use rand::SeedableRng;
use rand::rngs::StdRng;

/// The root of every random number of a node that is not a key.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// Random numbers that all follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The generator of the consumer `label`. The same label gives the same numbers.
    pub fn derive(&self, label: &str) -> StdRng {
        // FNV-1a over the label, then one round of splitmix64 to spread neighbouring seeds.
        let mut state = self.0 ^ 0xcbf2_9ce4_8422_2325;
        for byte in label.bytes() {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        StdRng::seed_from_u64(state ^ (state >> 31))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn consumers_do_not_share_numbers_and_repeat_themselves() {
        let random = Random::new(7);
        let first: u64 = random.derive("gossip").random();
        assert_eq!(first, random.derive("gossip").random::<u64>());
        assert_ne!(first, random.derive("dial").random::<u64>());
        assert_ne!(first, Random::new(8).derive("gossip").random::<u64>());
    }
}
