//! What connects messages that follow from one another.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Names one chain of causes: a request from outside and every message that was sent because of it. Written as sixteen
/// hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceId(NonZeroU64);

impl TraceId {
    /// The id of this number; none for 0.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// Its number.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for TraceId {
    type Err = BadTraceId;
    fn from_str(text: &str) -> Result<Self, BadTraceId> {
        let digits = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = u64::from_str_radix(text, 16).ok().filter(|_| digits);
        number.and_then(Self::new).ok_or(BadTraceId)
    }
}

impl TryFrom<String> for TraceId {
    type Error = BadTraceId;
    fn try_from(text: String) -> Result<Self, BadTraceId> {
        text.parse()
    }
}

impl From<TraceId> for String {
    fn from(id: TraceId) -> Self {
        id.to_string()
    }
}

/// A text that names no trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a trace id has sixteen hexadecimal digits, not all of them 0")]
pub struct BadTraceId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_nothing_else_is() {
        let id = TraceId::new(0xab).unwrap();
        assert_eq!((id.to_string().as_str(), id.to_string().parse()), ("00000000000000ab", Ok(id)));
        for bad in ["", "ab", "0000000000000000", "00000000000000AB", "+0000000000000ab", "00000000000000abc"] {
            assert_eq!(bad.parse::<TraceId>(), Err(BadTraceId), "{bad:?}");
        }
    }
}
