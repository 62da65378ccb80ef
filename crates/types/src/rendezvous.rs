//! Which of several takes a key, so that few keys move when one of them comes or goes.
//!
//! Highest random weight (Thaler and Ravishankar, 1998): each name has a weight for the key, and the heaviest wins. All who
//! know the same names agree without talking.

/// The name that takes `key`; `None` of no names. The order of the names does not matter.
pub fn rendezvous<'a>(key: &[u8], names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Where weights are equal, which they hardly ever are, the name decides.
    names.into_iter().max_by_key(|name| (weight(key, name), *name))
}

/// FNV-1a over the name and the key, then the finaliser of splitmix64, because FNV alone mixes its high bits too little.
/// Part of the wire format in all but bytes: nodes of different releases must agree.
fn weight(key: &[u8], name: &str) -> u64 {
    const SEPARATOR: u8 = 0xff; // never part of a name, which is UTF-8
    let bytes = name.bytes().chain([SEPARATOR]).chain(key.iter().copied());
    let mut z =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taker(key: u32, names: &[&'static str]) -> &'static str {
        rendezvous(&key.to_be_bytes(), names.iter().copied()).unwrap()
    }

    #[test]
    fn keys_spread_evenly_and_only_those_of_the_one_that_leaves_move() {
        let (all, rest) = (["0", "1", "2", "3"], ["0", "1", "3"]);
        let mut counts = std::collections::BTreeMap::<&str, u32>::new();
        for key in 0..40_000 {
            let before = taker(key, &all);
            *counts.entry(before).or_default() += 1;
            if before != "2" {
                assert_eq!(taker(key, &rest), before, "key {key} moved without need");
            }
        }
        assert!(counts.values().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_order_of_names_does_not_matter() {
        for key in 0..1000 {
            assert_eq!(taker(key, &["a", "b", "c"]), taker(key, &["c", "a", "b"]));
        }
        assert_eq!(rendezvous(b"key", []), None);
    }

    #[test]
    fn releases_agree() {
        let takers: String = (0..16).map(|key| taker(key, &["a", "b", "c", "d"])).collect();
        assert_eq!(takers, "dbcbaacbabccbaac");
    }
}
