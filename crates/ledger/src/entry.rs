//! One entry of the book, its canonical bytes, and the entries that the covenant's rules make.

use covenant_types::canonical::{CanonicalError, Reader, Writer};
use covenant_types::{TransferId, WallTime};

use crate::rules::Distribution;
use crate::{Account, Alpha3, Amount, Nations, rules};

/// One entry: money that moves between accounts at once or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id, which the client made.
    pub id: TransferId,
    /// What it is.
    pub kind: EntryKind,
    /// Accounts and what each gains; the sum is zero.
    pub legs: Vec<(Account, Amount)>,
    /// When it was booked, as the node's clock told it.
    pub at: WallTime,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// What one nation owes for a year.
    Assessment {
        /// The year owed for.
        year: u16,
        /// The year of the GDP figure.
        gdp_year: u16,
        /// The hash of the table of nations.
        table: String,
    },
    /// A profit, shared.
    Distribution {
        /// The hash of the table of nations.
        table: String,
    },
    /// A movement an operator asked for.
    Transfer,
}

const DOMAIN: &str = "covenant/ledger-entry/1";
/// A length, the shortest account's name and an amount.
const LEG_BYTES_MIN: usize = 4 + 4 + 16;
/// The most legs: a distribution touches every nation of the largest table, and three accounts.
pub(crate) const LEGS_MAX: usize = 1100;

impl Entry {
    /// What each nation owes for `year`, one entry a nation, and the names of those without a figure.
    pub fn assessments(year: u16, nations: &Nations, at: WallTime) -> (Vec<Self>, Vec<String>) {
        let mut unknown = Vec::new();
        let mut entries = Vec::new();
        for nation in nations.iter() {
            let Some(gdp) = nation.gdp else {
                unknown.push(nation.name.clone());
                continue;
            };
            let owed = rules::owed(gdp.dollars);
            entries.push(Self {
                id: assessment_id(year, nations.hash(), nation.iso3),
                kind: EntryKind::Assessment { year, gdp_year: gdp.year, table: nations.hash().to_owned() },
                legs: vec![(Account::Nation(nation.iso3), owed.negated()), (Account::Pool, owed)],
                at,
            });
        }
        (entries, unknown)
    }

    /// A profit of `amount`, shared.
    pub fn distribution(id: TransferId, amount: Amount, nations: &Nations, at: WallTime) -> Self {
        let shared = rules::distribute(amount, nations);
        let mut legs = vec![(Account::Treasury, amount.negated())];
        legs.extend([(Account::Communities, shared.communities), (Account::Reserve, shared.reserve)]);
        legs.extend(shared.nations.into_iter().map(|(code, share)| (Account::Nation(code), share)));
        legs.retain(|(_, amount)| *amount != Amount::ZERO);
        Self { id, kind: EntryKind::Distribution { table: nations.hash().to_owned() }, legs, at }
    }

    /// A movement of `amount` between two accounts.
    pub fn transfer(id: TransferId, from: Account, to: Account, amount: Amount, at: WallTime) -> Self {
        Self { id, kind: EntryKind::Transfer, legs: vec![(from, amount.negated()), (to, amount)], at }
    }

    /// Whether `other` answers the same request. The time does not matter; of a distribution the amount alone does, because
    /// a request that is sent again after the table of nations changed must not be shared a second time.
    pub fn same_request(&self, other: &Self) -> bool {
        let same = match (&self.kind, &other.kind) {
            (EntryKind::Distribution { .. }, EntryKind::Distribution { .. }) => self.volume() == other.volume(),
            (
                EntryKind::Assessment { .. } | EntryKind::Distribution { .. } | EntryKind::Transfer,
                EntryKind::Assessment { .. } | EntryKind::Distribution { .. } | EntryKind::Transfer,
            ) => self.kind == other.kind && self.legs == other.legs,
        };
        self.id == other.id && same
    }

    /// How a distribution shared what it had.
    pub fn shared(&self) -> Distribution {
        let mut shared = Distribution::default();
        for (account, amount) in &self.legs {
            match account {
                Account::Communities => shared.communities = *amount,
                Account::Reserve => shared.reserve = *amount,
                Account::Nation(code) => shared.nations.push((*code, *amount)),
                Account::Treasury | Account::Pool => {}
            }
        }
        shared
    }

    /// The entry in words, for a message that sets two of them side by side.
    pub(crate) fn said(&self) -> String {
        let volume = self.volume();
        match (&self.kind, self.legs.as_slice()) {
            (EntryKind::Assessment { year, table, .. }, [(nation, _), ..]) => {
                format!("what {nation} owes for {year} by the table {table}, ${volume}")
            }
            (EntryKind::Assessment { year, table, .. }, []) => format!("an assessment for {year} by the table {table}"),
            (EntryKind::Distribution { .. }, _) => format!("a distribution of ${volume}"),
            (EntryKind::Transfer, [(from, _), (to, _)]) => format!("a transfer of ${volume} from {from} to {to}"),
            (EntryKind::Transfer, legs) => format!("a transfer of ${volume} in {} legs", legs.len()),
        }
    }

    /// Whether the legs sum to zero; false also where their sum does not fit.
    pub fn is_balanced(&self) -> bool {
        let sum = self.legs.iter().try_fold(Amount::ZERO, |sum, (_, amount)| sum.checked_add(*amount));
        !self.legs.is_empty() && sum == Some(Amount::ZERO)
    }

    /// What the accounts that gain gain together.
    pub fn volume(&self) -> Amount {
        let gains = self.legs.iter().map(|(_, amount)| amount.as_cents().max(0));
        Amount::cents(gains.fold(0, i128::saturating_add))
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new(DOMAIN);
        writer.u128(self.id.0).u64(self.at.0);
        match &self.kind {
            EntryKind::Assessment { year, gdp_year, table } => writer.u8(1).u16(*year).u16(*gdp_year).text(table),
            EntryKind::Distribution { table } => writer.u8(2).text(table),
            EntryKind::Transfer => writer.u8(3),
        };
        writer.count(self.legs.len());
        for (account, amount) in &self.legs {
            writer.text(&account.to_string()).i128(amount.as_cents());
        }
        writer.finish()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// They are no entry.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CanonicalError> {
        let mut reader = Reader::new(bytes, DOMAIN)?;
        let (id, at) = (TransferId(reader.u128()?), WallTime(reader.u64()?));
        let kind = match reader.u8()? {
            1 => {
                EntryKind::Assessment { year: reader.u16()?, gdp_year: reader.u16()?, table: reader.text()?.to_owned() }
            }
            2 => EntryKind::Distribution { table: reader.text()?.to_owned() },
            3 => EntryKind::Transfer,
            _ => return Err(CanonicalError::BadValue("kind")),
        };
        let count = reader.count(LEG_BYTES_MIN)?;
        if count > LEGS_MAX {
            return Err(CanonicalError::BadValue("legs"));
        }
        let mut legs = Vec::with_capacity(count);
        for _ in 0..count {
            let account = reader.text()?.parse().map_err(|_| CanonicalError::BadValue("account"))?;
            legs.push((account, Amount::cents(reader.i128()?)));
        }
        reader.finish()?;
        Ok(Self { id, kind, legs, at })
    }
}

/// The id of one nation's assessment: assessing the same year by the same table twice gives the same ids.
fn assessment_id(year: u16, table: &str, iso3: Alpha3) -> TransferId {
    let mut writer = Writer::new("covenant/assessment-id/1");
    writer.u16(year).text(table).text(iso3.as_str());
    let hash = blake3::hash(&writer.finish());
    let half: [u8; 16] = hash.as_bytes()[..16].try_into().expect("16 of 32 bytes");
    TransferId(u128::from_be_bytes(half))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entries_of_all_kinds_are_balanced_and_survive_their_bytes() {
        let nations = Nations::embedded();
        let (mut entries, unknown) = Entry::assessments(2024, nations, WallTime(5));
        assert_eq!((entries.len(), unknown), (194, vec!["Holy See".to_owned()]));
        entries.push(Entry::distribution(TransferId(1), Amount::cents(100_000_001), nations, WallTime(6)));
        entries.push(Entry::transfer(
            TransferId(2),
            Account::Treasury,
            Account::Reserve,
            Amount::cents(1),
            WallTime(7),
        ));
        for entry in entries {
            assert!(entry.is_balanced());
            assert_eq!(Entry::from_bytes(&entry.to_bytes()).unwrap(), entry);
        }
    }

    #[test]
    fn assessment_ids_differ_by_year_table_and_nation_only() {
        let id = |year, table, code: &str| assessment_id(year, table, code.parse().unwrap());
        assert_eq!(id(2024, "t", "KEN"), id(2024, "t", "KEN"));
        let others = [id(2025, "t", "KEN"), id(2024, "u", "KEN"), id(2024, "t", "UGA")];
        assert!(others.iter().all(|other| *other != id(2024, "t", "KEN")));
    }

    #[test]
    fn a_distribution_sent_again_after_the_table_changed_is_the_same_request() {
        let small = Nations::parse(
            "iso2,iso3,name,region,income,population,gdp_usd,gdp_year\nKE,KEN,Kenya,africa,low,1,104001000000,2022\n",
        )
        .unwrap();
        let of = |cents, nations| Entry::distribution(TransferId(1), Amount::cents(cents), nations, WallTime(1));
        let before = of(1000, &small);
        assert!(before.same_request(&of(1000, Nations::embedded())));
        assert!(!before.same_request(&of(1001, Nations::embedded())));
        assert_eq!(before.shared().nations_sum(), Amount::cents(300));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0..400usize) {
            let _any_result = Entry::from_bytes(&bytes);
            let mut good = Entry::transfer(TransferId(2), Account::Treasury, Account::Reserve, Amount::cents(1), WallTime(7)).to_bytes();
            good.truncate(cut.min(good.len().saturating_sub(1)));
            prop_assert!(Entry::from_bytes(&good).is_err());
        }
    }
}
