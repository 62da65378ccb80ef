//! What stands before a request and an answer on a stream of consensus, each in one length-prefixed frame.
//!
//! Request: `number u64 | milliseconds it may take u32 | length u8 and name of the group | what the group is sent`. Answer:
//! `number u64 | outcome u8 | what the group answered`, big-endian. What a group is sent is its own affair.

/// The longest name of a group, in bytes.
pub(crate) const GROUP_BYTES_MAX: usize = 32;
/// The longest head, in bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 8 + 4 + 1 + GROUP_BYTES_MAX;

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestHead<'a> {
    pub(crate) number: u64,
    /// How long whoever asks waits, in milliseconds.
    pub(crate) within_ms: u32,
    pub(crate) group: &'a str,
    pub(crate) body: &'a [u8],
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResponseHead<'a> {
    pub(crate) number: u64,
    pub(crate) outcome: Result<&'a [u8], Turned>,
}

/// Why a request did not come to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// The node has no such group.
    NoGroup,
    /// Too many requests are served already.
    Busy,
    /// Its time was over before it was answered.
    TooLate,
}

impl<'a> RequestHead<'a> {
    pub(crate) fn write(&self) -> Vec<u8> {
        let group = &self.group.as_bytes()[..self.group.len().min(GROUP_BYTES_MAX)];
        let mut bytes = Vec::with_capacity(HEAD_BYTES_MAX + self.body.len());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&self.within_ms.to_be_bytes());
        bytes.push(u8::try_from(group.len()).unwrap_or_default());
        bytes.extend_from_slice(group);
        bytes.extend_from_slice(self.body);
        bytes
    }

    /// Reads a request; `None` if it is none.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk()?;
        let (within_ms, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first()?;
        let (group, body) = rest.split_at_checked(usize::from(*length))?;
        let group = std::str::from_utf8(group).ok().filter(|group| is_name(group))?;
        let (number, within_ms) = (u64::from_be_bytes(*number), u32::from_be_bytes(*within_ms));
        Some(Self { number, within_ms, group, body })
    }
}

/// Whether a group can have this name.
pub(crate) fn is_name(group: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=GROUP_BYTES_MAX).contains(&group.len()) && group.bytes().all(fits)
}

impl<'a> ResponseHead<'a> {
    pub(crate) fn write(&self) -> Vec<u8> {
        let (outcome, body) = match self.outcome {
            Ok(body) => (0, body),
            Err(turned) => (turned.byte(), &[][..]),
        };
        let mut bytes = Vec::with_capacity(9 + body.len());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.push(outcome);
        bytes.extend_from_slice(body);
        bytes
    }

    /// Reads an answer; `None` if it is none.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk()?;
        let (outcome, body) = rest.split_first()?;
        let outcome = match (*outcome, body) {
            (0, body) => Ok(body),
            (byte, []) => Err(Turned::ALL.into_iter().find(|turned| turned.byte() == byte)?),
            _ => return None,
        };
        Some(Self { number: u64::from_be_bytes(*number), outcome })
    }
}

impl Turned {
    const ALL: [Self; 3] = [Self::NoGroup, Self::Busy, Self::TooLate];

    fn byte(self) -> u8 {
        match self {
            Self::NoGroup => 1,
            Self::Busy => 2,
            Self::TooLate => 3,
        }
    }

    pub(crate) fn explain(self) -> &'static str {
        match self {
            Self::NoGroup => "it takes no part in the group",
            Self::Busy => "it serves too many requests already",
            Self::TooLate => "it did not answer in time",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_heads_never_change() {
        let request = RequestHead { number: 7, within_ms: 200, group: "ledger", body: b"vote" };
        let bytes = b"\0\0\0\0\0\0\0\x07\0\0\0\xc8\x06ledgervote";
        assert_eq!((request.write().as_slice(), RequestHead::parse(bytes)), (&bytes[..], Some(request)));
        let answer = ResponseHead { number: 7, outcome: Ok(b"yes") };
        let bytes = b"\0\0\0\0\0\0\0\x07\0yes";
        assert_eq!((answer.write().as_slice(), ResponseHead::parse(bytes)), (&bytes[..], Some(answer)));
        for (byte, turned) in (1..).zip(Turned::ALL) {
            let bytes = [0, 0, 0, 0, 0, 0, 0, 7, byte];
            let answer = ResponseHead { number: 7, outcome: Err(turned) };
            assert_eq!((answer.write().as_slice(), ResponseHead::parse(&bytes)), (&bytes[..], Some(answer)));
        }
    }

    #[test]
    fn what_is_no_head_is_refused() {
        let whole = RequestHead { number: 7, within_ms: 200, group: "ledger", body: b"" }.write();
        assert!((0..whole.len()).all(|length| RequestHead::parse(&whole[..length]).is_none()));
        let named = |name: &[u8]| [&whole[..12], &[u8::try_from(name.len()).unwrap()], name].concat();
        for name in [&b""[..], b"Ledger", b"a/b", &[0xff], &[b'a'; GROUP_BYTES_MAX + 1]] {
            assert_eq!(RequestHead::parse(&named(name)), None, "{name:?}");
        }
        assert_eq!(ResponseHead::parse(&[0; 8]), None);
        assert_eq!(ResponseHead::parse(&[0, 0, 0, 0, 0, 0, 0, 7, 4]), None);
        assert_eq!(ResponseHead::parse(&[0, 0, 0, 0, 0, 0, 0, 7, 1, 0]), None);
    }
}
