//! How much of the processors a process has had.

use std::io;
use std::path::Path;

/// Processor time of a process so far, by its `stat`.
pub(crate) fn cpu_seconds(stat: &Path) -> io::Result<f64> {
    // Fields 14 and 15, in hundredths of a second: the name before them may hold spaces and ends with a bracket.
    let stat = std::fs::read_to_string(stat)?;
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks = after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / 100.0)
}
