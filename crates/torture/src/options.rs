//! What is asked for.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

pub(crate) const USAGE: &str = "\
usage: ledger-torture [--minutes N | --seconds N] [--seed N] [--clients N] [--program PATH] [--no-disks] [--keep FOLDER] [--json]
       ledger-torture --recheck FILE
  --minutes N     for how long things go wrong; 3 where nothing is said
  --seed N        what goes wrong, and what clients want; drawn and told where left out
  --clients N     64 where nothing is said
  --program PATH  the covenant that is tortured; the one beside this program where left out
  --no-disks      leave disks alone: no compiler is needed then
  --keep FOLDER   where a failed run leaves its history and logs; ledger-torture.failed where left out
  --json          the report as JSON
  --recheck FILE  look at a history that was kept";

/// The longest run.
const MINUTES_MAX: u64 = 24 * 60;
/// The most clients.
const CLIENTS_MAX: usize = 1024;

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) lasts: Duration,
    pub(crate) seed: u64,
    pub(crate) clients: usize,
    pub(crate) program: Option<PathBuf>,
    pub(crate) disks: bool,
    pub(crate) keep: PathBuf,
    pub(crate) json: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Help,
    Recheck(PathBuf),
    Run(Options),
}

impl Options {
    /// Reads arguments.
    ///
    /// # Errors
    /// One of them is unknown, or says nothing that can be done.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> anyhow::Result<Asked> {
        let mut options = Self {
            lasts: Duration::from_secs(180),
            seed: rand::random::<u32>().into(),
            clients: 64,
            program: None,
            disks: true,
            keep: "ledger-torture.failed".into(),
            json: false,
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} wants a value"));
            match argument.as_str() {
                "--minutes" => options.lasts = Duration::from_secs(number(&value()?, MINUTES_MAX)? * 60),
                "--seconds" => options.lasts = Duration::from_secs(number(&value()?, MINUTES_MAX * 60)?),
                "--seed" => options.seed = number(&value()?, u64::MAX)?,
                "--clients" => options.clients = usize::try_from(number(&value()?, CLIENTS_MAX as u64)?)?,
                "--program" => options.program = Some(value()?.into()),
                "--no-disks" => options.disks = false,
                "--keep" => options.keep = value()?.into(),
                "--json" => options.json = true,
                "--recheck" => return Ok(Asked::Recheck(value()?.into())),
                "--help" | "-h" => return Ok(Asked::Help),
                other => bail!("{other} is none of its options"),
            }
        }
        ensure!(options.clients > 0 && !options.lasts.is_zero(), "a run has clients, and a time");
        Ok(Asked::Run(options))
    }
}

fn number(text: &str, most: u64) -> anyhow::Result<u64> {
    let number: u64 = text.parse().with_context(|| format!("{text} is no number"))?;
    ensure!(number <= most, "{number} is more than {most}");
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Asked> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_say_what_is_done_and_others_are_refused() {
        let Asked::Run(options) = parse("--minutes 30 --seed 7 --clients 8 --no-disks --json").unwrap() else {
            panic!()
        };
        assert_eq!((options.lasts.as_secs(), options.seed, options.clients), (1800, 7, 8));
        assert!(options.json && !options.disks);
        assert_eq!(parse("--recheck a.jsonl").unwrap(), Asked::Recheck("a.jsonl".into()));
        for bad in ["--minute 3", "--minutes", "--minutes x", "--minutes 1441", "--seconds 0", "--clients 0"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
