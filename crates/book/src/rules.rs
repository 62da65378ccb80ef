//! The covenant's rules as arithmetic: what a nation owes, and how a profit is shared. Exact, to the cent.

use crate::{Alpha3, Amount, Entitlements, Nations};

/// What nations owe a year: one part in so many of their GDP, which is 0.01 %.
pub const ASSESSMENT_DIVISOR: i128 = 10_000;

/// What a nation with this GDP owes for a year: 0.01 %, to the nearest cent, half a cent up. The GDP is at most what a table
/// may hold.
pub fn owed(gdp_dollars: i128) -> Amount {
    let cents = gdp_dollars * 100;
    Amount::cents((cents + ASSESSMENT_DIVISOR / 2) / ASSESSMENT_DIVISOR)
}

/// A profit, shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Half.
    pub communities: Amount,
    /// Three tenths, by ISO alpha-3 in its order; nations that get nothing are left out.
    pub nations: Vec<(Alpha3, Amount)>,
    /// Two tenths.
    pub reserve: Amount,
}

impl Distribution {
    /// What all nations get together.
    pub fn nations_sum(&self) -> Amount {
        Amount::cents(self.nations.iter().map(|(_, share)| share.as_cents()).sum())
    }

    /// All of it: always exactly what was shared.
    pub fn sum(&self) -> Amount {
        Amount::cents(self.communities.as_cents() + self.nations_sum().as_cents() + self.reserve.as_cents())
    }
}

/// Shares one distribution of `amount`, 1 to [`Amount::MAX`], for itself and without memory: 50 % to communities, 30 % to
/// nations in proportion to their GDP, 20 % to the reserve, by largest remainder. Twice: first the three parts to the cent,
/// then the nations' part among the nations to the cent. Ties go to communities before nations before the reserve, and among
/// nations to the first by ISO alpha-3. Over many distributions [`Entitlements`] remembers what rounding left.
pub fn distribute(amount: Amount, nations: &Nations) -> Distribution {
    Entitlements::default().distribute(amount, nations).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::entitlement::share;

    /// Largest remainder as the first of many distributions does it.
    fn largest_remainder(total: i128, weights: &[i128]) -> Vec<i128> {
        let weights: Vec<(usize, i128)> = weights.iter().copied().enumerate().collect();
        let paid = share(total, &weights, &mut BTreeMap::new());
        weights.iter().map(|(at, _)| paid.get(at).copied().unwrap_or(0)).collect()
    }

    fn owed_by(code: &str) -> Amount {
        owed(Nations::embedded().by_iso3(code.parse().unwrap()).unwrap().gdp.unwrap().dollars)
    }

    #[test]
    fn the_pool_of_today_is_exact() {
        let pool: i128 =
            Nations::embedded().iter().filter_map(|nation| nation.gdp).map(|gdp| owed(gdp.dollars).as_cents()).sum();
        assert_eq!(Amount::cents(pool).to_string(), "10953934201.60");
        assert_eq!(owed_by("TUV").to_string(), "6228.00");
        assert_eq!(owed_by("USA").to_string(), "2918500000.00");
    }

    #[test]
    fn half_a_cent_is_rounded_up() {
        assert_eq!(owed(49), Amount::cents(0));
        assert_eq!(owed(50), Amount::cents(1));
        assert_eq!(owed(149), Amount::cents(1));
        assert_eq!(owed(150), Amount::cents(2));
    }

    #[test]
    fn ties_go_to_communities_then_nations_then_the_reserve() {
        let three = |total| largest_remainder(total, &[5, 3, 2]);
        assert_eq!(three(1), [1, 0, 0]);
        assert_eq!(three(2), [1, 1, 0]);
        // 5 cents: quotas 2.5, 1.5, 1.0: the half cents tie and the first wins.
        assert_eq!(three(5), [3, 1, 1]);
        assert_eq!(largest_remainder(1, &[1, 1, 1]), [1, 0, 0]);
    }

    /// An exact fraction, compared by multiplying crosswise. It shares no arithmetic with what it judges.
    #[derive(Clone, Copy)]
    struct Fraction {
        above: i128,
        below: i128,
    }

    impl Fraction {
        fn exceeds(self, other: Self) -> bool {
            self.above * other.below > other.above * self.below
        }
    }

    /// Largest remainder as one would do it by hand: everybody takes whole cents while the quota lasts, then the cents that
    /// are left go one by one to whoever is furthest below the quota, the first of those who tie.
    fn by_hand(total: i128, weights: &[i128]) -> Vec<i128> {
        let sum: i128 = weights.iter().sum();
        let quota = |weight: i128| Fraction { above: total * weight, below: sum };
        let missing = |weight: i128, has: i128| Fraction { above: total * weight - has * sum, below: sum };
        let mut shares = vec![0; weights.len()];
        for (share, weight) in shares.iter_mut().zip(weights) {
            while !(Fraction { above: *share + 1, below: 1 }).exceeds(quota(*weight)) {
                *share += 1;
            }
        }
        while shares.iter().sum::<i128>() < total {
            let mut furthest = 0;
            for at in 1..weights.len() {
                if missing(weights[at], shares[at]).exceeds(missing(weights[furthest], shares[furthest])) {
                    furthest = at;
                }
            }
            shares[furthest] += 1;
        }
        shares
    }

    /// A whole distribution by hand: three parts, and the nations' part by GDP in the order of their codes.
    fn distributed_by_hand(cents: i128) -> Distribution {
        let parts = by_hand(cents, &[50, 30, 20]);
        let known = Nations::embedded().iter().filter_map(|nation| Some((nation.iso3, nation.gdp?.dollars)));
        let (codes, weights): (Vec<Alpha3>, Vec<i128>) = known.unzip();
        let shares = by_hand(parts[1], &weights).into_iter().map(Amount::cents);
        Distribution {
            communities: Amount::cents(parts[0]),
            nations: codes.into_iter().zip(shares).filter(|(_, share)| *share != Amount::ZERO).collect(),
            reserve: Amount::cents(parts[2]),
        }
    }

    #[test]
    fn small_distributions_are_what_one_gets_by_hand() {
        for cents in 1..=400 {
            let shared = distribute(Amount::cents(cents), Nations::embedded());
            assert_eq!(shared, distributed_by_hand(cents), "{cents} cents");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn a_distribution_is_what_one_gets_by_hand(cents in 1..300_000i128) {
            prop_assert_eq!(distribute(Amount::cents(cents), Nations::embedded()), distributed_by_hand(cents));
        }

        #[test]
        fn shares_are_what_one_gets_by_hand_also_where_many_tie(total in 0..500i128, weights in proptest::collection::vec(1..4i128, 1..30)) {
            prop_assert_eq!(largest_remainder(total, &weights), by_hand(total, &weights));
        }
    }

    proptest! {
        #[test]
        fn a_distribution_sums_exactly_and_nobody_pays(cents in 1..Amount::MAX.as_cents()) {
            let shared = distribute(Amount::cents(cents), Nations::embedded());
            prop_assert_eq!(shared.sum(), Amount::cents(cents));
            prop_assert!(shared.nations.iter().all(|(_, share)| share.as_cents() > 0));
            prop_assert!(shared.communities.as_cents() >= 0 && shared.reserve.as_cents() >= 0);
        }

        #[test]
        fn every_share_is_its_exact_quota_rounded_down_or_up(total in 0..1_000_000_000i128, weights in proptest::collection::vec(1..1_000_000i128, 1..40)) {
            let sum: i128 = weights.iter().sum();
            let shares = largest_remainder(total, &weights);
            prop_assert_eq!(shares.iter().sum::<i128>(), total);
            for (share, weight) in shares.iter().zip(&weights) {
                // |share - total * weight / sum| < 1, in whole numbers.
                prop_assert!((share * sum - total * weight).abs() < sum);
            }
            // Nobody with a smaller remainder was rounded up before somebody with a larger one.
            for (a, share_a) in shares.iter().enumerate() {
                for (b, share_b) in shares.iter().enumerate() {
                    let (rest_a, rest_b) = (total * weights[a] % sum, total * weights[b] % sum);
                    let up = |at: usize, share: i128| share > total * weights[at] / sum;
                    prop_assert!(!(up(a, *share_a) && !up(b, *share_b) && (rest_a < rest_b || rest_a == rest_b && a > b)));
                }
            }
        }
    }
}
