//! What connects messages that follow from one another.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Names one chain of causes: a request from outside and every message that was sent because of it.
///
/// It is a W3C trace id whose first eight bytes are zero, and written as one: thirty-two hexadecimal digits. Eight bytes are what
/// stands beside each message on a lane. Sixteen digits are read as well: so it was written before.
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

    /// The trace that a W3C `traceparent` header names; of a longer id its last eight bytes. `None` where it is no such
    /// header, or nothing would be left of the id: the trace begins anew then.
    ///
    /// The caller's span and flags are not kept.
    pub fn from_traceparent(header: &str) -> Option<Self> {
        let mut fields = header.split('-');
        let [version, id, parent, flags] = [(); 4].map(|()| fields.next().unwrap_or_default());
        let fits = |field: &str, digits: usize| field.len() == digits && is_hex(field);
        let well_formed = fits(version, 2) && fits(id, 32) && fits(parent, 16) && fits(flags, 2);
        let is_known = version != "ff" && (version != "00" || fields.next().is_none());
        let has_parent = parent.bytes().any(|digit| digit != b'0');
        if !(well_formed && is_known && has_parent) {
            return None;
        }
        u64::from_str_radix(&id[16..], 16).ok().and_then(Self::new)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for TraceId {
    type Err = BadTraceId;
    fn from_str(text: &str) -> Result<Self, BadTraceId> {
        let fits = matches!(text.len(), 16 | 32) && is_hex(text);
        let number = fits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number.and_then(Self::new).ok_or(BadTraceId)
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
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
#[error("a trace id has thirty-two hexadecimal digits: sixteen of them 0, and then sixteen that are not all 0")]
pub struct BadTraceId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_nothing_else_is() {
        let id = TraceId::new(0xab).unwrap();
        let written = "000000000000000000000000000000ab";
        assert_eq!((id.to_string().as_str(), written.parse()), (written, Ok(id)));
        assert_eq!("00000000000000ab".parse(), Ok(id), "as it was written before");
        let longer = "0af7651916cd43dd8448eb211c80319c";
        for bad in ["", "ab", "0000000000000000", "00000000000000AB", "+0000000000000ab", "00000000000000abc", longer] {
            assert_eq!(bad.parse::<TraceId>(), Err(BadTraceId), "{bad:?}");
        }
    }

    #[test]
    fn of_a_traceparent_the_last_eight_bytes_of_the_id_are_kept_and_what_is_none_begins_nothing() {
        let read = TraceId::from_traceparent;
        let id = "0af7651916cd43dd8448eb211c80319c";
        let kept = TraceId::new(0x8448_eb21_1c80_319c);
        assert_eq!(read(&format!("00-{id}-b7ad6b7169203331-01")), kept);
        assert_eq!(read(&format!("cc-{id}-b7ad6b7169203331-01-what-comes-later")), kept, "of a later version");
        let own = TraceId::new(0xab).unwrap();
        assert_eq!(read(&format!("00-{own}-0000000000000001-00")), Some(own), "what was shown is taken back");
        for bad in [
            String::new(),
            id.to_owned(),
            format!("00-{id}-b7ad6b7169203331"),
            format!("00-{id}-b7ad6b7169203331-01-more"),
            format!("ff-{id}-b7ad6b7169203331-01"),
            format!("00-{id}-0000000000000000-01"),
            format!("00-{}-b7ad6b7169203331-01", id.to_uppercase()),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{}{}-b7ad6b7169203331-01", "a".repeat(16), "0".repeat(16)),
            format!("00-é{}-b7ad6b7169203331-01", "a".repeat(30)),
        ] {
            assert_eq!(read(&bad), None, "{bad:?}");
        }
    }
}
