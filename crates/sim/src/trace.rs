//! What a run comes to, in one number.

use std::fmt;

/// A running hash of all that happened, in its order. Two runs of one seed have the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Trace(u64);

impl Trace {
    /// Nothing happened yet.
    pub fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Takes in what happened (FNV-1a).
    pub fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Takes in a number.
    pub fn mix_u64(&mut self, number: u64) {
        self.mix(&number.to_be_bytes());
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_content_count() {
        let trace = |bytes: &[u8]| {
            let mut trace = Trace::new();
            trace.mix(bytes);
            trace
        };
        assert_eq!(trace(b"ab"), trace(b"ab"));
        assert_ne!(trace(b"ab"), trace(b"ba"));
        assert_ne!(trace(b"ab"), trace(b"a"));
    }
}
