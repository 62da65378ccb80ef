//! Many years of distributions, judged in exact fractions.

use num_bigint::BigInt;
use num_rational::BigRational;
use proptest::prelude::*;

use super::*;
use crate::nations::tests::table;

/// Distributions as the rules say, in fractions of any size. It shares no arithmetic with what it judges.
#[derive(Default)]
struct Oracle {
    promised: BTreeMap<String, BigRational>,
    paid: BTreeMap<String, i128>,
}

fn whole(units: i128) -> BigRational {
    BigRational::from_integer(BigInt::from(units))
}

/// How near two fractions may be for us to call them tied: far above the grid, far below what anybody would notice.
fn tied(a: &BigRational, b: &BigRational) -> bool {
    let apart = if a > b { a - b } else { b - a };
    apart * whole(10_i128.pow(15)) < whole(1)
}

impl Oracle {
    fn due(&self, key: &str) -> BigRational {
        self.promised[key].clone() - whole(self.paid.get(key).copied().unwrap_or(0))
    }

    fn promise(&mut self, total: i128, weights: &[(String, i128)]) -> bool {
        let sum: i128 = weights.iter().map(|(_, weight)| weight).sum();
        for (key, weight) in weights {
            let share = BigRational::new(BigInt::from(total) * BigInt::from(*weight), BigInt::from(sum));
            *self.promised.entry(key.clone()).or_insert_with(|| whole(0)) += share;
        }
        let ample = |key: &String| {
            let weight = weights.iter().find(|(known, _)| known == key).map_or(0, |(_, weight)| *weight);
            BigInt::from(total) * BigInt::from(weight) >= BigInt::from(sum)
        };
        self.promised.keys().all(ample)
    }

    /// Pays one by one: whole units, then to whoever is furthest below, or back from whoever is least below.
    fn decide(&self, total: i128) -> BTreeMap<String, i128> {
        let mut pays = BTreeMap::new();
        let mut below = BTreeMap::new();
        for key in self.promised.keys() {
            let due = self.due(key);
            let units: i128 = due.floor().to_integer().try_into().unwrap();
            pays.insert(key.clone(), units.max(0));
            below.insert(key.clone(), due - whole(units.max(0)));
        }
        loop {
            let sum: i128 = pays.values().sum();
            let step = match sum.cmp(&total) {
                std::cmp::Ordering::Equal => return pays,
                std::cmp::Ordering::Less => 1,
                std::cmp::Ordering::Greater => -1,
            };
            let mut chosen: Option<String> = None;
            for key in pays.keys().filter(|key| step == 1 || pays[*key] > 0) {
                let better = chosen.as_ref().is_none_or(|best| {
                    let (best, this) = (&below[best], &below[key]);
                    if step == 1 { this > best } else { this <= best }
                });
                if better {
                    chosen = Some(key.clone());
                }
            }
            let chosen = chosen.unwrap();
            *pays.get_mut(&chosen).unwrap() += step;
            *below.get_mut(&chosen).unwrap() -= whole(step);
        }
    }

    /// Whether the decision hangs on a tie.
    fn has_ties(&self) -> bool {
        let rests: Vec<BigRational> = self.promised.keys().map(|key| self.due(key).fract()).collect();
        let edge = |rest: &BigRational| [-1, 0, 1].iter().any(|at| tied(rest, &whole(*at)));
        let modulo = |a: &BigRational, b: &BigRational| [-1, 0, 1].iter().any(|at| tied(&(a - b), &whole(*at)));
        let pair = |at: usize| rests[at + 1..].iter().any(|other| modulo(&rests[at], other));
        (0..rests.len()).any(|at| edge(&rests[at]) || pair(at))
    }

    fn pay(&mut self, pays: &BTreeMap<String, i128>) {
        for (key, units) in pays {
            *self.paid.entry(key.clone()).or_default() += units;
        }
    }
}

/// One year: what is distributed, and the GDP of each of some nations, where it is known.
type Year = (i128, Vec<Option<i128>>);

fn years(nations: usize, most: i128) -> impl Strategy<Value = Vec<Year>> {
    let gdp = prop_oneof![
        1 => Just(None),
        4 => (1..1_000i128).prop_map(Some),
        4 => (1..1_000_000_000_000_000i128).prop_map(Some),
        1 => Just(Some(1_000_000_000_000_000)),
    ];
    let year = (prop_oneof![1..20i128, 1..2_000i128, 1..most], proptest::collection::vec(gdp, nations));
    let year = year.prop_map(|(amount, mut gdps)| {
        gdps[0] = gdps[0].or(Some(7));
        (amount, gdps)
    });
    proptest::collection::vec(year, 1..14)
}

fn code(at: usize) -> String {
    format!(
        "A{}{}",
        char::from(b'A' + u8::try_from(at / 26).unwrap()),
        char::from(b'A' + u8::try_from(at % 26).unwrap())
    )
}

/// Runs the years through the core and the oracle, and holds every promise of this module against the fractions.
fn judge(years: &[Year]) -> Result<(), TestCaseError> {
    let mut core = Entitlements::default();
    let (mut parties, mut nations) = (Oracle::default(), Oracle::default());
    for (amount, gdps) in years {
        let rows: Vec<(String, Option<i128>)> = gdps.iter().enumerate().map(|(at, gdp)| (code(at), *gdp)).collect();
        let shared = core.distribute(Amount::cents(*amount), &table(&rows)).unwrap();
        prop_assert_eq!(shared.sum(), Amount::cents(*amount));

        let tenths = [("1 communities", 5), ("2 nations", 3), ("3 reserve", 2)].map(|(key, w)| (key.to_owned(), w));
        parties.promise(*amount, &tenths);
        let part = shared.nations_sum().as_cents();
        let pays = [shared.communities.as_cents(), part, shared.reserve.as_cents()];
        let pays = tenths.iter().zip(pays).map(|((key, _), units)| (key.clone(), units)).collect();
        prop_assert_eq!(&parties.decide(*amount), &pays, "tenths are exact on the grid: no tie is ever broken by it");
        parties.pay(&pays);
        for (key, _) in &tenths {
            let due = parties.due(key);
            prop_assert!(due > whole(-1) && due < whole(1), "{} is {} off", key, due);
        }

        let weights: Vec<(String, i128)> =
            rows.iter().filter_map(|(code, gdp)| Some((code.clone(), (*gdp)?))).collect();
        let ample = nations.promise(part, &weights);
        let mut pays: BTreeMap<String, i128> = nations.promised.keys().map(|key| (key.clone(), 0)).collect();
        for (code, units) in &shared.nations {
            prop_assert!(*units > Amount::ZERO, "a payment is never negative");
            pays.insert(code.to_string(), units.as_cents());
        }
        prop_assert!(
            nations.decide(part) == pays || nations.has_ties(),
            "{:?} is not {:?}",
            pays,
            nations.decide(part)
        );
        nations.pay(&pays);
        let mut carried = Vec::new();
        for key in nations.promised.keys() {
            let due = nations.due(key);
            prop_assert!(due > whole(-1), "{} is paid a whole unit ahead: {}", key, due);
            prop_assert!(!ample || due < whole(1), "{} is {} short though every share was ample", key, due);
            if due >= whole(1) && !tied(&due, &whole(1)) {
                carried.push(key.clone());
            }
        }
        let listed: Vec<String> = core.carried().iter().map(|(code, _)| code.to_string()).collect();
        prop_assert!(
            carried.iter().all(|key| listed.contains(key)),
            "{:?} are carried and {:?} are listed",
            carried,
            listed
        );
        prop_assert!(!ample || listed.is_empty());
        prop_assert_eq!(Entitlements::from_bytes(&core.to_bytes()).unwrap(), core.clone());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn many_years_of_changing_tables_keep_every_promise(years in (1..14usize).prop_flat_map(|n| years(n, Amount::MAX.as_cents() + 1))) {
        judge(&years)?;
    }

    #[test]
    fn distributions_too_small_for_everybody_carry_and_heal(years in (12..22usize).prop_flat_map(|n| years(n, 60))) {
        judge(&years)?;
    }
}

#[test]
fn a_nation_that_rounding_would_forget_is_paid_in_the_end() {
    let table = table(&[("AAA".to_owned(), Some(999)), ("ZZZ".to_owned(), Some(1))]);
    let (mut core, mut alone) = (Entitlements::default(), 0);
    for _ in 0..1000 {
        let paid = |shared: &Distribution| shared.nations.iter().any(|(code, _)| code.as_str() == "ZZZ");
        core.distribute(Amount::cents(10), &table).unwrap();
        alone += i32::from(paid(&crate::rules::distribute(Amount::cents(10), &table)));
    }
    let paid: BTreeMap<Alpha3, i128> = core.nations().map(|(code, due)| (code, due.paid)).collect();
    assert_eq!(paid[&"ZZZ".parse().unwrap()], 3, "3 of 3000 cents are a thousandth");
    assert_eq!(alone, 0, "each distribution for itself gives it nothing for ever");
}

#[test]
fn todays_table_keeps_every_nation_within_a_cent_from_58_630_dollars_on() {
    let table = Nations::embedded();
    let least = table.iter().filter_map(|nation| nation.gdp).map(|gdp| gdp.dollars).min().unwrap();
    let nations_part_least = (table.total_gdp() + least - 1) / least;
    let mut core = Entitlements::default();
    let mut paid = 0;
    for step in 0..200 {
        // Ten thirds of the nations' part, and one cent for what the three parts carry.
        let amount = nations_part_least * 10 / 3 + 4 + step;
        paid += core.distribute(Amount::cents(amount), table).unwrap().nations_sum().as_cents();
        assert_eq!(core.carried(), []);
        assert!(core.nations().all(|(_, due)| due.parts().abs() < GRID));
    }
    assert!((5_860_000..5_870_000).contains(&(nations_part_least * 10 / 3)), "{nations_part_least}");
    assert_eq!(core.nations().map(|(_, due)| due.paid).sum::<i128>(), paid);
}

#[test]
fn the_largest_distributions_are_shared_exactly() {
    let mut core = Entitlements::default();
    for cents in [Amount::MAX.as_cents(), 1, Amount::MAX.as_cents() - 1] {
        assert_eq!(core.distribute(Amount::cents(cents), Nations::embedded()).unwrap().sum(), Amount::cents(cents));
        assert_eq!(Entitlements::from_bytes(&core.to_bytes()), Ok(core.clone()));
    }
}

#[test]
fn what_cannot_be_shared_changes_nothing() {
    let (mut core, table) = (Entitlements::default(), Nations::embedded());
    for amount in [0, -1, i128::MIN, Amount::MAX.as_cents() + 1, i128::MAX] {
        assert_eq!(core.distribute(Amount::cents(amount), table), None, "{amount}");
    }
    assert_eq!(core, Entitlements::default());
    core.distribute(Amount::cents(100), table).unwrap();
    let full = Due { entitled: i128::MAX / 2, entitled_parts: 0, paid: i128::MAX / 2 };
    core.parties.insert(Party::Reserve, full);
    let before = core.clone();
    assert_eq!(core.distribute(Amount::cents(1), table), None);
    assert_eq!(core, before);
}

#[test]
fn damaged_records_are_refused() {
    let mut core = Entitlements::default();
    core.distribute(Amount::cents(123_456), Nations::embedded()).unwrap();
    let bytes = core.to_bytes();
    assert!((0..bytes.len()).all(|length| Entitlements::from_bytes(&bytes[..length]).is_err()));
    let mut off = core.clone();
    off.parties.insert(Party::Reserve, Due { entitled: 5, entitled_parts: GRID, paid: 5 });
    assert!(Entitlements::from_bytes(&off.to_bytes()).is_err());
    off.parties.insert(Party::Reserve, Due { entitled: i128::MAX, entitled_parts: 0, paid: 5 });
    assert!(Entitlements::from_bytes(&off.to_bytes()).is_err());
}
