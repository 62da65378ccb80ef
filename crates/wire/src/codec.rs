//! Values as bytes.

use bincode::config::{self, Configuration, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes a value may have, whatever limit a caller names.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Inputs up to this many bytes are decoded with the small allowance.
const SMALL_BYTES_MAX: usize = 64 * 1024;
/// bincode counts an integer at its full width and reads it from as little as one byte, so that an honest value may
/// count up to 16 times its bytes. The count also bounds what a false length can make it allocate.
const SMALL_ALLOWANCE: usize = 16 * SMALL_BYTES_MAX;
const LARGE_ALLOWANCE: usize = 16 * VALUE_BYTES_MAX;

type Config<const N: usize> = Configuration<LittleEndian, Varint, Limit<N>>;

/// The bytes of `value`.
///
/// # Panics
/// `value`'s `Serialize` fails, as a sequence of unknown length does. Types that cross the network derive it, and the
/// derived form cannot fail.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    encode_into(value, &mut out);
    out
}

/// Appends the bytes of `value` to `out`.
///
/// # Panics
/// As [`encode`].
pub fn encode_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    bincode::serde::encode_into_std_write(value, out, config::standard())
        .expect("a derived Serialize into memory cannot fail");
}

/// The value in `bytes`, all of them, of which there may be at most `limit`.
///
/// Lists of a type that has no bytes, such as `Vec<()>`, are not bounded by this: do not send them.
///
/// # Errors
/// There are more than `limit` bytes, they are not a `T`, or bytes follow it. Nothing was kept.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, WireError> {
    let limit = limit.min(VALUE_BYTES_MAX);
    if bytes.len() > limit {
        return Err(WireError::TooLarge { bytes: bytes.len(), limit });
    }
    let decoded = if bytes.len() <= SMALL_BYTES_MAX {
        let config: Config<SMALL_ALLOWANCE> = config::standard().with_limit();
        bincode::serde::borrow_decode_from_slice(bytes, config)
    } else {
        let config: Config<LARGE_ALLOWANCE> = config::standard().with_limit();
        bincode::serde::borrow_decode_from_slice(bytes, config)
    };
    let (value, read) = decoded.map_err(|error| WireError::Malformed(error.to_string()))?;
    if read != bytes.len() {
        return Err(WireError::LeftOver(bytes.len() - read));
    }
    Ok(value)
}

/// Bytes that are not what they should be. Nothing was kept of them; the sender is of another version, or hostile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// More bytes than allowed here.
    #[error("{bytes} bytes where at most {limit} are allowed")]
    TooLarge {
        /// How many there are, or were announced.
        bytes: usize,
        /// How many may be.
        limit: usize,
    },
    /// Not a value of the type asked for.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Bytes follow the value.
    #[error("{0} bytes follow the value")]
    LeftOver(usize),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Sample {
        Nothing,
        Numbers(Vec<u128>),
        Words { one: String, many: Vec<String>, bytes: Option<Vec<u8>> },
    }

    #[test]
    fn values_survive_even_when_integers_are_far_shorter_than_their_width() {
        for sample in [
            Sample::Nothing,
            Sample::Numbers(vec![0; 60_000]),
            Sample::Numbers(vec![u128::MAX; 5_000]),
            Sample::Words { one: "x".repeat(70_000), many: vec![String::new(); 100], bytes: Some(vec![7; 9]) },
        ] {
            assert_eq!(decode::<Sample>(&encode(&sample), VALUE_BYTES_MAX), Ok(sample));
        }
    }

    #[test]
    fn more_than_the_limit_is_refused_before_decoding() {
        let bytes = encode(&"seven77");
        assert_eq!(decode::<String>(&bytes, 7), Err(WireError::TooLarge { bytes: 8, limit: 7 }));
        assert_eq!(decode::<String>(&bytes, 8).as_deref(), Ok("seven77"));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = encode(&7u32);
        bytes.push(0);
        assert_eq!(decode::<u32>(&bytes, 100), Err(WireError::LeftOver(1)));
    }

    #[test]
    fn a_false_length_is_refused() {
        // 0xfd announces eight bytes of length: 2^62 of them.
        let bytes = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0x40];
        assert!(matches!(decode::<String>(&bytes, 100), Err(WireError::Malformed(_))));
        assert!(matches!(decode::<Vec<u8>>(&bytes, 100), Err(WireError::Malformed(_))));
        assert!(matches!(decode::<Vec<String>>(&bytes, 100), Err(WireError::Malformed(_))));
    }

    #[test]
    fn golden_bytes_of_protocol_version_1() {
        let sample = Sample::Words { one: "ab".into(), many: vec![], bytes: Some(vec![1]) };
        assert_eq!(encode(&sample), [2, 2, b'a', b'b', 0, 1, 1, 1]);
        assert_eq!(encode(&300u64), [0xfb, 0x2c, 0x01]);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Sample>(&bytes, 4096);
        }

        #[test]
        fn a_cut_value_is_refused(words in proptest::collection::vec(".{0,8}", 1..5), cut in 1usize..4) {
            let bytes = encode(&Sample::Words { one: "w".into(), many: words, bytes: Some(vec![1, 2, 3]) });
            prop_assert!(decode::<Sample>(&bytes[..bytes.len() - cut], 4096).is_err());
        }
    }
}
