//! The words about a node's health: what was looked at, what was found, what to do about it.

use covenant_types::{NodeName, WallTime};
use serde::{Deserialize, Serialize};

/// What a node found when it looked at itself and its machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkup {
    /// The node that looked.
    pub node: NodeName,
    /// Its clock when it answered.
    pub at: WallTime,
    /// One finding for each check, in a fixed order.
    pub findings: Vec<Finding>,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How bad it is.
    pub level: Level,
    /// What was found, with numbers.
    pub found: String,
    /// What to do about it; empty where nothing is to be done.
    pub hint: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and will not for ever or not under load.
    Warn,
    /// Something does not work.
    Wrong,
}

impl Finding {
    /// Nothing is to be done.
    pub fn ok(check: &str, found: String) -> Self {
        Self { check: check.to_owned(), level: Level::Ok, found, hint: String::new() }
    }

    /// Something is to be done.
    pub fn not_ok(check: &str, level: Level, found: String, hint: &str) -> Self {
        Self { check: check.to_owned(), level, found, hint: hint.to_owned() }
    }
}
