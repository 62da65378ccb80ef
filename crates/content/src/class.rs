//! What content is for, which decides what is fetched first.

use std::fmt;
use std::str::FromStr;

use covenant_runtime::Schema;
use covenant_types::UnknownWord;
use serde::{Deserialize, Serialize};

/// What a dataset is for. The first is fetched first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Schema, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Medicine, first aid, outbreaks.
    Health,
    /// Schools and teaching.
    Education,
    /// Prices, payments, credit.
    Fintech,
    /// Everything else.
    General,
}

impl Class {
    /// Every class, most urgent first.
    pub const ALL: [Self; 4] = [Self::Health, Self::Education, Self::Fintech, Self::General];

    /// The word used in files and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Education => "education",
            Self::Fintech => "fintech",
            Self::General => "general",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Class {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|class| class.as_str() == text);
        found.ok_or_else(|| UnknownWord {
            what: "class",
            word: text.chars().take(64).collect(),
            allowed: "health, education, fintech, general",
        })
    }
}
