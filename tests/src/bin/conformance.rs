//! Runs OTP's cases and prints where each ran, and how: `just conformance`.
//!
//! Exit code 0 when every case passed wherever `tests/conformance/cases.txt` says that it runs.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// One line of the list.
struct Case {
    number: String,
    name: String,
    places: Vec<String>,
}

const PLACES: [&str; 2] = ["core", "actors"];

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _unheard = writeln!(io::stderr(), "conformance: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether all held.
fn run() -> Result<bool, Box<dyn std::error::Error>> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/cases.txt");
    let cases = read(&std::fs::read_to_string(list)?)?;
    let output = Command::new("cargo")
        .args(["test", "-p", "covenant-tests", "--test", "conformance"])
        .stderr(Stdio::inherit())
        .output()?;
    let results = results(&String::from_utf8_lossy(&output.stdout));
    if results.is_empty() {
        return Err("no test ran".into());
    }
    let mut out = io::stdout().lock();
    let mut whole = 0;
    writeln!(out, "{:>4}  {:<58} {:<10} {:<10}", "", "OTP case", "core", "actors")?;
    for case in &cases {
        let how = |place: &str| match results.get(&(place.to_owned(), case.name.clone())) {
            Some(true) => "passed",
            Some(false) => "FAILED",
            None if case.places.iter().any(|listed| listed == place) => "missing",
            None => "",
        };
        let [core, actors] = PLACES.map(how);
        whole += usize::from([core, actors].iter().all(|how| matches!(*how, "passed" | "")));
        writeln!(out, "{:>4}  {:<58} {core:<10} {actors:<10}", case.number, case.name)?;
    }
    writeln!(out, "{whole} of {} cases passed wherever they are to run", cases.len())?;
    Ok(whole == cases.len())
}

fn read(list: &str) -> Result<Vec<Case>, String> {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    let case = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(number), Some(name)) = (words.next(), words.next()) else {
            return Err(format!("{line:?} is not a number, a name and places"));
        };
        Ok(Case { number, name, places: words.collect() })
    };
    lines.map(case).collect()
}

/// Place and name of each test, and whether it passed.
fn results(said: &str) -> BTreeMap<(String, String), bool> {
    let result = |line: &str| {
        let (test, how) = line.strip_prefix("test ")?.split_once(" ... ")?;
        let (place, name) = (test.split("::").next()?, test.rsplit("::").next()?);
        Some(((place.to_owned(), name.to_owned()), how == "ok"))
    };
    let mut results = BTreeMap::new();
    for (test, passed) in said.lines().filter_map(result) {
        // A case that runs on both hosts has passed when it has on both.
        results.entry(test).and_modify(|so_far| *so_far &= passed).or_insert(passed);
    }
    results
}
