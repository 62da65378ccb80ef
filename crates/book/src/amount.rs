//! Money: whole cents, never a float.

use std::fmt;
use std::str::FromStr;

/// An amount in cents of US$, signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(i128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The most one request may move: a thousand times what the world makes in a year. It keeps products inside `i128`.
    pub const MAX: Self = Self(10_i128.pow(19));

    /// So many cents.
    pub const fn cents(cents: i128) -> Self {
        Self(cents)
    }

    /// In cents.
    pub const fn as_cents(self) -> i128 {
        self.0
    }

    /// The sum, unless it leaves `i128`.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The opposite amount. The one amount that has none, `i128::MIN` cents, stays as it is.
    #[must_use]
    pub fn negated(self) -> Self {
        Self(self.0.checked_neg().unwrap_or(self.0))
    }

    /// The sum of many, unless it leaves `i128`.
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let cents = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", cents / 100, cents % 100)
    }
}

/// Reads `1234.56`: digits, a point, two digits; or digits alone for whole dollars. Nothing else, so that nothing is guessed.
impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(AmountError::TooLarge);
        }
        let (dollars, cents) = text.split_once('.').unwrap_or((text, "00"));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let plain = dollars == "0" || !(dollars.is_empty() || dollars.starts_with('0'));
        if !plain || cents.len() != 2 || !all_digits(dollars) || !all_digits(cents) {
            return Err(AmountError::NotAnAmount);
        }
        let number = |part: &str| part.parse::<i128>().map_err(|_| AmountError::TooLarge);
        let (dollars, cents) = (number(dollars)?, number(cents)?);
        let amount = dollars.checked_mul(100).and_then(|whole| whole.checked_add(cents)).map(Self);
        amount.filter(|&amount| amount <= Self::MAX).ok_or(AmountError::TooLarge)
    }
}

/// The digits of [`Amount::MAX`], its point, and room to say that a number is too large and not malformed.
const TEXT_BYTES_MAX: usize = 40;

/// A text that is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// It does not have the form.
    #[error("an amount is written as 1234.56: digits, a point, two digits, no sign, no separators")]
    NotAnAmount,
    /// It is above [`Amount::MAX`].
    #[error("an amount is at most {}", Amount::MAX)]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_strict_form_is_read() {
        assert_eq!("1234.56".parse(), Ok(Amount(123_456)));
        assert_eq!("0.01".parse(), Ok(Amount(1)));
        assert_eq!("7".parse(), Ok(Amount(700)));
        assert_eq!("100000000000000000.00".parse(), Ok(Amount::MAX));
        for bad in [
            "", ".", "1.", ".50", "1.5", "1.234", "-1.00", "+1.00", "1,000.00", "01.00", "1e3", " 1.00", "1.00 ",
            "1.0.0", "٣.00", "$1",
        ] {
            assert_eq!(bad.parse::<Amount>(), Err(AmountError::NotAnAmount), "{bad:?}");
        }
        for large in ["100000000000000000.01", &"9".repeat(30), &"9".repeat(4000)] {
            assert_eq!(large.parse::<Amount>(), Err(AmountError::TooLarge));
        }
    }

    proptest! {
        #[test]
        fn an_amount_is_read_as_it_was_written(cents in 0..=Amount::MAX.as_cents()) {
            prop_assert_eq!(Amount(cents).to_string().parse(), Ok(Amount(cents)));
        }
    }

    #[test]
    fn debts_are_shown_with_their_sign() {
        assert_eq!(Amount(-5).to_string(), "-0.05");
        assert_eq!(Amount::checked_sum([Amount(i128::MAX), Amount(1)]), None);
    }
}
