//! Where the book keeps its records: ordered tables of bytes, in memory or on a disk.
//!
//! Keys and values are made by the book alone. A store needs no rules: it holds what it is given, in the order of keys.

mod memory;

pub use memory::MemoryStore;

/// The tables of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// One record: how far the book is.
    Head,
    /// Accounts by id.
    Accounts,
    /// Transfers by number.
    Transfers,
    /// What was answered, by the client's id.
    Receipts,
    /// What became of transfers since, by number.
    Standings,
    /// Adopted tables of nations by hash, years and their tables, nations, projects, entitlements.
    Covenant,
    /// Pending transfers by the time at which they expire.
    Expiries,
    /// Which number is the next after a position. It follows from the transfers.
    Positions,
    /// Transfers by account, nation, sector and project. It follows from the transfers.
    Index,
    /// Sums by period and nation, sector and project. They follow from the transfers.
    Totals,
    /// Allowances, what devices signed, and the inbox.
    Offline,
}

impl Table {
    /// Every table, in a fixed order.
    pub const ALL: [Self; 11] = [
        Self::Head,
        Self::Accounts,
        Self::Transfers,
        Self::Receipts,
        Self::Standings,
        Self::Covenant,
        Self::Expiries,
        Self::Positions,
        Self::Index,
        Self::Totals,
        Self::Offline,
    ];

    /// Whether its records are counted into the hash of the state. The others follow from those.
    pub fn is_hashed(self) -> bool {
        match self {
            Self::Accounts | Self::Transfers | Self::Receipts | Self::Standings | Self::Covenant | Self::Offline => {
                true
            }
            Self::Head | Self::Expiries | Self::Positions | Self::Index | Self::Totals => false,
        }
    }
}

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 47;

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Ordered tables of bytes. Keys are at most [`KEY_BYTES_MAX`] long; what a range is asked for by may be longer.
///
/// The book writes the changes of one command together and reads its own writes. A store on a disk begins a transaction
/// before [`Book::apply`](crate::Book::apply) and commits it after, perhaps after many commands; when a call fails it gives
/// the transaction up, and the book is opened anew over what was committed.
pub trait Store {
    /// Why the store could not do it.
    type Error: std::error::Error;

    /// The value of a key.
    ///
    /// # Errors
    /// The store failed. So for every call below.
    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Self::Error>;

    /// At most `most` rows from the key `from` on, up to and with the key `to`, in order.
    ///
    /// # Errors
    /// The store failed.
    fn rows(&self, table: Table, from: &[u8], to: &[u8], most: usize) -> Result<Vec<Row>, Self::Error>;

    /// The last row from the key `from` on, up to and with the key `to`.
    ///
    /// # Errors
    /// The store failed.
    fn last_row(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<Row>, Self::Error>;

    /// Sets the value of a key, or removes it.
    ///
    /// # Errors
    /// The store failed.
    fn set(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) -> Result<(), Self::Error>;
}
