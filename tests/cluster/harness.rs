//! Starts the real binary on loopback, and waits for conditions rather than for times.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take that a test waits for, on a slow and busy machine.
pub(crate) const WITHIN: Duration = Duration::from_secs(60);

/// The program under test.
pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_covenant")
}

/// Runs the program as typed, without what the caller's shell has set for it, and waits for its end.
pub(crate) fn run(args: &[&str]) -> Output {
    let output = Command::new(binary()).args(args).env_remove("COVENANT_FOLDER").stdin(Stdio::null()).output();
    output.expect("the binary runs")
}

/// Runs one verb on the cluster in `folder` and waits for its end.
pub(crate) fn covenant(folder: &Path, args: &[&str]) -> Output {
    run(&[args, &["--folder", text(folder)]].concat())
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// Fails unless the program ended with `code` and said all of `words` on stderr.
pub(crate) fn assert_refused(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

/// Runs one verb with `--json` and returns what it printed; panics with its complaint where it fails.
pub(crate) fn ask(folder: &Path, args: &[&str]) -> Value {
    let output = covenant(folder, &[args, &["--json"]].concat());
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "covenant {args:?}: {complaint}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("covenant {args:?} printed no JSON: {error}"))
}

/// Asks again until `wanted` says yes, at most [`WITHIN`].
pub(crate) fn wait_for<T>(what: &str, mut wanted: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = wanted() {
            return found;
        }
        assert!(began.elapsed() < WITHIN, "waited {} s for {what}", WITHIN.as_secs());
        // A pause between two questions; what is waited for is the answer.
        std::thread::park_timeout(Duration::from_millis(25));
    }
}

/// One small cluster at a time: five processes are enough for two cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Waits for one's turn. A test that failed in its turn gives it on.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running `covenant up`. Dropping it kills it, and with it its nodes.
pub(crate) struct Up {
    folder: PathBuf,
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Up {
    /// Starts the cluster of `folder` and waits until it says that all nodes are ready.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_program(Path::new(binary()), folder, &[])
    }

    /// The same with a program that is the covenant command too, and with more arguments.
    pub(crate) fn start_program(program: &Path, folder: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(["up", "--plain", "--folder"])
            .arg(folder)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let stderr = child.stderr.take().expect("stderr is piped");
        let (sender, lines) = mpsc::channel();
        // Ends with the process: its stderr ends then.
        std::thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let up = Self { folder: folder.to_owned(), child, lines };
        up.wait_for_line("nodes are ready");
        up
    }

    /// Waits until `up` says something with `text` in it.
    pub(crate) fn wait_for_line(&self, text: &str) -> String {
        let mut heard = Vec::new();
        loop {
            match self.lines.recv_timeout(WITHIN) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => heard.push(line),
                Err(_) => panic!("`up` never said {text:?}; it said {heard:#?}"),
            }
        }
    }

    /// One verb with `--json`.
    pub(crate) fn ask(&self, args: &[&str]) -> Value {
        ask(&self.folder, args)
    }

    /// The processes that `up` runs: node and pid.
    pub(crate) fn pids(&self) -> Vec<(String, u64)> {
        let list = self.ask(&["node", "ls"]);
        let rows = list.as_array().expect("a list").iter();
        rows.filter_map(|row| Some((row["node"].as_str()?.to_owned(), row["pid"].as_u64()?))).collect()
    }

    /// Sends a signal to `up` itself.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for the end of `up` and returns its exit code.
    pub(crate) fn wait(mut self) -> Option<i32> {
        let status = wait_for("`up` to end", || self.child.try_wait().expect("`up` can be waited for"));
        status.code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Whether a process of ours still runs.
pub(crate) fn runs(pid: u64) -> bool {
    let mut state = String::new();
    let read = std::fs::File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read_to_string(&mut state));
    // A zombie has ended; its new parent has not looked yet.
    read.is_ok() && !state.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z')
}
