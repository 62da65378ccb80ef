//! What is wrong with a node and its machine, and what to do about it.

use std::time::Duration;

use covenant_env::Clock;
use covenant_node::api::doctor::{Checkup, Finding, Level};
use covenant_node::api::{ApiError, ErrorKind};
use covenant_types::{WallTime, format_duration};

use crate::args::Global;
use crate::output::{Output, Tone};

/// Clocks are read in seconds, so this much apart they may be the same.
const CLOCK_UNSURE: Duration = Duration::from_secs(2);
/// Clocks so far apart have certificates refused that are new or nearly ended.
const CLOCK_WRONG: Duration = Duration::from_secs(60);

/// Shows what a node found, and how far its clock is from the one here.
pub(crate) async fn run(global: &Global, output: &Output) -> Result<(), ApiError> {
    let clock = covenant_env::RealClock::new();
    let client = global.client().await?;
    let asked = clock.wall();
    let mut checkup: Checkup = client.get("/v1/doctor").await?;
    checkup.findings.push(clocks(checkup.at, asked, clock.wall()));
    output.view(&checkup, |output| {
        let rows: Vec<_> = checkup.findings.iter().map(row).collect();
        let hints = checkup.findings.iter().filter(|finding| !finding.hint.is_empty());
        let hints: String = hints.map(|finding| format!("\n{}: {}", finding.check, finding.hint)).collect();
        format!("{}\n{hints}", output.table(&["CHECK", "LEVEL", "FOUND"], &rows))
    });
    let wrong = checkup.findings.iter().filter(|finding| finding.level == Level::Wrong).count();
    match wrong {
        0 => Ok(()),
        count => Err(ApiError::new(ErrorKind::Failure, format!("{count} things are wrong with {}", checkup.node))),
    }
}

fn row(finding: &Finding) -> Vec<(Tone, String)> {
    let (tone, level) = match finding.level {
        Level::Ok => (Tone::Good, "ok"),
        Level::Warn => (Tone::Warn, "warn"),
        Level::Wrong => (Tone::Bad, "wrong"),
    };
    vec![(Tone::Plain, finding.check.clone()), (tone, level.to_owned()), (Tone::Plain, finding.found.clone())]
}

/// The node read its clock between `asked` and `answered` of the clock here.
fn clocks(node: WallTime, asked: WallTime, answered: WallTime) -> Finding {
    let before = asked.0.saturating_sub(node.0);
    let after = node.0.saturating_sub(answered.0);
    let apart = Duration::from_secs(before.max(after));
    let which = if before > after { "behind" } else { "ahead of" };
    let found = format!("the node's clock is {} {which} the one here", format_duration(apart));
    let hint = "run a time service on both; certificates and leases go by these clocks";
    if apart >= CLOCK_WRONG {
        Finding::not_ok("clock", Level::Wrong, found, hint)
    } else if apart > CLOCK_UNSURE {
        Finding::not_ok("clock", Level::Warn, found, hint)
    } else {
        Finding::ok("clock", "the node's clock and the one here agree within 2 s".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_right_within_the_time_that_the_question_took() {
        let level = |node| clocks(WallTime(node), WallTime(1000), WallTime(1010)).level;
        assert_eq!([998, 1005, 1012].map(level), [Level::Ok; 3]);
        assert_eq!([997, 1013, 945].map(level), [Level::Warn; 3]);
        assert_eq!([940, 1070, 0].map(level), [Level::Wrong; 3]);
        assert!(clocks(WallTime(0), WallTime(1000), WallTime(1010)).found.contains("behind"));
    }
}
