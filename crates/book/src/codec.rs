//! Canonical bytes of everything that is kept, logged or hashed.
//!
//! Each type says once, as a list, what stands in its record and in which order; writing and reading follow from the list.
//! Readers are bounded: lists have at most [`LIST_MAX`] items and take memory only as their items are read.

use std::str::FromStr;

use covenant_types::canonical::{CanonicalError, Reader, Writer};
use covenant_types::{TransferId, WallTime};

use crate::command::{AccountOrder, Answer, Command, Order, Outcome};
use crate::compact;
use crate::offline::{
    Allowance, AllowanceOrder, AllowanceState, Decision, DeviceId, InboxEntry, InboxReason, Intent, IntentState,
    KeptIntent, Resolution, SignedIntent, Wish,
};
use crate::records::{Entries, Head, Receipt, Total};
use crate::refusal::Difference;
use crate::transfer::{Action, Movement, NewTransfer, Standing, Tags, Transfer};
use crate::{
    Account, AccountId, Alpha3, Amount, Asset, AssetCode, COMMAND_BYTES_MAX, Limit, Period, ProjectCode, Refusal,
    Sector,
};

/// The longest list in a record: every nation that three letters can name.
const LIST_MAX: usize = 26 * 26 * 26;

/// What stands in canonical records.
pub(crate) trait Canon: Sized {
    fn write(&self, writer: &mut Writer);
    fn read(reader: &mut Reader<'_>) -> Result<Self, CanonicalError>;
}

/// A whole record of its own.
pub(crate) trait Record: Sized {
    fn to_record(&self) -> Vec<u8>;
    fn from_record(bytes: &[u8]) -> Result<Self, CanonicalError>;
}

macro_rules! numbers {
    ($($number:ident),+) => { $(
        impl Canon for $number {
            fn write(&self, writer: &mut Writer) {
                writer.$number(*self);
            }
            fn read(reader: &mut Reader<'_>) -> Result<Self, CanonicalError> {
                reader.$number()
            }
        }
    )+ };
}

numbers!(u8, u16, u32, u64, u128, i128);

macro_rules! words {
    ($($word:ident $field:literal),+ $(,)?) => { $(
        impl Canon for $word {
            fn write(&self, writer: &mut Writer) {
                writer.text(self.as_str());
            }
            fn read(reader: &mut Reader<'_>) -> Result<Self, CanonicalError> {
                Self::from_str(reader.text()?).map_err(|_| CanonicalError::BadValue($field))
            }
        }
    )+ };
}

words!(Alpha3 "nation", AssetCode "asset", ProjectCode "project", Sector "sector", String "text");

macro_rules! structs {
    ($($name:ident { $($field:tt),+ $(,)? })+) => { $(
        impl Canon for $name {
            fn write(&self, writer: &mut Writer) {
                $(self.$field.write(writer);)+
            }
            fn read(reader: &mut Reader<'_>) -> Result<Self, CanonicalError> {
                // Fields of a literal are read in the order in which they stand here.
                Ok(Self { $($field: Canon::read(reader)?),+ })
            }
        }
    )+ };
}

macro_rules! enums {
    ($($name:ident { $($tag:literal = $variant:ident $(($($item:ident),+))? $({ $($field:ident),+ })?),+ $(,)? })+) => { $(
        impl Canon for $name {
            fn write(&self, writer: &mut Writer) {
                match self {
                    $(Self::$variant $(($($item),+))? $({ $($field),+ })? => {
                        writer.u8($tag);
                        $($($item.write(writer);)+)?
                        $($($field.write(writer);)+)?
                    })+
                }
            }
            fn read(reader: &mut Reader<'_>) -> Result<Self, CanonicalError> {
                match reader.u8()? {
                    $($tag => {
                        $($(let $item = Canon::read(reader)?;)+)?
                        $($(let $field = Canon::read(reader)?;)+)?
                        Ok(Self::$variant $(($($item),+))? $({ $($field),+ })?)
                    })+
                    _ => Err(CanonicalError::BadValue(stringify!($name))),
                }
            }
        }
    )+ };
}

macro_rules! records {
    ($($name:ident $domain:literal),+ $(,)?) => { $(
        impl $name {
            pub(crate) const DOMAIN: &'static str = $domain;
        }

        impl Record for $name {
            fn to_record(&self) -> Vec<u8> {
                let mut writer = Writer::new(Self::DOMAIN);
                self.write(&mut writer);
                writer.finish()
            }

            fn from_record(bytes: &[u8]) -> Result<Self, CanonicalError> {
                let mut reader = Reader::new(bytes, Self::DOMAIN)?;
                let value = Self::read(&mut reader)?;
                reader.finish()?;
                Ok(value)
            }
        }
    )+ };
}

macro_rules! compact {
    ($($name:ident $write:path, $read:path),+ $(,)?) => { $(
        impl Record for $name {
            fn to_record(&self) -> Vec<u8> {
                $write(self)
            }

            fn from_record(bytes: &[u8]) -> Result<Self, CanonicalError> {
                $read(bytes)
            }
        }
    )+ };
}

structs! {
    AccountId { 0 }
    TransferId { 0 }
    WallTime { 0 }
    Period { 0 }
    Asset { code, scale }
    AccountOrder { id, asset, limit }
    Tags { nation, sector, project }
    Movement { debit, credit, amount, tags }
    NewTransfer { id, action, period, linked }
    Command { at, order }
    Answer { result, again }
    Difference { field, recorded, asked }
    Head { position, transfers, at, closed, chain, sum }
    Total { count, amount }
    Entries { last }
    DeviceId { 0 }
    AllowanceOrder { key, id, from, amount, period }
    Intent { device, sequence, wish }
    SignedIntent { intent, signature }
    KeptIntent { signed, state }
    Allowance { key, home, funded, state, next, waiting, in_inbox }
    Resolution { decision, reason, at, transfer }
    InboxEntry { number, signed, why, at, resolution }
}

enums! {
    Limit { 0 = None, 1 = DebitsWithinCredits, 2 = CreditsWithinDebits }
    Action {
        1 = Post(movement),
        2 = Pend { movement, expires_after },
        3 = PostPending { pending, amount },
        4 = VoidPending { pending },
        5 = Correct { of, amount },
    }
    Standing { 1 = Resolved(number), 2 = Corrected(amount) }
    Order {
        1 = Open(accounts),
        2 = Transfer { transfers, whole },
        3 = Expire { most },
        4 = Close { through },
        5 = AdoptNations { text },
        6 = AdoptProjects { text },
        7 = Assess { year, table },
        8 = Distribute { id, amount, period, table },
        9 = OpenAllowance(allowance),
        10 = Intents(intents),
        11 = WriteOff { device, reason, period },
        12 = Resolve { entry, decision, reason, period },
    }
    Outcome {
        1 = Answers(answers),
        2 = Expired { ended, more },
        3 = Closed,
        4 = Adopted { hash, opened },
        5 = Assessed { booked, pool, unknown, again },
        6 = Distributed { first, transfers, carried, unknown, again },
        7 = Refused(refusal),
        8 = AllowanceOpened { account, transfer, again },
        9 = Intents(answers),
        10 = WrittenOff { returned, again },
        11 = Resolved { state, again },
    }
    Receipt {
        1 = Booked(number),
        2 = Refused { request, refusal },
        3 = Distributed { amount, period, outcome },
    }
    Refusal {
        1 = IdZero,
        2 = IdUsed(difference),
        3 = AmountZero,
        4 = AmountNegative(amount),
        5 = Overflow { account },
        6 = TotalOverflow(over),
        7 = SameAccount(account),
        8 = UnknownAccount(account),
        9 = AssetsDiffer { debit, credit },
        10 = PeriodClosed { through, asked },
        11 = BadPeriod(year),
        12 = Short { account, by },
        13 = Over { account, by },
        14 = UnknownTransfer(id),
        15 = NotPending(id),
        16 = AlreadyResolved { pending, by },
        17 = Expired { pending, at },
        18 = MoreThanLeft { of, left, asked },
        19 = NotCorrectable(id),
        20 = ChainBroken { culprit },
        21 = ChainOpen,
        22 = TagsMissing(project),
        23 = WrongProject { is, asked },
        24 = WrongSector { project, is, asked },
        25 = UnknownNation(nation),
        26 = UnknownProject(project),
        27 = IdReserved,
        28 = BadScale(scale),
        29 = BadTable(what),
        30 = UnknownTable(hash),
        31 = Assessed { year, by },
        32 = BadDistribution,
        33 = ClosedAlready(through),
        34 = ProjectMoved { project, is, asked },
        35 = BatchTooLong(entries),
        36 = BadDevice,
        37 = UnknownDevice(device),
        38 = BadSignature(device),
        39 = BadSequence,
        40 = TooFarAhead { next, asked },
        41 = InboxFull(device),
        42 = AllowanceOnly(account),
        43 = AllowanceEnded(device),
        44 = BadReason,
        45 = UnknownEntry(entry),
        46 = ResolvedAlready(entry),
        47 = NothingToBook(entry),
        48 = RejectedByPerson(reason),
        49 = IntentsTooMany(intents),
    }
    Wish { 1 = Pay { id, to, amount, tags, period }, 2 = Close { period } }
    IntentState { 1 = Waiting, 2 = Applied { transfer }, 3 = Rejected(refusal), 4 = Inbox(entry) }
    AllowanceState {
        1 = Open,
        2 = Quarantined { sequence },
        3 = Closed { returned },
        4 = WrittenOff { returned, reason },
    }
    InboxReason { 1 = Equivocation, 2 = Quarantined, 3 = Ended, 4 = Refused(refusal) }
    Decision { 1 = Book, 2 = Reject }
}

compact! {
    Account compact::write_account, compact::read_account,
    Transfer compact::write_transfer, compact::read_transfer,
    Receipt compact::write_receipt, compact::read_receipt,
}

records! {
    Standing "covenant/book-standing/1",
    Head "covenant/book-head/1",
    Total "covenant/book-total/1",
    Command "covenant/book-command/1",
    Outcome "covenant/book-outcome/1",
    Intent "covenant/intent/1",
    SignedIntent "covenant/signed-intent/1",
    KeptIntent "covenant/book-intent/1",
    IntentState "covenant/intent-state/1",
    Allowance "covenant/book-allowance/1",
    InboxEntry "covenant/book-inbox-entry/1",
    Entries "covenant/book-inbox/1",
}

impl Canon for bool {
    fn write(&self, writer: &mut Writer) {
        writer.u8(u8::from(*self));
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, CanonicalError> {
        match reader.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CanonicalError::BadValue("flag")),
        }
    }
}

impl Canon for Amount {
    fn write(&self, writer: &mut Writer) {
        writer.i128(self.as_cents());
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, CanonicalError> {
        reader.i128().map(Self::cents)
    }
}

macro_rules! fixed {
    ($($length:literal $field:literal),+) => { $(
        impl Canon for [u8; $length] {
            fn write(&self, writer: &mut Writer) {
                writer.bytes(self);
            }
            fn read(reader: &mut Reader<'_>) -> Result<Self, CanonicalError> {
                reader.bytes()?.try_into().map_err(|_| CanonicalError::BadValue($field))
            }
        }
    )+ };
}

fixed!(32 "hash", 64 "signature");

impl<T: Canon> Canon for Option<T> {
    fn write(&self, writer: &mut Writer) {
        self.is_some().write(writer);
        if let Some(value) = self {
            value.write(writer);
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, CanonicalError> {
        if bool::read(reader)? { T::read(reader).map(Some) } else { Ok(None) }
    }
}

impl<T: Canon, E: Canon> Canon for Result<T, E> {
    fn write(&self, writer: &mut Writer) {
        self.is_ok().write(writer);
        match self {
            Ok(value) => value.write(writer),
            Err(error) => error.write(writer),
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, CanonicalError> {
        if bool::read(reader)? { T::read(reader).map(Ok) } else { E::read(reader).map(Err) }
    }
}

impl<A: Canon, B: Canon> Canon for (A, B) {
    fn write(&self, writer: &mut Writer) {
        self.0.write(writer);
        self.1.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, CanonicalError> {
        Ok((A::read(reader)?, B::read(reader)?))
    }
}

impl<T: Canon> Canon for Vec<T> {
    fn write(&self, writer: &mut Writer) {
        writer.count(self.len());
        self.iter().for_each(|item| item.write(writer));
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, CanonicalError> {
        let count = reader.count(1)?;
        if count > LIST_MAX {
            return Err(CanonicalError::BadValue("list"));
        }
        (0..count).map(|_| T::read(reader)).collect()
    }
}

impl<T: Canon> Canon for Box<T> {
    fn write(&self, writer: &mut Writer) {
        T::write(self, writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, CanonicalError> {
        T::read(reader).map(Self::new)
    }
}

impl Command {
    /// The canonical bytes, which stand in the log.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_record()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// They are no command, or longer than [`COMMAND_BYTES_MAX`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CanonicalError> {
        if bytes.len() > COMMAND_BYTES_MAX {
            return Err(CanonicalError::BadValue("length"));
        }
        Self::from_record(bytes)
    }
}

impl Outcome {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_record()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// They are no outcome.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CanonicalError> {
        Self::from_record(bytes)
    }
}

macro_rules! kept {
    ($($name:ident),+) => { $(
        impl $name {
            /// The canonical bytes.
            pub fn to_bytes(&self) -> Vec<u8> {
                self.to_record()
            }

            /// Reads canonical bytes.
            ///
            /// # Errors
            /// They are no such record.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, CanonicalError> {
                Self::from_record(bytes)
            }
        }
    )+ };
}

kept!(Account, Transfer, Head, Intent, IntentState, SignedIntent);

#[cfg(test)]
mod tests;
