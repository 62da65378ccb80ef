//! The report as the control API and the command line show it. Amounts are texts of dollars and cents.

use serde::{Deserialize, Serialize};

use crate::AsOf;

/// A year of the covenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct YearReport {
    /// The year, which is the period of the bookings.
    pub year: u16,
    /// Up to where in the log it is.
    pub as_of: AsOf,
    /// The BLAKE3 of the table of nations that the year was assessed by; `None` where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// All nations together.
    pub sums: Sums,
    /// What communities were given of profits.
    pub communities: String,
    /// What the reserve was given of profits.
    pub reserve: String,
    /// The nations on whose accounts anything was booked, by code.
    pub nations: Vec<NationYear>,
    /// Regions, by name.
    pub regions: Vec<RegionYear>,
    /// The six sectors, in their order.
    pub sectors: Vec<SectorYear>,
    /// The names of nations without a known GDP: they owe nothing and nothing is guessed.
    pub unknown: Vec<String>,
}

/// What was given and received.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// What it owes for the year.
    pub assessed: String,
    /// What it paid in the year.
    pub paid: String,
    /// What it received of profits.
    pub received: String,
    /// What communities paid into projects that concern it.
    pub into_projects: String,
    /// What else was booked on its account, less what was taken from it.
    pub other: String,
}

/// One nation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NationYear {
    /// Its ISO alpha-3 code.
    pub nation: String,
    /// Its name.
    pub name: String,
    /// Where it lies.
    pub region: String,
    /// What it gave and received.
    #[serde(flatten)]
    pub sums: Sums,
}

/// One region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionYear {
    /// Its name.
    pub region: String,
    /// What its nations gave and received.
    #[serde(flatten)]
    pub sums: Sums,
}

/// One sector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorYear {
    /// Its name.
    pub sector: String,
    /// What communities paid into its projects.
    pub amount: String,
    /// In how many payments.
    pub payments: u64,
    /// Those of its projects that were paid anything.
    pub projects: Vec<ProjectYear>,
}

/// One project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectYear {
    /// Its code.
    pub project: String,
    /// Its name.
    pub name: String,
    /// What communities paid into it.
    pub amount: String,
    /// In how many payments.
    pub payments: u64,
}
