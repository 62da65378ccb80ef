//! `fuzz`: hunts in one target, or in all of them for a share of the time each.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use covenant_fuzz::{Bounds, Hunted, Stop, Target, corpus, hunt, targets, try_one};

const USAGE: &str = "fuzz takes NAME... or all, and one of
  --minutes N    hunt for so long in all, a share for each target (1 if left out)
  --replay FILE  run the one target NAME on this file
  --write-seeds  write the seeds into the corpus
with --seed N, or a new one each time, and --list for the names.";

/// Where findings go.
const FINDINGS: &str = "target/fuzz";

struct Asked {
    targets: Vec<Target>,
    minutes: f64,
    seed: u64,
    replay: Option<PathBuf>,
    write_seeds: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut out = io::stdout();
    if arguments.iter().any(|argument| argument == "--list") {
        let names: Vec<_> = targets().iter().map(|target| target.name).collect();
        let _closed = writeln!(out, "{}", names.join("\n"));
        return ExitCode::SUCCESS;
    }
    let Some(asked) = read(&arguments) else {
        let _closed = writeln!(io::stderr(), "{USAGE}");
        return ExitCode::from(2);
    };
    let done = match &asked.replay {
        Some(file) => replay(&asked.targets, file, &mut out),
        None if asked.write_seeds => write_seeds(&asked.targets, &mut out),
        None => hunt_all(&asked, &mut out),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _closed = writeln!(io::stderr(), "fuzz: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `None` where it is not understood.
fn read(arguments: &[String]) -> Option<Asked> {
    let mut asked = Asked { targets: Vec::new(), minutes: 1.0, seed: rand::random(), replay: None, write_seeds: false };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--minutes" => asked.minutes = rest.next()?.parse().ok().filter(|minutes| (0.0..1e6).contains(minutes))?,
            "--seed" => asked.seed = rest.next()?.parse().ok()?,
            "--replay" => asked.replay = Some(rest.next()?.into()),
            "--write-seeds" => asked.write_seeds = true,
            "all" => asked.targets.extend(targets()),
            name => asked.targets.push(*targets().iter().find(|target| target.name == name)?),
        }
    }
    (!asked.targets.is_empty()).then_some(asked)
}

fn hunt_all(asked: &Asked, out: &mut impl Write) -> io::Result<bool> {
    writeln!(out, "fuzz: seed {}, {} targets, {} minutes", asked.seed, asked.targets.len(), asked.minutes)?;
    let share = Duration::from_secs_f64(asked.minutes * 60.0)
        .div_f64(f64::from(u32::try_from(asked.targets.len()).unwrap_or(u32::MAX)));
    let bounds = Bounds::default();
    let mut clean = true;
    for target in &asked.targets {
        let begin_with = corpus::begin_with(&corpus::folder(), target)?;
        let Hunted { tried, new, finding } =
            hunt(target, begin_with, asked.seed, Stop::Within(share), &bounds, Path::new(FINDINGS))?;
        match finding {
            None => writeln!(out, "{:<20} {tried:>9} inputs, {new:>4} ways: ok", target.name)?,
            Some(finding) => {
                clean = false;
                let (name, file) = (target.name, finding.file.display());
                writeln!(out, "{name:<20} {tried:>9} inputs, {new:>4} ways: {}", finding.trouble)?;
                writeln!(out, "    {} bytes, see it again: just fuzz {name} --replay {file}", finding.input.len())?;
                writeln!(out, "    once it is mended, keep it: cp {file} crates/fuzz/corpus/{name}/")?;
            }
        }
    }
    Ok(clean)
}

fn replay(targets: &[Target], file: &Path, out: &mut impl Write) -> io::Result<bool> {
    let input = std::fs::read(file)?;
    let mut clean = true;
    for target in targets {
        let outcome = try_one(target, &input, &Bounds::default());
        let said = outcome.as_ref().map_or_else(ToString::to_string, |_| "ok".to_owned());
        clean &= outcome.is_ok();
        writeln!(out, "{}: {said}", target.name)?;
    }
    Ok(clean)
}

fn write_seeds(targets: &[Target], out: &mut impl Write) -> io::Result<bool> {
    for target in targets {
        let written = corpus::write_seeds(&corpus::folder(), target)?;
        writeln!(out, "{}: {written} seeds", target.name)?;
    }
    Ok(true)
}
