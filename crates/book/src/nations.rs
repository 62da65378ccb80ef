//! The table of nations: who they are and what their economy is said to be worth.
//!
//! Read strictly: a wrong line refuses the whole table and is named. The table's hash stands in every entry that follows
//! from it, so that anybody can see which figures were used.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use covenant_types::Region;

use crate::Alpha3;

/// One nation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nation {
    /// Two letters.
    pub iso2: String,
    /// Three letters; the nation's name in accounts.
    pub iso3: Alpha3,
    /// Its name for people.
    pub name: String,
    /// Where it lies.
    pub region: Region,
    /// Its latest GDP in US dollars at official exchange rates and the year of the figure; `None` where nobody knows.
    pub gdp: Option<Gdp>,
}

/// A figure and its year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gdp {
    /// Whole dollars, more than zero.
    pub dollars: i128,
    /// The year it is for.
    pub year: u16,
}

/// A table of nations, checked.
#[derive(Clone, Debug)]
pub struct Nations {
    /// By ISO alpha-3, which is the order that ties are broken in.
    by_iso3: BTreeMap<Alpha3, Nation>,
    text: String,
    hash: String,
    total: i128,
}

/// The table that is built into the program.
const EMBEDDED: &str = include_str!("../data/nations.csv");
const HEADER: &str = "iso2,iso3,name,region,income,population,gdp_usd,gdp_year";
const INCOMES: [&str; 4] = ["low", "lower-middle", "upper-middle", "high"];
/// The longest table, in bytes.
pub const NATIONS_BYTES_MAX: usize = 1024 * 1024;
/// The longest table, in lines.
const NATIONS_MAX: usize = 500;
/// The largest economy that is believed, in dollars.
const GDP_MAX: i128 = 1_000_000_000_000_000;

impl Nations {
    /// The table that is built into the program.
    ///
    /// # Panics
    /// Never: a test reads it.
    pub fn embedded() -> &'static Self {
        static TABLE: OnceLock<Nations> = OnceLock::new();
        TABLE.get_or_init(|| Self::parse(EMBEDDED).expect("the embedded table is tested"))
    }

    /// Reads a table.
    ///
    /// # Errors
    /// The first line that is wrong, and what to do about it.
    pub fn parse(text: &str) -> Result<Self, NationsError> {
        if text.len() > NATIONS_BYTES_MAX {
            return Err(NationsError::at(1, format!("the table is longer than {NATIONS_BYTES_MAX} bytes")));
        }
        let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
        match lines.next() {
            Some((_, HEADER)) => {}
            Some(_) | None => return Err(NationsError::at(1, format!("the first line must be {HEADER}"))),
        }
        let mut by_iso3: BTreeMap<Alpha3, Nation> = BTreeMap::new();
        let mut iso2 = BTreeMap::new();
        for (number, line) in lines {
            let nation = nation(line).map_err(|what| NationsError::at(number, what))?;
            if by_iso3.len() == NATIONS_MAX {
                return Err(NationsError::at(number, format!("there are more than {NATIONS_MAX} nations")));
            }
            if let Some(before) = iso2.insert(nation.iso2.clone(), number) {
                return Err(NationsError::at(
                    number,
                    format!("{} stands in line {before} already; keep one of them", nation.iso2),
                ));
            }
            let code = nation.iso3;
            if by_iso3.insert(code, nation).is_some() {
                return Err(NationsError::at(number, format!("{code} stands in the table already; keep one of them")));
            }
        }
        let total = by_iso3.values().filter_map(|nation| nation.gdp).map(|gdp| gdp.dollars).sum();
        if total == 0 {
            return Err(NationsError::at(1, "no nation has a GDP: there is nothing to share by".to_owned()));
        }
        Ok(Self { by_iso3, text: text.to_owned(), hash: blake3::hash(text.as_bytes()).to_hex().to_string(), total })
    }

    /// All nations in the order of their three letters.
    pub fn iter(&self) -> impl Iterator<Item = &Nation> {
        self.by_iso3.values()
    }

    /// One nation.
    pub fn by_iso3(&self, code: Alpha3) -> Option<&Nation> {
        self.by_iso3.get(&code)
    }

    /// The table as it was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// BLAKE3 of the table's bytes, in hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The same hash in bytes, as commands name the table by it.
    pub fn hash_bytes(&self) -> [u8; 32] {
        *blake3::hash(self.text.as_bytes()).as_bytes()
    }

    /// The GDP of all nations together, in dollars; more than zero.
    pub fn total_gdp(&self) -> i128 {
        self.total
    }
}

fn nation(line: &str) -> Result<Nation, String> {
    if line.contains('"') {
        return Err("quotes are not used in this table; write the name without them".to_owned());
    }
    let fields: Vec<&str> = line.split(',').collect();
    let [iso2, iso3, name, region, income, population, gdp, gdp_year] = fields[..] else {
        return Err(format!("it has {} fields and not the 8 of {HEADER}; names have no commas", fields.len()));
    };
    if iso2.len() != 2 || !iso2.bytes().all(|letter| letter.is_ascii_uppercase()) {
        return Err(format!("iso2 {iso2:?} is not two capital letters"));
    }
    let iso3 = iso3.parse().map_err(|_| format!("iso3 {iso3:?} is not three capital letters"))?;
    if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
        return Err("the name is empty, longer than 128 bytes or not plain text".to_owned());
    }
    if !INCOMES.contains(&income) {
        return Err(format!("unknown income group {income:?}: use one of {}", INCOMES.join(", ")));
    }
    number("population", population)?;
    let gdp = match (gdp, gdp_year) {
        ("", "") => None,
        ("", _) | (_, "") => return Err("gdp_usd and gdp_year stand together or not at all".to_owned()),
        (dollars, year) => {
            let dollars = number("gdp_usd", dollars)?;
            if dollars == 0 || dollars > GDP_MAX {
                return Err(format!("gdp_usd must be 1 to {GDP_MAX}; leave it empty where nobody knows it"));
            }
            let year = number("gdp_year", year)?;
            let year = u16::try_from(year).ok().filter(|year| (1900..=2200).contains(year));
            Some(Gdp { dollars, year: year.ok_or("gdp_year must be 1900 to 2200")? })
        }
    };
    let region = region.parse().map_err(|error| format!("{error}"))?;
    Ok(Nation { iso2: iso2.to_owned(), iso3, name: name.to_owned(), region, gdp })
}

fn number(field: &str, text: &str) -> Result<i128, String> {
    let digits = !text.is_empty() && text.len() <= 24 && text.bytes().all(|b| b.is_ascii_digit());
    let value = if digits { text.parse().ok() } else { None };
    value.ok_or_else(|| format!("{field} {text:?} is not a whole number of digits alone, not negative"))
}

/// What is wrong with a table. Nothing was booked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct NationsError {
    file: String,
    line: usize,
    what: String,
}

impl NationsError {
    /// Says what is wrong in which line, counted from one.
    pub fn at(line: usize, what: String) -> Self {
        Self { file: "nations.csv".to_owned(), line, what }
    }

    /// The same, said of `file`.
    #[must_use]
    pub fn in_file(self, file: String) -> Self {
        Self { file, ..self }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A table of these nations in which nothing else matters.
    pub(crate) fn table(gdps: &[(String, Option<i128>)]) -> Nations {
        let mut text = HEADER.to_owned();
        for (at, (iso3, gdp)) in gdps.iter().enumerate() {
            let letter = |at: usize| char::from(b'A' + u8::try_from(at).unwrap());
            let gdp = gdp.map_or(",".to_owned(), |gdp| format!("{gdp},2024"));
            text += &format!("\n{}{},{iso3},N,africa,low,1,{gdp}", letter(at / 26), letter(at % 26));
        }
        Nations::parse(&text).unwrap()
    }

    #[test]
    fn the_embedded_table_is_what_its_source_says() {
        let nations = Nations::embedded();
        assert_eq!(nations.iter().count(), 195);
        assert_eq!(nations.iter().filter(|nation| nation.gdp.is_some()).count(), 194);
        assert_eq!(nations.total_gdp(), 109_539_342_016_000);
        let count = |region| nations.iter().filter(|nation| nation.region == region).count();
        let counts = Region::ALL.iter().map(|region| count(*region)).collect::<Vec<_>>();
        assert_eq!(counts, [54, 48, 44, 2, 33, 14]);
    }

    fn error(change: impl FnOnce(&mut Vec<String>)) -> String {
        let mut lines = vec![
            HEADER.to_owned(),
            "KE,KEN,Kenya,africa,lower-middle,56203030,104001000000,2022".to_owned(),
            "UG,UGA,Uganda,africa,low,49283041,45567000000,2022".to_owned(),
        ];
        Nations::parse(&lines.join("\n")).unwrap();
        change(&mut lines);
        Nations::parse(&lines.join("\n")).unwrap_err().to_string()
    }

    #[test]
    fn wrong_lines_are_named() {
        let replace = |from: &'static str, to: &'static str| error(|lines| lines[1] = lines[1].replace(from, to));
        assert!(error(|lines| lines[0] = "iso2".into()).starts_with("nations.csv:1: the first line must be"));
        assert!(error(|lines| lines[2] = lines[1].clone()).starts_with("nations.csv:3: KE stands in line 2 already"));
        assert!(error(|lines| lines[2] = lines[1].replace("KE,", "KX,")).starts_with("nations.csv:3: KEN stands"));
        assert!(replace(",2022", "").starts_with("nations.csv:2: it has 7 fields"));
        assert!(replace("africa", "afrika").contains("unknown region"));
        assert!(replace("lower-middle", "poor").contains("unknown income"));
        assert!(replace("104001000000", "-5").contains("not negative"));
        assert!(replace("104001000000", "1e9").contains("digits alone"));
        assert!(replace("104001000000", "0").contains("leave it empty"));
        assert!(replace("104001000000", "").contains("together"));
        assert!(replace("2022", "22").contains("1900 to 2200"));
        assert!(replace("2022", "+2022").contains("digits alone"));
        assert!(replace("56203030", "").contains("population"));
        assert!(replace("Kenya", "Kenya, Republic").contains("names have no commas"));
        assert!(replace("Kenya", "\"Kenya\"").contains("quotes"));
        assert!(error(|lines| lines.insert(1, String::new())).starts_with("nations.csv:2: it has 1 fields"));
        assert!(replace("KEN", "Ken").contains("three capital letters"));
        assert!(Nations::parse("").is_err());
    }

    #[test]
    fn a_table_that_is_too_long_is_refused() {
        let code = |number: usize, letters: u32| {
            let digit = |place: u32| char::from(b'A' + u8::try_from(number / 26usize.pow(place) % 26).unwrap());
            (0..letters).map(digit).collect::<String>()
        };
        let rows = |count| {
            let row = |n| format!("\n{},{},N,africa,low,1,1,2022", code(n, 2), code(n, 3));
            HEADER.to_owned() + &(0..count).map(row).collect::<String>()
        };
        assert_eq!(Nations::parse(&rows(NATIONS_MAX)).unwrap().iter().count(), NATIONS_MAX);
        let error = Nations::parse(&rows(NATIONS_MAX + 1)).unwrap_err().to_string();
        assert_eq!(error, "nations.csv:502: there are more than 500 nations");
        let long = HEADER.to_owned() + &" ".repeat(NATIONS_BYTES_MAX);
        assert!(Nations::parse(&long).unwrap_err().to_string().contains("longer than"));
    }
}
