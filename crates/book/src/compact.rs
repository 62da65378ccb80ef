//! The short form of the records that there are most of: accounts, transfers, and the answers to those that were booked. It is kept and hashed, never signed.
//!
//! Numbers are written seven bits a byte, the lowest first, with the high bit on all but the last byte, in as few bytes as
//! they need; texts with their length in one byte. Each value has one form, and readers refuse any other.

use std::str::FromStr;

use covenant_types::canonical::{CanonicalError, Reader, Writer};
use covenant_types::{TransferId, WallTime};

use crate::codec::Canon;
use crate::records::Receipt;
use crate::transfer::{Kind, Movement, Tags, Transfer};
use crate::{Account, AccountId, Asset, Balances, DeviceId, Limit, NewAccount, Period, Purpose};

/// The first byte of each form.
const ACCOUNT: u8 = 0xa1;
const TRANSFER: u8 = 0xb1;
const BOOKED: u8 = 0xc1;
/// What begins the long form of other answers. Its length begins it with a zero.
const RECEIPT: &str = "covenant/book-receipt/1";

pub(crate) fn write_account(account: &Account) -> Vec<u8> {
    let Account { spec: NewAccount { id, asset, limit, purpose }, opened, balances } = account;
    let mut out = Out(Vec::with_capacity(80));
    out.byte(ACCOUNT).id(id.0).text(asset.code.as_str()).byte(asset.scale);
    out.byte(match limit {
        Limit::None => 0,
        Limit::DebitsWithinCredits => 1,
        Limit::CreditsWithinDebits => 2,
    });
    match purpose {
        Purpose::Other => out.byte(0),
        Purpose::Treasury => out.byte(1),
        Purpose::Pool => out.byte(2),
        Purpose::Communities => out.byte(3),
        Purpose::Reserve => out.byte(4),
        Purpose::Nation(code) => out.byte(5).text(code.as_str()),
        Purpose::Project(code) => out.byte(6).text(code.as_str()),
        Purpose::Allowance(device) => out.byte(7).id(device.0),
    };
    out.number(u128::from(*opened)).balances(balances);
    out.0
}

pub(crate) fn read_account(bytes: &[u8]) -> Result<Account, CanonicalError> {
    let mut from = From(bytes);
    from.begins_with(ACCOUNT)?;
    let id = AccountId(from.id()?);
    let asset = Asset { code: from.text("asset")?, scale: from.byte()? };
    let limit = match from.byte()? {
        0 => Limit::None,
        1 => Limit::DebitsWithinCredits,
        2 => Limit::CreditsWithinDebits,
        _ => return Err(CanonicalError::BadValue("limit")),
    };
    let purpose = match from.byte()? {
        0 => Purpose::Other,
        1 => Purpose::Treasury,
        2 => Purpose::Pool,
        3 => Purpose::Communities,
        4 => Purpose::Reserve,
        5 => Purpose::Nation(from.text("nation")?),
        6 => Purpose::Project(from.text("project")?),
        7 => Purpose::Allowance(DeviceId(from.id()?)),
        _ => return Err(CanonicalError::BadValue("purpose")),
    };
    let (opened, balances) = (from.small()?, from.balances()?);
    from.finish()?;
    Ok(Account { spec: NewAccount { id, asset, limit, purpose }, opened, balances })
}

pub(crate) fn write_transfer(transfer: &Transfer) -> Vec<u8> {
    let Movement { debit, credit, amount, tags } = transfer.movement;
    let mut out = Out(Vec::with_capacity(128));
    out.byte(TRANSFER).number(u128::from(transfer.number)).number(u128::from(transfer.position));
    out.number(u128::from(transfer.at.0)).id(transfer.id.0);
    match transfer.kind {
        Kind::Posted => out.byte(0),
        Kind::Pending { expires: None } => out.byte(1),
        Kind::Pending { expires: Some(at) } => out.byte(2).number(u128::from(at.0)),
        Kind::PendingPosted { pending } => out.byte(3).number(u128::from(pending)),
        Kind::PendingVoided { pending } => out.byte(4).number(u128::from(pending)),
        Kind::PendingExpired { pending } => out.byte(5).number(u128::from(pending)),
        Kind::Correction { of } => out.byte(6).number(u128::from(of)),
    };
    out.id(debit.0).id(credit.0).signed(amount);
    out.text(tags.nation.as_ref().map_or("", |nation| nation.as_str()));
    out.text(tags.sector.as_ref().map_or("", |sector| sector.as_str()));
    out.text(tags.project.as_ref().map_or("", |project| project.as_str()));
    out.number(u128::from(transfer.period.0));
    match transfer.asked {
        None => out.byte(0),
        Some(asked) => out.byte(1).signed(asked),
    };
    out.balances(&transfer.debit_after).balances(&transfer.credit_after);
    out.0
}

pub(crate) fn read_transfer(bytes: &[u8]) -> Result<Transfer, CanonicalError> {
    let mut from = From(bytes);
    from.begins_with(TRANSFER)?;
    let (number, position, at) = (from.small()?, from.small()?, WallTime(from.small()?));
    let id = TransferId(from.id()?);
    let kind = match from.byte()? {
        0 => Kind::Posted,
        1 => Kind::Pending { expires: None },
        2 => Kind::Pending { expires: Some(WallTime(from.small()?)) },
        3 => Kind::PendingPosted { pending: from.small()? },
        4 => Kind::PendingVoided { pending: from.small()? },
        5 => Kind::PendingExpired { pending: from.small()? },
        6 => Kind::Correction { of: from.small()? },
        _ => return Err(CanonicalError::BadValue("kind")),
    };
    let (debit, credit, amount) = (AccountId(from.id()?), AccountId(from.id()?), from.signed()?);
    let tags = Tags { nation: from.some("nation")?, sector: from.some("sector")?, project: from.some("project")? };
    let period = Period(u16::try_from(from.small()?).map_err(|_| CanonicalError::BadValue("period"))?);
    let asked = match from.byte()? {
        0 => None,
        1 => Some(from.signed()?),
        _ => return Err(CanonicalError::BadValue("asked")),
    };
    let (debit_after, credit_after) = (from.balances()?, from.balances()?);
    from.finish()?;
    let movement = Movement { debit, credit, amount, tags };
    Ok(Transfer { number, position, at, id, kind, movement, period, asked, debit_after, credit_after })
}

pub(crate) fn write_receipt(receipt: &Receipt) -> Vec<u8> {
    if let Receipt::Booked(number) = receipt {
        let mut out = Out(Vec::with_capacity(8));
        out.byte(BOOKED).number(u128::from(*number));
        return out.0;
    }
    let mut writer = Writer::new(RECEIPT);
    receipt.write(&mut writer);
    writer.finish()
}

pub(crate) fn read_receipt(bytes: &[u8]) -> Result<Receipt, CanonicalError> {
    let mut from = From(bytes);
    if from.begins_with(BOOKED).is_ok() {
        let number = from.small()?;
        from.finish()?;
        return Ok(Receipt::Booked(number));
    }
    let mut reader = Reader::new(bytes, RECEIPT)?;
    let receipt = Receipt::read(&mut reader)?;
    reader.finish()?;
    if matches!(receipt, Receipt::Booked(_)) { Err(CanonicalError::BadValue("form")) } else { Ok(receipt) }
}

struct Out(Vec<u8>);

impl Out {
    fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.push(byte);
        self
    }

    fn id(&mut self, id: u128) -> &mut Self {
        self.0.extend_from_slice(&id.to_be_bytes());
        self
    }

    /// Codes are short: each fits in the byte for its length.
    fn text(&mut self, text: &str) -> &mut Self {
        self.byte(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn number(&mut self, mut number: u128) -> &mut Self {
        loop {
            let low = u8::try_from(number & 0x7f).unwrap_or(0);
            number >>= 7;
            if number == 0 {
                return self.byte(low);
            }
            self.byte(low | 0x80);
        }
    }

    /// The sign is the lowest bit, so that small numbers of both signs are short.
    fn signed(&mut self, number: i128) -> &mut Self {
        self.number(((number << 1) ^ (number >> 127)).cast_unsigned())
    }

    fn balances(&mut self, balances: &Balances) -> &mut Self {
        let Balances { debits_pending, debits_posted, credits_pending, credits_posted } = *balances;
        self.signed(debits_pending).signed(debits_posted).signed(credits_pending).signed(credits_posted)
    }
}

struct From<'b>(&'b [u8]);

impl<'b> From<'b> {
    fn begins_with(&mut self, form: u8) -> Result<(), CanonicalError> {
        if self.byte()? == form { Ok(()) } else { Err(CanonicalError::BadValue("form")) }
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], CanonicalError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(CanonicalError::CutShort)?;
        self.0 = rest;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, CanonicalError> {
        let (byte, rest) = self.0.split_first().ok_or(CanonicalError::CutShort)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn id(&mut self) -> Result<u128, CanonicalError> {
        let (id, rest) = self.0.split_first_chunk().ok_or(CanonicalError::CutShort)?;
        self.0 = rest;
        Ok(u128::from_be_bytes(*id))
    }

    fn text<T: FromStr>(&mut self, field: &'static str) -> Result<T, CanonicalError> {
        self.some(field)?.ok_or(CanonicalError::BadValue(field))
    }

    /// What an empty text says is not there.
    fn some<T: FromStr>(&mut self, field: &'static str) -> Result<Option<T>, CanonicalError> {
        let length = usize::from(self.byte()?);
        if length == 0 {
            return Ok(None);
        }
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| CanonicalError::NotText)?;
        text.parse().map(Some).map_err(|_| CanonicalError::BadValue(field))
    }

    fn number(&mut self) -> Result<u128, CanonicalError> {
        let (mut number, mut shift) = (0u128, 0);
        loop {
            let byte = self.byte()?;
            let low = u128::from(byte & 0x7f);
            // The last of nineteen bytes has room for two bits; a last byte of nothing was not needed.
            if shift > 126 || shift == 126 && low > 3 || byte == 0 && shift > 0 {
                return Err(CanonicalError::BadValue("number"));
            }
            number |= low << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
            shift += 7;
        }
    }

    fn small(&mut self) -> Result<u64, CanonicalError> {
        u64::try_from(self.number()?).map_err(|_| CanonicalError::BadValue("number"))
    }

    fn signed(&mut self) -> Result<i128, CanonicalError> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn balances(&mut self) -> Result<Balances, CanonicalError> {
        Ok(Balances {
            debits_pending: self.signed()?,
            debits_posted: self.signed()?,
            credits_pending: self.signed()?,
            credits_posted: self.signed()?,
        })
    }

    fn finish(self) -> Result<(), CanonicalError> {
        if self.0.is_empty() { Ok(()) } else { Err(CanonicalError::LeftOver(self.0.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn balances() -> impl Strategy<Value = Balances> {
        any::<[i128; 4]>().prop_map(|[debits_pending, debits_posted, credits_pending, credits_posted]| Balances {
            debits_pending,
            debits_posted,
            credits_pending,
            credits_posted,
        })
    }

    fn transfer() -> impl Strategy<Value = Transfer> {
        let tags = (0..2u8, 0..2u8, 0..2u8).prop_map(|(nation, sector, project)| Tags {
            nation: (nation > 0).then(|| "KEN".parse().unwrap()),
            sector: (sector > 0).then(|| "health".parse().unwrap()),
            project: (project > 0).then(|| "clean-water".parse().unwrap()),
        });
        let kinds = (0..7u8, any::<u64>()).prop_map(|(kind, number)| match kind {
            0 => Kind::Posted,
            1 => Kind::Pending { expires: None },
            2 => Kind::Pending { expires: Some(WallTime(number)) },
            3 => Kind::PendingPosted { pending: number },
            4 => Kind::PendingVoided { pending: number },
            5 => Kind::PendingExpired { pending: number },
            _ => Kind::Correction { of: number },
        });
        let numbers = any::<([u64; 3], [u128; 3], i128, u16, Option<i128>)>();
        (numbers, tags, kinds, balances(), balances()).prop_map(|(numbers, tags, kind, debit_after, credit_after)| {
            let ([number, position, at], [id, debit, credit], amount, period, asked) = numbers;
            let movement = Movement { debit: AccountId(debit), credit: AccountId(credit), amount, tags };
            let (at, id, period) = (WallTime(at), TransferId(id), Period(period));
            Transfer { number, position, at, id, kind, movement, period, asked, debit_after, credit_after }
        })
    }

    proptest! {
        #[test]
        fn records_are_read_as_they_were_written(transfer in transfer(), balances in balances(), purpose in 0..8usize) {
            prop_assert_eq!(read_transfer(&write_transfer(&transfer)), Ok(transfer));
            let nation = Purpose::Nation("KEN".parse().unwrap());
            let project = Purpose::Project("clean-water".parse().unwrap());
            let purposes = [Purpose::Other, Purpose::Treasury, Purpose::Pool, Purpose::Communities, Purpose::Reserve];
            let purpose = purposes.into_iter().chain([nation, project, Purpose::Allowance(DeviceId(7))]).nth(purpose).unwrap();
            let spec = NewAccount { id: transfer.movement.debit, asset: Asset::USD, limit: Limit::None, purpose };
            let account = Account { spec, opened: transfer.position, balances };
            prop_assert_eq!(read_account(&write_account(&account)), Ok(account));
        }

        #[test]
        fn cut_padded_and_broken_records_are_refused_or_are_others(transfer in transfer(), at: usize, byte: u8) {
            let mut bytes = write_transfer(&transfer);
            prop_assert!((0..bytes.len()).all(|length| read_transfer(&bytes[..length]).is_err()));
            prop_assert!(read_transfer(&[bytes.as_slice(), &[0]].concat()).is_err());
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(other) = read_transfer(&bytes) {
                prop_assert_eq!(write_transfer(&other), bytes, "each value has one form");
            }
        }
    }

    #[test]
    fn a_number_has_one_form() {
        for number in [0, 1, 127, 128, u128::from(u64::MAX), u128::MAX] {
            let mut out = Out(Vec::new());
            out.number(number);
            assert_eq!(From(&out.0).number(), Ok(number));
        }
        for bytes in [&[0x80, 0][..], &[0xff; 19], &[0x80; 30]] {
            assert_eq!(From(bytes).number(), Err(CanonicalError::BadValue("number")));
        }
        let mut most = [0x80; 19];
        most[18] = 4;
        assert_eq!(From(&most).number(), Err(CanonicalError::BadValue("number")));
    }
}
