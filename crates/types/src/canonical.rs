//! The one encoding of everything that is signed or hashed.
//!
//! Fixed field order, big-endian integers, length-prefixed bytes: the same value always gives the same bytes, in every
//! release. Frames use another codec; nothing here is tuned for speed.
//!
//! Form: `u8`/`u16`/`u32`/`u64`/`u128`/`i128` big-endian · bytes and text as `u32` length and content · a list as `u32` count
//! and its items · an option as one byte 0 or 1 and the value. A record begins with its domain, a text such as
//! `covenant/manifest/1`, so that a signature over one kind of record is never valid for another.

/// Writes a canonical record.
#[derive(Clone, Debug)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Begins a record of the kind `domain`.
    pub fn new(domain: &str) -> Self {
        let mut writer = Self(Vec::with_capacity(256));
        writer.text(domain);
        writer
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    /// Appends two bytes.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends sixteen bytes.
    pub fn u128(&mut self, value: u128) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends sixteen bytes, two's complement.
    pub fn i128(&mut self, value: i128) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends a length and the bytes.
    ///
    /// # Panics
    /// The bytes are longer than `u32::MAX`: no record comes near that.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.count(value.len());
        self.0.extend_from_slice(value);
        self
    }

    /// Appends a length and the UTF-8 bytes.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    /// Appends the number of items that follow.
    ///
    /// # Panics
    /// There are more than `u32::MAX` items.
    pub fn count(&mut self, items: usize) -> &mut Self {
        self.u32(u32::try_from(items).expect("a record has fewer than 2^32 items"))
    }

    /// The record.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads what [`Writer`] wrote; refuses anything else.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Begins to read a record of the kind `domain`.
    ///
    /// # Errors
    /// The record is of another kind, or cut short.
    pub fn new(bytes: &'a [u8], domain: &'static str) -> Result<Self, CanonicalError> {
        let mut reader = Self(bytes);
        if reader.bytes()? != domain.as_bytes() {
            return Err(CanonicalError::WrongDomain { expected: domain });
        }
        Ok(reader)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], CanonicalError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(CanonicalError::CutShort)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CanonicalError> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| CanonicalError::CutShort)
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// The record is cut short. So for every reader below.
    pub fn u8(&mut self) -> Result<u8, CanonicalError> {
        self.array().map(u8::from_be_bytes)
    }

    /// Reads two bytes.
    ///
    /// # Errors
    /// The record is cut short.
    pub fn u16(&mut self) -> Result<u16, CanonicalError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Reads four bytes.
    ///
    /// # Errors
    /// The record is cut short.
    pub fn u32(&mut self) -> Result<u32, CanonicalError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Reads eight bytes.
    ///
    /// # Errors
    /// The record is cut short.
    pub fn u64(&mut self) -> Result<u64, CanonicalError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Reads sixteen bytes.
    ///
    /// # Errors
    /// The record is cut short.
    pub fn u128(&mut self) -> Result<u128, CanonicalError> {
        self.array().map(u128::from_be_bytes)
    }

    /// Reads sixteen bytes, two's complement.
    ///
    /// # Errors
    /// The record is cut short.
    pub fn i128(&mut self) -> Result<i128, CanonicalError> {
        self.array().map(i128::from_be_bytes)
    }

    /// Reads length-prefixed bytes. Nothing is allocated, so a false length costs nothing.
    ///
    /// # Errors
    /// The record is cut short.
    pub fn bytes(&mut self) -> Result<&'a [u8], CanonicalError> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    /// Reads length-prefixed UTF-8.
    ///
    /// # Errors
    /// The record is cut short or the bytes are not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, CanonicalError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| CanonicalError::NotText)
    }

    /// Reads the number of items that follow, each at least `item_bytes_min` long.
    ///
    /// # Errors
    /// So many items cannot fit in what is left.
    pub fn count(&mut self, item_bytes_min: usize) -> Result<usize, CanonicalError> {
        let items = self.u32()? as usize;
        match items.checked_mul(item_bytes_min.max(1)) {
            Some(needed) if needed <= self.0.len() => Ok(items),
            _ => Err(CanonicalError::CutShort),
        }
    }

    /// Ends the record.
    ///
    /// # Errors
    /// Bytes are left over.
    pub fn finish(self) -> Result<(), CanonicalError> {
        if self.0.is_empty() { Ok(()) } else { Err(CanonicalError::LeftOver(self.0.len())) }
    }
}

/// Bytes that are not a canonical record of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// The record ends too early.
    #[error("the record is cut short")]
    CutShort,
    /// The record is of another kind.
    #[error("not a {expected} record")]
    WrongDomain {
        /// The kind that was asked for.
        expected: &'static str,
    },
    /// A text is not UTF-8.
    #[error("a text in the record is not UTF-8")]
    NotText,
    /// A value is outside what its field allows.
    #[error("the field {0} has a value it may not have")]
    BadValue(&'static str),
    /// Bytes follow the record.
    #[error("{0} bytes follow the record")]
    LeftOver(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut writer = Writer::new("covenant/test/1");
        writer.u8(1).u16(2).u32(3).u64(4).u128(5).i128(-6).text("seven").count(2).bytes(b"a").bytes(b"");
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes, "covenant/test/1").unwrap();
        assert_eq!((reader.u8(), reader.u16(), reader.u32()), (Ok(1), Ok(2), Ok(3)));
        assert_eq!((reader.u64(), reader.u128(), reader.i128()), (Ok(4), Ok(5), Ok(-6)));
        assert_eq!((reader.text(), reader.count(4)), (Ok("seven"), Ok(2)));
        assert_eq!((reader.bytes(), reader.bytes()), (Ok(&b"a"[..]), Ok(&b""[..])));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn golden_bytes_never_change() {
        let mut writer = Writer::new("d");
        writer.u16(0x0102).text("é").i128(-1);
        let expected = [&[0, 0, 0, 1, b'd', 1, 2, 0, 0, 0, 2, 0xc3, 0xa9][..], &[0xff; 16]].concat();
        assert_eq!(writer.finish(), expected);
    }

    #[test]
    fn cut_and_padded_records_are_refused() {
        let bytes = {
            let mut w = Writer::new("d");
            w.bytes(&[7; 10]);
            w.finish()
        };
        for length in 0..bytes.len() {
            let cut = Reader::new(&bytes[..length], "d").and_then(|mut r| r.bytes().map(<[u8]>::len));
            assert!(cut.is_err(), "{length}");
        }
        assert_eq!(Reader::new(&bytes, "e").unwrap_err(), CanonicalError::WrongDomain { expected: "e" });
        assert_eq!(Reader::new(&bytes, "d").unwrap().finish(), Err(CanonicalError::LeftOver(14)));
        assert_eq!(Reader(&[0xff; 4]).count(1), Err(CanonicalError::CutShort));
    }
}
