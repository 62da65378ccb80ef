//! Real nodes: how soon they are ready, what an idle one weighs, how soon a death is noticed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;
use crate::control::get;
use crate::report::{Outcome, Row, Unit};

const STARTS: usize = 7;
const ROUNDS: usize = 3;
/// What nothing here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two questions: the grain of these results.
const ASK_EVERY: Duration = Duration::from_millis(2);
/// How long a cluster is left alone before a tower is weighed.
const IDLE: Duration = Duration::from_secs(5);
const NODES: [&str; 5] = ["hub-africa", "hub-europe", "hub-asia", "tower-kisumu", "tower-kandy"];
const VICTIM: &str = "hub-europe";
const TOWER: &str = "tower-kisumu";
/// The marks: seconds until `up` is ready and until a death is shown, bytes of an idle tower.
const READY_MARK: f64 = 5.0;
const DOWN_MARK: f64 = 6.0;
const RSS_MARK: f64 = 40.0 * 1024.0 * 1024.0;

pub(crate) fn run() -> Result<Outcome, Failure> {
    let binary = std::env::current_exe()?.with_file_name("covenant");
    if !binary.exists() {
        return Err(format!("{} is not built: run `cargo build --release` first", binary.display()).into());
    }
    let starts = cold_starts(&binary)?;
    let (mut first, mut again, mut rss, mut down) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let scratch = tempfile::tempdir()?;
        let up = Up::start(&binary, scratch.path())?;
        first.push(up.ready_after.as_secs_f64());
        up.stop()?;
        let up = Up::start(&binary, scratch.path())?;
        again.push(up.ready_after.as_secs_f64());
        std::thread::sleep(IDLE);
        let status = get(&socket(scratch.path(), TOWER), "/v1/status")?;
        rss.push(status["rss_bytes"].as_f64().ok_or("a status has rss_bytes")?);
        down.push(shown_down(&binary, scratch.path())?.as_secs_f64());
        up.stop()?;
    }
    let rows = vec![
        Row::new("one node, process start → ready", Unit::Seconds, starts),
        Row::new("`up` on a new folder: keys, joins, five nodes ready", Unit::Seconds, first).at_most(READY_MARK),
        Row::new("`up` again: five processes started → all ready", Unit::Seconds, again).at_most(READY_MARK),
        Row::new("idle tower, resident memory", Unit::Bytes, rss).at_most(RSS_MARK),
        Row::new("SIGKILL of a hub → the other four show it Down", Unit::Seconds, down).at_most(DOWN_MARK),
    ];
    let notes = vec![format!(
        "{STARTS} starts of one node, {ROUNDS} rounds of a cluster of five processes; asked every {} ms over the control sockets; the tower is weighed {} s after all were ready",
        ASK_EVERY.as_millis(),
        IDLE.as_secs()
    )];
    Ok(Outcome { rows, notes })
}

fn socket(folder: &Path, node: &str) -> PathBuf {
    folder.join(node).join("control.sock")
}

/// Asks until `wanted` says yes.
fn wait_for(what: &str, mut wanted: impl FnMut() -> bool) -> Result<(), Failure> {
    let began = Instant::now();
    while !wanted() {
        if began.elapsed() > PATIENCE {
            return Err(format!("waited {} s for {what}", PATIENCE.as_secs()).into());
        }
        std::thread::sleep(ASK_EVERY);
    }
    Ok(())
}

fn is_ready(socket: &Path) -> bool {
    get(socket, "/v1/status").is_ok_and(|status| status["ready"] == true)
}

/// How long one node of its own takes from the start of its process until it says that it is ready.
fn cold_starts(binary: &Path) -> Result<Vec<f64>, Failure> {
    let scratch = tempfile::tempdir()?;
    let dir = scratch.path().join("node");
    let init = Command::new(binary)
        .args(["init", "--name", "hub-bench", "--region", "africa", "--listen", "127.0.0.1:0", "--dir"])
        .arg(&dir)
        .stdin(Stdio::null())
        .output()?;
    if !init.status.success() {
        return Err(format!("covenant init: {}", String::from_utf8_lossy(&init.stderr)).into());
    }
    let mut starts = Vec::new();
    for round in 0..=STARTS {
        let began = Instant::now();
        let mut node =
            Process::start(Command::new(binary).args(["node", "run", "--config"]).arg(dir.join("node.toml")))?;
        wait_for("a node to be ready", || is_ready(&dir.join("control.sock")))?;
        if round > 0 {
            starts.push(began.elapsed().as_secs_f64());
        }
        node.terminate()?;
    }
    Ok(starts)
}

/// SIGKILLs a hub and waits until every other node shows it as down.
fn shown_down(binary: &Path, folder: &Path) -> Result<Duration, Failure> {
    let began = Instant::now();
    let kill = Command::new(binary)
        .args(["node", "kill", VICTIM, "--hold", "--folder"])
        .arg(folder)
        .stdin(Stdio::null())
        .output()?;
    if !kill.status.success() {
        return Err(format!("covenant node kill: {}", String::from_utf8_lossy(&kill.stderr)).into());
    }
    let shows = |node: &str| {
        let members = get(&socket(folder, node), "/v1/members").unwrap_or(Value::Null);
        let mut rows = members.as_array().into_iter().flatten();
        rows.any(|row| row["name"] == VICTIM && row["state"] == "down")
    };
    let mut waiting: Vec<&str> = NODES.into_iter().filter(|node| *node != VICTIM).collect();
    wait_for("the others to show the hub as down", || {
        waiting.retain(|node| !shows(node));
        waiting.is_empty()
    })?;
    Ok(began.elapsed())
}

/// A running `covenant up`.
struct Up {
    process: Process,
    ready_after: Duration,
}

impl Up {
    fn start(binary: &Path, folder: &Path) -> Result<Self, Failure> {
        let began = Instant::now();
        let process = Process::start(Command::new(binary).args(["up", "--plain", "--folder"]).arg(folder))?;
        let mut waiting = NODES.to_vec();
        wait_for("five nodes to be ready", || {
            waiting.retain(|node| !is_ready(&socket(folder, node)));
            waiting.is_empty()
        })?;
        Ok(Self { process, ready_after: began.elapsed() })
    }

    fn stop(mut self) -> Result<(), Failure> {
        self.process.terminate()
    }
}

/// A process that does not outlive the benchmark.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Result<Self, Failure> {
        Ok(Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
    }

    /// Asks it to stop and waits until it has.
    fn terminate(&mut self) -> Result<(), Failure> {
        if !Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status()?.success() {
            return Err("a process ended by itself".into());
        }
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where it has ended.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}
