//! Prints the goals of membership beside what the simulator measured.

use std::io::{self, Write};
use std::process::ExitCode;

use covenant_sim::swim::goals::{self, Effort, Row};

fn main() -> ExitCode {
    let mut effort = Effort::QUICK;
    let mut only = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--full" => effort = Effort::FULL,
            "--night" => effort = Effort::NIGHT,
            name if GROUPS.iter().any(|(group, _)| *group == name) => only.push(name.to_owned()),
            _ => {
                let names: Vec<&str> = GROUPS.iter().map(|(name, _)| *name).collect();
                let _closed = writeln!(
                    io::stderr(),
                    "sim-goals takes --full, --night and any of {}, not {argument}",
                    names.join(", ")
                );
                return ExitCode::from(2);
            }
        }
    }
    let mut met = true;
    let mut out = io::stdout();
    for (name, group) in GROUPS.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|only| only == name)) {
        for row in group(&effort) {
            met &= row.met != Some(false);
            let verdict = match row.met {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "-",
            };
            if writeln!(out, "| {} | {} | {} | {} | {verdict} |", row.goal, row.what, row.measured, row.target).is_err()
            {
                return ExitCode::FAILURE;
            }
        }
        let _shown = out.flush();
        let _name = name;
    }
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

type Group = fn(&Effort) -> Vec<Row>;

const GROUPS: [(&str, Group); 8] = [
    ("lan", goals::lan),
    ("mixed", goals::mixed),
    ("quiet", goals::quiet),
    ("traffic", goals::traffic),
    ("pools", goals::pools),
    ("heal", goals::heals),
    ("join", goals::joins),
    ("stall", goals::lifeguard),
];
