//! Where a node stands and what it is there for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A word that is none of the allowed ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {word:?}: use one of {allowed}")]
pub struct UnknownWord {
    /// What the word should have named.
    pub what: &'static str,
    /// The word, cut to 64 characters.
    pub word: String,
    /// The words that would do.
    pub allowed: &'static str,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal, $allowed:literal, { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant),+
        }
        impl $name {
            /// Every value, in a fixed order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The word used in files, certificates and on the command line.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.as_str()) }
        }
        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { what: $what, word: text.chars().take(64).collect(), allowed: $allowed }),
                }
            }
        }
    };
}

words! {
    /// One of the six regions the 195 nations belong to.
    Region, "region", "africa, asia, europe, north-america, latin-america, oceania", {
        /// Africa, 54 nations.
        Africa = "africa",
        /// Asia, 48 nations.
        Asia = "asia",
        /// Europe, 44 nations.
        Europe = "europe",
        /// North America, 2 nations.
        NorthAmerica = "north-america",
        /// Latin America and the Caribbean, 33 nations.
        LatinAmerica = "latin-america",
        /// Oceania, 14 nations.
        Oceania = "oceania",
    }
}

words! {
    /// What a node is there for; it boots the tree of this name.
    Role, "role", "hub, tower, voter", {
        /// A regional data centre: origin of content, home of the book.
        Hub = "hub",
        /// A village site that keeps content readable offline.
        Tower = "tower",
        /// Votes in consensus and does nothing else.
        Voter = "voter",
    }
}

words! {
    /// What kind of line a node hangs on. A later one is worse.
    LinkTier, "link tier", "lan, wan, satellite", {
        /// A data centre, fibre, or one machine.
        Lan = "lan",
        /// LTE, or between regions.
        Wan = "wan",
        /// By way of space: hundreds of milliseconds, and often silent to save power.
        Satellite = "satellite",
    }
}
