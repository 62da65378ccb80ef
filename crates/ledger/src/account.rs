//! Whose money.

use std::fmt;
use std::str::FromStr;

use covenant_book::Alpha3;

/// An account of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// `treasury`: the world outside. What came in from there stands below zero, what went out above.
    Treasury,
    /// `pool`: what all nations were assessed.
    Pool,
    /// `communities`: what communities have to spend.
    Communities,
    /// `reserve`: for maintenance.
    Reserve,
    /// `nation:XXX`: what a nation was paid, less what it owes.
    Nation(Alpha3),
}

impl Account {
    /// Whether a booking may leave less than nothing here.
    ///
    /// The treasury is the counter-account of the world, a nation owes, and the reserve may advance money that later
    /// distributions bring back. What communities and the pool have not got cannot leave them.
    pub fn may_owe(self) -> bool {
        match self {
            Self::Treasury | Self::Reserve | Self::Nation(_) => true,
            Self::Pool | Self::Communities => false,
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Treasury => f.write_str("treasury"),
            Self::Pool => f.write_str("pool"),
            Self::Communities => f.write_str("communities"),
            Self::Reserve => f.write_str("reserve"),
            Self::Nation(code) => write!(f, "nation:{code}"),
        }
    }
}

impl FromStr for Account {
    type Err = AccountError;

    fn from_str(text: &str) -> Result<Self, AccountError> {
        match text {
            "treasury" => Ok(Self::Treasury),
            "pool" => Ok(Self::Pool),
            "communities" => Ok(Self::Communities),
            "reserve" => Ok(Self::Reserve),
            other => {
                let code = other.strip_prefix("nation:").ok_or(AccountError)?;
                code.parse().map(Self::Nation).map_err(|_| AccountError)
            }
        }
    }
}

/// A text that names no account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an account is treasury, pool, communities, reserve or nation:XXX with an ISO alpha-3 code")]
pub struct AccountError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_as_they_are_written() {
        for text in ["treasury", "pool", "communities", "reserve", "nation:TUV"] {
            assert_eq!(text.parse::<Account>().unwrap().to_string(), text);
        }
        for bad in ["", "Treasury", "nation:", "nation:tuv", "nation:TUVA", "nation:TÜ", "nation", "bank"] {
            assert_eq!(bad.parse::<Account>(), Err(AccountError), "{bad:?}");
        }
    }
}
