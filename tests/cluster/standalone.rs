//! One node from `covenant init`, as a person without `covenant up` would run it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use crate::harness::{self, assert_refused, run, text, wait_for};

/// A node of its own, running.
pub(crate) struct Solo {
    place: Place,
    child: Child,
}

/// A node that `init` made.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    metrics: SocketAddr,
}

#[test]
fn a_node_answers_monitors_and_sigterm_is_an_orderly_end() {
    let _turn = harness::turn();
    let mut node = Solo::start();
    assert_eq!(node.ask_http("/livez").as_deref(), Some("alive\n"));
    assert_eq!(node.ask_http("/readyz").as_deref(), Some("ready\n"));
    let metrics = node.ask_http("/metrics").unwrap();
    for name in ["covenant_uptime_seconds", "process_resident_memory_bytes"] {
        assert!(metrics.lines().any(|line| line.starts_with(name)), "{name} is not in {metrics}");
    }
    assert_eq!(node.ask_http("/v1/status"), None, "the monitors' port serves nothing that needs a name");
    let status: serde_json::Value = serde_json::from_slice(&node.verb(&["status", "--json"]).stdout).unwrap();
    assert_eq!((&status["name"], &status["ready"], &status["epoch"]), (&"hub-solo".into(), &true.into(), &1.into()));
    assert_eq!(status["pid"], node.child.id());
    let copy = node.place.dir.path().join("copy");
    let absent = node.verb(&["content", "get", "no-such-set", "--to", text(&copy)]);
    assert_refused(&absent, 3, &["no-such-set", "covenant content ls", "nothing was written"]);
    assert!(!copy.exists());

    assert!(Command::new("kill").args(["-TERM", &node.child.id().to_string()]).status().unwrap().success());
    let status = wait_for("the node to end", || node.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0), "{}", node.place.log());
    assert!(node.place.log().contains("the tree has stopped"), "{}", node.place.log());
    assert!(node.place.log().contains("in_time: true"), "within its deadline: {}", node.place.log());
    assert!(!node.place.socket().exists(), "the control socket is taken away");
    assert_eq!(node.ask_http("/livez"), None);
}

#[test]
fn what_another_process_uses_is_a_conflict_that_is_named() {
    let _turn = harness::turn();
    let node = Solo::start();
    let second = run(&["node", "run", "--config", text(&node.place.config())]);
    assert_refused(&second, 5, &[&format!("in use by process {}", node.child.id())]);
    assert!(node.verb(&["status"]).status.success(), "the first node did not notice");
    drop(node);

    let metrics = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = metrics.local_addr().unwrap();
    let place = Place::new(free_udp(), taken);
    assert_refused(&run(&["node", "run", "--config", text(&place.config())]), 5, &[&taken.to_string()]);

    let peers = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = peers.local_addr().unwrap();
    let place = Place::new(taken, free_tcp());
    assert_refused(&run(&["node", "run", "--config", text(&place.config())]), 5, &[&taken.to_string()]);
}

#[test]
fn the_exported_book_is_what_hledger_reads() {
    let _turn = harness::turn();
    if Command::new("hledger").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: hledger is not on PATH, so nobody but us has read the exported book");
        return;
    }
    let node = Solo::start();
    for verb in [
        &["ledger", "assess", "--year", "2024"][..],
        &["ledger", "distribute", "--amount", "1000000.01"],
        &["ledger", "transfer", "--from", "treasury", "--to", "communities", "--amount", "0.01"],
    ] {
        let done = node.verb(verb);
        assert!(done.status.success(), "{done:?}");
    }
    assert_refused(&node.verb(&["ledger", "distribute", "--amount=-5.00"]), 2, &["no sign", "nothing was booked"]);
    let exported = node.verb(&["ledger", "export", "--format", "hledger"]);
    assert!(exported.status.success(), "{exported:?}");
    let journal = String::from_utf8(exported.stdout).unwrap();
    let checked = hledger(&journal);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    // Else an empty book would pass as well.
    let cent = journal.find(".01").expect("the transfer's cent is in the journal");
    let changed = format!("{}.02{}", &journal[..cent], &journal[cent + 3..]);
    assert!(!hledger(&changed).status.success(), "hledger finds a changed cent");
}

#[test]
fn colours_are_for_terminals_without_no_color() {
    let _turn = harness::turn();
    let node = Solo::start();
    let piped = node.verb(&["members"]);
    assert!(piped.status.success() && !piped.stdout.contains(&ESCAPE), "{piped:?}");
    if Command::new("script").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: script(1) is not on PATH, so nobody looked at colours on a terminal");
        return;
    }
    let socket = node.place.socket();
    let on_terminal = |options: &str, no_color: Option<&str>| {
        let typed = format!("{} members --socket {}{options}", harness::binary(), text(&socket));
        let mut script = Command::new("script");
        script.args(["-qec", &typed, "/dev/null"]).stdin(Stdio::null()).env_remove("NO_COLOR");
        if let Some(value) = no_color {
            script.env("NO_COLOR", value);
        }
        let output = script.output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("hub-solo"), "{output:?}");
        output.stdout.contains(&ESCAPE)
    };
    assert!(on_terminal("", None));
    assert!(!on_terminal("", Some("1")));
    assert!(!on_terminal(" --no-color", None));
    assert!(!on_terminal(" --json", None));
}

/// What begins a colour.
const ESCAPE: u8 = 0x1b;

impl Place {
    /// A new node at addresses that nobody has.
    pub(crate) fn free() -> Self {
        Self::new(free_udp(), free_tcp())
    }

    fn new(listen: SocketAddr, metrics: SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Self { dir, metrics };
        let (listen, metrics) = (listen.to_string(), metrics.to_string());
        let node = place.node();
        let made = run(&[
            "init",
            "--dir",
            text(&node),
            "--name",
            "hub-solo",
            "--region",
            "africa",
            "--listen",
            &listen,
            "--metrics",
            &metrics,
        ]);
        assert!(made.status.success(), "{made:?}");
        place
    }

    /// Runs the node.
    fn run(&self) -> Child {
        let log = File::create(self.log_file()).unwrap();
        Command::new(harness::binary())
            .args(["node", "run", "--config", text(&self.config())])
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn node(&self) -> PathBuf {
        self.dir.path().join("node")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.node().join("node.toml")
    }

    fn socket(&self) -> PathBuf {
        self.node().join("control.sock")
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("node.log")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap()
    }
}

impl Solo {
    /// Makes a node, starts it and waits until it is ready.
    pub(crate) fn start() -> Self {
        Self::of(Place::free())
    }

    /// Starts a node that was made, and waits until it is ready.
    pub(crate) fn of(place: Place) -> Self {
        let child = place.run();
        let mut node = Self { place, child };
        node.wait_until_ready();
        node
    }

    fn wait_until_ready(&mut self) {
        wait_for("the node to be ready", || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.place.log());
            self.ask_http("/readyz")
        });
    }

    /// Ends the node with `signal` and starts it again.
    pub(crate) fn restart(&mut self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        wait_for("the node to end", || self.child.try_wait().unwrap());
        self.child = self.place.run();
        self.wait_until_ready();
    }

    /// The node's data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.place.node()
    }

    /// The lines of its audit log.
    pub(crate) fn audit(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.data().join("audit.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Begins a verb on this node.
    pub(crate) fn begin(&self, args: &[&str]) -> Child {
        Command::new(harness::binary())
            .args([args, &["--socket", text(&self.place.socket())]].concat())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Runs one verb on this node.
    pub(crate) fn verb(&self, args: &[&str]) -> Output {
        run(&[args, &["--socket", text(&self.place.socket())]].concat())
    }

    /// The first `count` lines that a verb prints which goes on for ever.
    pub(crate) fn first_lines(&self, args: &[&str], count: usize) -> Vec<String> {
        let mut child = Command::new(harness::binary())
            .args([args, &["--socket", text(&self.place.socket())]].concat())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines = lines.take(count).collect::<Result<_, _>>().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        lines
    }

    /// The body of an answer with status 200.
    fn ask_http(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.place.metrics).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }
}

impl Drop for Solo {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn hledger(journal: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("book.journal");
    std::fs::write(&file, journal).unwrap();
    Command::new("hledger").arg("-f").arg(&file).arg("check").output().unwrap()
}

fn free_udp() -> SocketAddr {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn free_tcp() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}
