//! Erlang/OTP's gen_server and supervisor, where `erl` is on the machine.

use std::process::Command;

use super::{CALLS, CASTS, CRASHES, IDLE, Measured, Metric, SPAWNS, STOPPED, STOPPED_FEW, STOPPED_FEW_TIMES};

const SOURCE: &str = include_str!("../../erlang/covenant_peer.erl");

pub(super) fn measure(metric: Metric) -> Measured {
    // A crash of Erlang's is one thing: an exit with a reason.
    let has_none = matches!(metric, Metric::CrashPanic | Metric::Recorder | Metric::Plan);
    if has_none || Command::new("erl").arg("-version").output().is_err() {
        return Ok(None);
    }
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("covenant_peer.erl"), SOURCE)?;
    let compiled = Command::new("erlc").arg("covenant_peer.erl").current_dir(dir.path()).output()?;
    if !compiled.status.success() {
        return Err(format!("erlc: {}", String::from_utf8_lossy(&compiled.stdout)).into());
    }
    let sizes = [CASTS, CALLS.into(), SPAWNS.into(), IDLE.into(), CRASHES as u64, STOPPED.into(), STOPPED_FEW.into()];
    let sizes = sizes.into_iter().chain([STOPPED_FEW_TIMES as u64]).map(|size| size.to_string());
    let output = Command::new("erl")
        // As many schedulers as our runtimes have threads; no line for each of the crashes.
        .args(["+S", "2:2", "+P", "1000000", "-noshell", "-noinput", "-kernel", "logger_level", "none"])
        .args(["-pa", ".", "-s", "covenant_peer", "main", metric.word()])
        .args(sizes)
        .current_dir(dir.path())
        .output()?;
    if !output.status.success() {
        return Err(format!("erl: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let said = String::from_utf8(output.stdout)?;
    Ok(Some(said.split_whitespace().map(str::parse).collect::<Result<_, _>>()?))
}
