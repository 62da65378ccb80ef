//! How many of all.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A part of a whole, from 0 to 1. Written as `0.2` or `20%`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Ratio(f64);

impl Ratio {
    /// The number, from 0 to 1.
    pub fn value(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Ratio {
    type Error = RatioError;
    fn try_from(value: f64) -> Result<Self, RatioError> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err(RatioError(value.to_string())) }
    }
}

impl From<Ratio> for f64 {
    fn from(ratio: Ratio) -> Self {
        ratio.0
    }
}

impl FromStr for Ratio {
    type Err = RatioError;
    fn from_str(text: &str) -> Result<Self, RatioError> {
        let bad = || RatioError(text.chars().take(32).collect());
        let (number, whole) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
        let number: f64 = number.trim().parse().map_err(|_| bad())?;
        Self::try_from(number / whole).map_err(|_| bad())
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded to a hundredth of a percent, so that 0.07 is not 7.000000000000001 %.
        write!(f, "{}%", (self.0 * 10_000.0).round() / 100.0)
    }
}

/// A text or number that is no part of a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a part of a whole: write 20% or 0.2")]
pub struct RatioError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_read_as_percent_or_part_and_nothing_outside_the_whole_is() {
        assert_eq!("20%".parse::<Ratio>().unwrap().value(), 0.2);
        assert_eq!("0.07".parse::<Ratio>().unwrap().to_string(), "7%");
        for bad in ["", "%", "101%", "-1", "NaN", "inf", "1e99", "20 percent"] {
            assert!(bad.parse::<Ratio>().is_err(), "{bad:?}");
        }
        assert!(Ratio::try_from(f64::NAN).is_err());
    }
}
