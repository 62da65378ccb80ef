//! Cumulative entitlement: what each nation was promised over all distributions, and what it was paid of that.
//!
//! # Intuition
//! Whoever rounds each distribution for itself may round against the same small nation every time. So the fraction of a
//! cent that a nation is owed is not forgotten: it is added to what the next distribution promises it. Everybody is paid
//! the whole cents of what is due, and the cents that are left go to those who are furthest below.
//!
//! # What is rounded, and where
//! 1. A share of one distribution is `total * weight / weights`. It is counted in parts of a minor unit, [`GRID`] of them
//!    in one. Everybody gets whole parts; the parts that are left go to the largest remainders, first in order where they
//!    tie. So the shares of one distribution sum to it exactly, and each is less than one part away from the fraction.
//! 2. What is due is entitlement less payment, exactly, in parts. Paid are the whole minor units of it, nothing where it is
//!    less than zero. Units that are left go one each to the largest remainders, first in order where they tie.
//! 3. Where too much would be paid, because some were paid ahead and nobody is asked to give back, a unit is taken from
//!    whoever is then least below what is due, last in order where they tie, until the sum is right. It is carried.
//!
//! # Invariants
//! - Payments of one distribution sum to it, and none is negative.
//! - Nobody is ever paid ahead by a whole unit: what is due after a distribution is above -1.
//! - Where everybody's share of a distribution is at least one unit, what is due after it is below 1, whatever was carried
//!   before: shares of at least one unit leave nobody below zero in step 2, so that step 3 does nothing.
//! - Both bounds hold against the exact fractions too. Largest remainders leave at most `1 - 1/n` of a unit among `n`
//!   parties, and `d` distributions move an entitlement by less than `d` parts: 10^16 distributions to 1000 parties do not
//!   use up what is left of the unit.
//!
//! Who is no longer in the table, or has no known GDP, has no share; what was due stays due.

use std::collections::BTreeMap;

use covenant_types::canonical::{CanonicalError, Reader, Writer};

use crate::codec::Canon;
use crate::rules::Distribution;
use crate::{Alpha3, Amount, Nations};

/// How many parts a minor unit has where entitlement is counted.
pub const GRID: i128 = 10_i128.pow(20);
/// Communities, nations and reserve, in tenths.
const TENTHS: [(Party, i128); 3] = [(Party::Communities, 5), (Party::Nations, 3), (Party::Reserve, 2)];
/// The most nations that were ever in a table.
const NATIONS_EVER_MAX: usize = 26 * 26 * 26;
const DOMAIN: &str = "covenant/entitlements/1";
const DUE_BYTES: usize = 3 + 3 * 16;

/// Who shares a profit, in the order that ties are broken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// Half.
    Communities,
    /// Three tenths, for all nations together.
    Nations,
    /// Two tenths.
    Reserve,
}

/// What somebody was promised and paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Whole minor units promised.
    pub entitled: i128,
    /// Parts of a unit promised beside, 0 to [`GRID`] - 1.
    pub entitled_parts: i128,
    /// Minor units paid.
    pub paid: i128,
}

impl Due {
    /// What is due and not paid, in parts; less than zero where more was paid than was due.
    pub fn parts(&self) -> i128 {
        self.parts_after(0)
    }

    /// What would still be due after another payment of about what is due.
    fn parts_after(&self, units: i128) -> i128 {
        // First the units, which may be many, then the parts of what little is left.
        (self.entitled - self.paid - units) * GRID + self.entitled_parts
    }

    /// Whether a whole unit or more is due that could not be paid.
    pub fn is_carried(&self) -> bool {
        self.parts() >= GRID
    }

    fn promise(&mut self, units: i128, parts: i128) {
        let parts = self.entitled_parts + parts;
        self.entitled += units + parts.div_euclid(GRID);
        self.entitled_parts = parts.rem_euclid(GRID);
    }
}

/// What everybody was promised and paid so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entitlements {
    parties: BTreeMap<Party, Due>,
    nations: BTreeMap<Alpha3, Due>,
}

impl Entitlements {
    /// Shares `amount`: 50 % to communities, 30 % to nations in proportion to their GDP in this table, 20 % to the reserve,
    /// with what is due from before.
    ///
    /// `None` where the amount is not above zero, is above [`Amount::MAX`], or where more was distributed than can be
    /// counted; nothing changed then.
    pub fn distribute(&mut self, amount: Amount, table: &Nations) -> Option<Distribution> {
        if amount <= Amount::ZERO || amount > Amount::MAX || self.room() < amount.as_cents() {
            return None;
        }
        let parts = share(amount.as_cents(), &TENTHS, &mut self.parties);
        let part = |party| parts.get(&party).copied().unwrap_or(0);
        let known: Vec<(Alpha3, i128)> =
            table.iter().filter_map(|nation| nation.gdp.map(|gdp| (nation.iso3, gdp.dollars))).collect();
        let shares = share(part(Party::Nations), &known, &mut self.nations);
        Some(Distribution {
            communities: Amount::cents(part(Party::Communities)),
            nations: shares.into_iter().map(|(code, share)| (code, Amount::cents(share))).collect(),
            reserve: Amount::cents(part(Party::Reserve)),
        })
    }

    /// Every nation that was ever promised something, in order.
    pub fn nations(&self) -> impl Iterator<Item = (Alpha3, Due)> {
        self.nations.iter().map(|(code, due)| (*code, *due))
    }

    /// What one of the three parties was promised and paid.
    pub fn party(&self, party: Party) -> Due {
        self.parties.get(&party).copied().unwrap_or_default()
    }

    /// Nations to which a whole unit or more is due, with the parts due: distributions were too small to pay them exactly.
    pub fn carried(&self) -> Vec<(Alpha3, i128)> {
        self.nations.iter().filter(|(_, due)| due.is_carried()).map(|(code, due)| (*code, due.parts())).collect()
    }

    /// How much may still be distributed so that sums of all that was promised stay countable.
    fn room(&self) -> i128 {
        let promised = self.parties.values().map(|due| due.entitled).fold(0, i128::saturating_add);
        (i128::MAX / 2).saturating_sub(promised)
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new(DOMAIN);
        let due = |writer: &mut Writer, due: &Due| {
            writer.i128(due.entitled).i128(due.entitled_parts).i128(due.paid);
        };
        for (party, _) in TENTHS {
            due(&mut writer, &self.party(party));
        }
        writer.count(self.nations.len());
        for (code, owed) in &self.nations {
            code.write(&mut writer);
            due(&mut writer, owed);
        }
        writer.finish()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// They are no record of entitlements.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CanonicalError> {
        let mut reader = Reader::new(bytes, DOMAIN)?;
        let due = |reader: &mut Reader<'_>| {
            let due = Due { entitled: reader.i128()?, entitled_parts: reader.i128()?, paid: reader.i128()? };
            let whole = (0..GRID).contains(&due.entitled_parts) && due.entitled >= 0 && due.paid >= 0;
            let near = due.entitled.abs_diff(due.paid) <= NATIONS_EVER_MAX as u128;
            // Nobody is ever paid ahead by a whole unit.
            if whole && near && due.parts() > -GRID { Ok(due) } else { Err(CanonicalError::BadValue("due")) }
        };
        let mut entitlements = Self::default();
        for (party, _) in TENTHS {
            entitlements.parties.insert(party, due(&mut reader)?);
        }
        let count = reader.count(DUE_BYTES)?;
        let mut before = None;
        for _ in 0..count {
            let code = Alpha3::read(&mut reader)?;
            if before.is_some_and(|before| before >= code) {
                return Err(CanonicalError::BadValue("nations"));
            }
            before = Some(code);
            entitlements.nations.insert(code, due(&mut reader)?);
        }
        reader.finish()?;
        if !entitlements.adds_up() {
            return Err(CanonicalError::BadValue("sums"));
        }
        Ok(entitlements)
    }

    /// Whether everything that was shared was promised and paid to somebody, and all of it can be counted.
    fn adds_up(&self) -> bool {
        let due = |dues: &mut dyn Iterator<Item = &Due>| dues.map(Due::parts).sum::<i128>() == 0;
        let paid = self.nations.values().try_fold(0i128, |sum, due| sum.checked_add(due.paid));
        let promised = self.parties.values().try_fold(0i128, |sum, due| sum.checked_add(due.entitled));
        due(&mut self.parties.values())
            && due(&mut self.nations.values())
            && paid == Some(self.party(Party::Nations).paid)
            && promised.is_some_and(|promised| promised <= i128::MAX / 2)
    }
}

/// Adds each one's share of `total` to what is due, and pays whole units of that which sum to `total`. Weights are in the
/// order of ties, above zero, and sum to at most 10^18; `total` is at most [`Amount::MAX`]: all products fit.
pub(crate) fn share<K: Copy + Ord>(
    total: i128,
    weights: &[(K, i128)],
    dues: &mut BTreeMap<K, Due>,
) -> BTreeMap<K, i128> {
    promise(total, weights, dues);
    let mut paid: BTreeMap<K, i128> = dues.iter().map(|(key, due)| (*key, (due.entitled - due.paid).max(0))).collect();
    let rest = |key: &K, units: i128| dues[key].parts_after(units);
    let mut left = total - paid.values().sum::<i128>();
    if left > 0 {
        let mut order: Vec<K> = paid.keys().copied().collect();
        // A stable sort keeps the earlier one first.
        order.sort_by_key(|key| std::cmp::Reverse(rest(key, paid[key])));
        // What is left is the sum of the remainders, each below one unit: fewer units than there are parties.
        for key in order.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            *paid.get_mut(&key).expect("a key of the map") += 1;
        }
    }
    while left < 0 {
        let payable = paid.iter().filter(|(_, units)| **units > 0);
        let least = payable.min_by_key(|(key, units)| (rest(key, **units), std::cmp::Reverse(**key)));
        let key = *least.expect("more than nothing is paid, so somebody is paid").0;
        *paid.get_mut(&key).expect("a key of the map") -= 1;
        left += 1;
    }
    for (key, units) in &paid {
        dues.get_mut(key).expect("a key of the map").paid += units;
    }
    paid.retain(|_, units| *units > 0);
    paid
}

/// Adds each one's share of `total` to what is due, in parts that sum to it.
fn promise<K: Copy + Ord>(total: i128, weights: &[(K, i128)], dues: &mut BTreeMap<K, Due>) {
    let sum: i128 = weights.iter().map(|(_, weight)| weight).sum();
    if sum == 0 {
        return;
    }
    let quota = |weight: i128| {
        let (units, rest) = (total * weight / sum, total * weight % sum);
        (units, rest * GRID / sum, rest * GRID % sum)
    };
    let mut shares: Vec<(K, i128, i128, i128)> = weights
        .iter()
        .map(|(key, weight)| {
            let (units, parts, rest) = quota(*weight);
            (*key, units, parts, rest)
        })
        .collect();
    let units: i128 = shares.iter().map(|share| share.1).sum();
    let parts: i128 = shares.iter().map(|share| share.2).sum();
    let left =
        usize::try_from((total - units) * GRID - parts).expect("fewer parts are left over than there are shares");
    shares.sort_by_key(|share| std::cmp::Reverse(share.3));
    for (at, (key, units, parts, _)) in shares.into_iter().enumerate() {
        dues.entry(key).or_default().promise(units, parts + i128::from(at < left));
    }
}

#[cfg(test)]
mod tests;
