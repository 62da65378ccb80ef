//! Whose money: accounts by the names that people write.

use std::fmt;
use std::str::FromStr;

use covenant_book::{AccountId, Purpose};

/// An account of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// One of the covenant's: `treasury`, `pool`, `communities`, `reserve`, `nation:XXX`, `project:CODE` or `allowance:DEVICE`.
    Covenant(Purpose),
    /// One that was opened by request, by its id: 32 hexadecimal digits.
    Opened(AccountId),
}

impl Account {
    /// The id that the book knows it by.
    pub fn id(self) -> AccountId {
        match self {
            Self::Covenant(purpose) => purpose.account().unwrap_or(AccountId(0)),
            Self::Opened(id) => id,
        }
    }

    /// The account with this id and purpose.
    pub fn of(id: AccountId, purpose: Purpose) -> Self {
        if purpose == Purpose::Other { Self::Opened(id) } else { Self::Covenant(purpose) }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Covenant(purpose) => purpose.fmt(f),
            Self::Opened(id) => id.fmt(f),
        }
    }
}

impl FromStr for Account {
    type Err = AccountError;

    fn from_str(text: &str) -> Result<Self, AccountError> {
        let purpose = match text {
            "treasury" => Purpose::Treasury,
            "pool" => Purpose::Pool,
            "communities" => Purpose::Communities,
            "reserve" => Purpose::Reserve,
            other => match other.split_once(':') {
                Some(("nation", code)) => Purpose::Nation(code.parse().map_err(|_| AccountError)?),
                Some(("project", code)) => Purpose::Project(code.parse().map_err(|_| AccountError)?),
                Some(("allowance", device)) => Purpose::Allowance(device.parse().map_err(|_| AccountError)?),
                Some(_) | None => return opened(other),
            },
        };
        Ok(Self::Covenant(purpose))
    }
}

fn opened(text: &str) -> Result<Account, AccountError> {
    let digits = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let id = u128::from_str_radix(text, 16).ok().filter(|id| digits && *id != 0);
    id.map(|id| Account::Opened(AccountId(id))).ok_or(AccountError)
}

/// A text that names no account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an account is treasury, pool, communities, reserve, nation:XXX with an ISO alpha-3 code, project:CODE, allowance:DEVICE, or \
     the 32 hexadecimal digits of one that was opened"
)]
pub struct AccountError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_as_they_are_written() {
        let id = "0123456789abcdef0123456789abcdef";
        let allowance = format!("allowance:{id}");
        for text in ["treasury", "pool", "communities", "reserve", "nation:TUV", &allowance, id] {
            assert_eq!(text.parse::<Account>().unwrap().to_string(), text);
        }
        let zero = "0".repeat(32);
        let upper = id.to_uppercase();
        for bad in
            ["", "Treasury", "nation:", "nation:tuv", "nation:TUVA", "nation:TÜ", "nation", "bank", &zero, &upper]
        {
            assert_eq!(bad.parse::<Account>(), Err(AccountError), "{bad:?}");
        }
    }
}
