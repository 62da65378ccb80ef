//! Two Erlang nodes whose distribution runs over TLS.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::traffic::Rounds;
use super::{CALLS, CASTS, LARGE_CASTS, ROUNDS};
use crate::Failure;

const SOURCE: &str = include_str!("../../erlang/covenant_dist.erl");
const MODULE: &str = "covenant_dist";
/// The names of the two nodes. Their certificates are for `localhost`.
const ASKED: &str = "two@localhost";
const ASKS: &str = "one@localhost";
/// What the node that is asked says when it can be.
const READY: &str = "ready";

/// `None` where there is no Erlang, or none with TLS. Measured once in a run.
pub(super) fn measure() -> Result<Option<Rounds>, Failure> {
    static MEASURED: Mutex<Option<Option<Rounds>>> = Mutex::new(None);
    let mut measured = MEASURED.lock().unwrap_or_else(PoisonError::into_inner);
    if measured.is_none() {
        *measured = Some(measure_now()?);
    }
    Ok(measured.clone().flatten())
}

fn measure_now() -> Result<Option<Rounds>, Failure> {
    let has_tls = ["-noshell", "-noinput", "-eval", "{ok, _} = application:ensure_all_started(ssl), halt(0)."];
    if !Command::new("erl")
        .args(has_tls)
        .env("ERL_CRASH_DUMP", "/dev/null")
        .output()
        .is_ok_and(|out| out.status.success())
    {
        return Ok(None);
    }
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join(format!("{MODULE}.erl")), SOURCE)?;
    run(Command::new("erlc").arg(format!("{MODULE}.erl")).current_dir(dir.path()))?;
    run(erl(dir.path()).args(["-s", MODULE, "certificates"]))?;

    // Free for the moment: Erlang has no way to hand over a socket, and without a fixed port it starts a daemon that stays.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port().to_string();
    let mut asked = node(dir.path(), &port, ASKED);
    let mut asked = Ends(asked.args(["-s", MODULE, "serve"]).stdout(Stdio::piped()).spawn()?);
    let said = asked.0.stdout.take().ok_or("the output of a child is piped")?;
    if BufReader::new(said).lines().next().transpose()?.as_deref() != Some(READY) {
        return Err("the Erlang node that is asked did not start".into());
    }
    let sizes = [CALLS as u64, CASTS, LARGE_CASTS, ROUNDS as u64].map(|size| size.to_string());
    let said =
        run(node(dir.path(), &port, ASKS).args(["-dist_listen", "false", "-s", MODULE, "measure", ASKED]).args(sizes))?;
    let mut rounds = Rounds::default();
    // The first warms up.
    for line in said.lines().skip(1) {
        let numbers: Vec<f64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [p50, p99, casts, large] = numbers[..] else { return Err(format!("Erlang said {line:?}").into()) };
        rounds.p50.push(p50);
        rounds.p99.push(p99);
        rounds.casts.push(casts);
        rounds.large.push(large);
    }
    Ok(Some(rounds))
}

fn erl(dir: &Path) -> Command {
    let mut erl = Command::new("erl");
    erl.args(["-noshell", "-noinput", "-pa", "."])
        .current_dir(dir)
        .env("ERL_CRASH_DUMP", "/dev/null")
        .stdin(Stdio::null());
    erl
}

/// As many schedulers as our runtimes have threads.
fn node(dir: &Path, port: &str, name: &str) -> Command {
    let mut node = erl(dir);
    node.args(["+S", "2:2", "-sname", name, "-setcookie", "bench", "-kernel", "logger_level", "none"]).args([
        "-start_epmd",
        "false",
        "-erl_epmd_port",
        port,
        "-proto_dist",
        "inet_tls",
        "-ssl_dist_optfile",
        "tls.conf",
    ]);
    node
}

fn run(command: &mut Command) -> Result<String, Failure> {
    let output = command.output()?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&said)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A process that does not outlive the measurement.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // Both fail only where it has ended.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}
