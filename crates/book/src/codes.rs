//! Short names that stand in every record: nations, assets, projects. Fixed in size, so that records are copied and not owned.

use std::fmt;
use std::str::FromStr;

/// ISO 3166 alpha-3: three capital letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alpha3([u8; 3]);

/// What an asset is called: one to eight capital letters and digits, such as `USD`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetCode([u8; 8]);

/// What a project is called: one to sixteen of `a-z`, `0-9` and `-`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProjectCode([u8; 16]);

/// Money of one kind, counted in its minor units: the dollar's are cents, so its scale is 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asset {
    /// What it is called.
    pub code: AssetCode,
    /// How many decimal places a whole unit has, at most [`Asset::SCALE_MAX`].
    pub scale: u8,
}

impl Asset {
    /// What the covenant is counted in: dollars, in cents.
    pub const USD: Self = Self { code: AssetCode(*b"USD\0\0\0\0\0"), scale: 2 };
    /// The finest scale.
    pub const SCALE_MAX: u8 = 18;
}

impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.code, self.scale)
    }
}

/// A text that is no such name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CodeError(&'static str);

macro_rules! code {
    ($name:ident, $bytes:literal, $least:literal, $plain:expr, $form:literal) => {
        impl $name {
            /// As text.
            pub fn as_str(&self) -> &str {
                let length = self.0.iter().position(|byte| *byte == 0).unwrap_or($bytes);
                std::str::from_utf8(&self.0[..length]).expect("a code is ASCII")
            }
        }

        impl FromStr for $name {
            type Err = CodeError;

            fn from_str(text: &str) -> Result<Self, CodeError> {
                let plain: fn(u8) -> bool = $plain;
                if !($least..=$bytes).contains(&text.len()) || !text.bytes().all(plain) {
                    return Err(CodeError($form));
                }
                let mut code = [0; $bytes];
                code[..text.len()].copy_from_slice(text.as_bytes());
                Ok(Self(code))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

code!(Alpha3, 3, 3, |byte| byte.is_ascii_uppercase(), "a nation is three capital letters, its ISO 3166 alpha-3 code");
code!(
    AssetCode,
    8,
    1,
    |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit(),
    "an asset is 1 to 8 capital letters and digits"
);
code!(
    ProjectCode,
    16,
    1,
    |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-',
    "a project is 1 to 16 of a-z, 0-9 and '-'"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_they_are_written_and_nothing_else_is() {
        assert_eq!("KEN".parse::<Alpha3>().unwrap().to_string(), "KEN");
        assert_eq!("USD".parse::<AssetCode>().unwrap(), Asset::USD.code);
        assert_eq!("seed-banks-12345".parse::<ProjectCode>().unwrap().as_str(), "seed-banks-12345");
        for bad in ["", "KE", "KENY", "ken", "KÉ", "KE\0"] {
            assert!(bad.parse::<Alpha3>().is_err(), "{bad:?}");
        }
        for bad in ["", "US\0", "usd", "ABCDEFGHI", "U D"] {
            assert!(bad.parse::<AssetCode>().is_err(), "{bad:?}");
        }
        for bad in ["", "Seeds", "a b", "a\0", "12345678901234567"] {
            assert!(bad.parse::<ProjectCode>().is_err(), "{bad:?}");
        }
        assert_eq!(Asset::USD.to_string(), "USD/2");
    }
}
