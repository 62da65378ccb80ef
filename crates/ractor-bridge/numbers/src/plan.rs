//! What is measured, how often, and with how much.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Failure;
use crate::caller::{LARGE_BYTES, REFUSED};
use crate::link::Carrier;
use crate::report::{Outcome, Row, Unit};

/// How much of everything.
pub(crate) struct Plan {
    rounds: usize,
    calls: u64,
    casts: u64,
    large_casts: u64,
    slow_casts: u64,
    /// Calls to actors that stop after their answer.
    lasts: u64,
    /// Actors at a peer that is connected with.
    crowd: u64,
    restarts: usize,
}

impl Plan {
    pub(crate) fn whole() -> Self {
        let (calls, casts, large_casts, slow_casts) = (4000, 200_000, 20_000, 20_000);
        Self { rounds: 7, calls, casts, large_casts, slow_casts, lasts: 200, crowd: 100_000, restarts: 8 }
    }

    pub(crate) fn quick() -> Self {
        let (calls, casts, large_casts, slow_casts) = (50, 2000, 200, 200);
        Self { rounds: 1, calls, casts, large_casts, slow_casts, lasts: 20, crowd: 500, restarts: 2 }
    }
}

type Part = fn(&Plan) -> Result<Outcome, Failure>;

/// Each by name, in the order of the table.
pub(crate) const PARTS: [(&str, Part); 5] =
    [("traffic", traffic), ("slow", slow), ("last", last), ("crowd", crowd), ("restart", restart)];

fn traffic(plan: &Plan) -> Result<Outcome, Failure> {
    let mut rounds = Both::default();
    for _ in 0..plan.rounds {
        for carrier in Carrier::BOTH {
            for (what, count) in [("call", plan.calls), ("cast", plan.casts), ("large", plan.large_casts)] {
                let callee = Callee::start(carrier, 0, 0)?;
                rounds.add(carrier, callee.measure(what, count)?);
            }
        }
    }
    let large: Vec<_> = Carrier::BOTH.map(|carrier| rounds.of(carrier, "large")).into();
    let bytes = |at: usize| large[at].iter().map(|rate| rate * LARGE_BYTES as f64).collect();
    let rows = vec![
        rounds.row("call of 100 B over TCP, p50", Unit::Seconds, "p50"),
        rounds.row("call of 100 B over TCP, p99", Unit::Seconds, "p99"),
        rounds.row("casts of 100 B over TCP, as received", Unit::PerSecond, "cast"),
        Row::new("casts of 10 KiB over TCP, as received", Unit::BytesPerSecond, bytes(0)).beside("over QUIC", bytes(1)),
    ];
    Ok(Outcome { rows, notes: vec!["MB/s are millions of bytes; ADR 1 has MiB/s".to_owned()] })
}

fn slow(plan: &Plan) -> Result<Outcome, Failure> {
    let mut rounds = Both::default();
    for carrier in Carrier::BOTH {
        rounds.add(carrier, Callee::start(carrier, 0, 0)?.measure("slow", plan.slow_casts)?);
    }
    let rows = vec![
        rounds.row("time a producer is held by a slow consumer, of the consumer's, over TCP", Unit::Share, "held"),
        rounds.row("… what both processes grow by, at most", Unit::Bytes, "growth"),
        rounds.row("… what was sent", Unit::Bytes, "sent"),
    ];
    let note = "a producer that is held by its consumer needs as long as that: 100 %";
    Ok(Outcome { rows, notes: vec![note.to_owned()] })
}

fn last(plan: &Plan) -> Result<Outcome, Failure> {
    let mut rounds = Both::default();
    for carrier in Carrier::BOTH {
        let mut values = Callee::start(carrier, plan.lasts, 0)?.measure("last", plan.lasts)?;
        values.values_mut().for_each(|lost| *lost /= plan.lasts as f64);
        rounds.add(carrier, values);
    }
    let what = format!("replies lost of {} whose actors stop right after them, over TCP", plan.lasts);
    Ok(Outcome { rows: vec![rounds.row(&what, Unit::Share, "lost")], notes: vec![] })
}

fn crowd(plan: &Plan) -> Result<Outcome, Failure> {
    let mut rows = Vec::new();
    for (crowd, at) in [(plan.crowd, format!("a peer with {} actors", plan.crowd)), (0, "an empty peer".to_owned())] {
        let mut rounds = Both::default();
        for carrier in Carrier::BOTH {
            rounds.add(carrier, Callee::start(carrier, 0, crowd)?.measure("crowd", 0)?);
        }
        rows.push(rounds.row(&format!("connecting to {at} over TCP"), Unit::Seconds, "connect"));
        rows.push(rounds.row("… what who connects grows by", Unit::Bytes, "here"));
        rows.push(rounds.row("… what the peer grows by", Unit::Bytes, "there"));
    }
    Ok(Outcome { rows, notes: vec![] })
}

/// A node is killed, and the same one connects at once, so often. Names differ from round to round: a ghost of the round
/// before has no part in the next.
fn restart(plan: &Plan) -> Result<Outcome, Failure> {
    let mut rounds = Both::default();
    for carrier in Carrier::BOTH {
        let callee = Callee::start(carrier, 0, 0)?;
        let mut accepted = 0.0;
        for round in 0..plan.restarts {
            let name = format!("caller-{round}");
            callee.caller("once", 0, &name)?.expect("ready")?;
            // Killed when dropped above. Its connection over QUIC stands until the callee notices.
            if callee.caller("once", 0, &name)?.expect("ready").is_ok() {
                accepted += 1.0;
            }
        }
        rounds.add(carrier, BTreeMap::from([("accepted".to_owned(), accepted / plan.restarts as f64)]));
    }
    let what = format!("accepted of {} restarts after SIGKILL, over TCP", plan.restarts);
    Ok(Outcome { rows: vec![rounds.row(&what, Unit::Share, "accepted")], notes: vec![] })
}

/// What was measured over each carrier.
#[derive(Default)]
struct Both([BTreeMap<String, Vec<f64>>; 2]);

impl Both {
    fn add(&mut self, carrier: Carrier, values: BTreeMap<String, f64>) {
        let of = &mut self.0[carrier as usize];
        for (name, value) in values {
            of.entry(name).or_default().push(value);
        }
    }

    fn of(&self, carrier: Carrier, name: &str) -> Vec<f64> {
        self.0[carrier as usize].get(name).cloned().unwrap_or_default()
    }

    fn row(&self, what: &str, unit: Unit, name: &str) -> Row {
        Row::new(what, unit, self.of(Carrier::Tcp, name)).beside("over QUIC", self.of(Carrier::Quic, name))
    }
}

/// A process that is called, until this is dropped.
struct Callee {
    process: Process,
    carrier: Carrier,
    address: String,
    certificate: String,
}

impl Callee {
    fn start(carrier: Carrier, lasts: u64, crowd: u64) -> Result<Self, Failure> {
        let mut process = Process::start(&["callee", carrier.word(), &lasts.to_string(), &crowd.to_string()])?;
        let line = process.line()?.ok_or("the callee ended")?;
        let (address, certificate) = line.split_once(' ').ok_or("the callee did not say where it is")?;
        Ok(Self { process, carrier, address: address.to_owned(), certificate: certificate.to_owned() })
    }

    fn caller(&self, what: &str, count: u64, name: &str) -> Result<Process, Failure> {
        let (count, pid) = (count.to_string(), self.process.child.id().to_string());
        let (carrier, address, certificate) = (self.carrier.word(), &self.address, &self.certificate);
        Process::start(&["caller", what, &count, carrier, address, certificate, &pid, name])
    }

    /// What a caller says of `what`.
    fn measure(&self, what: &str, count: u64) -> Result<BTreeMap<String, f64>, Failure> {
        let mut caller = self.caller(what, count, "caller")?;
        let mut values = BTreeMap::new();
        while let Some(line) = caller.line()? {
            let (name, value) = line.split_once(' ').ok_or("a caller says names and numbers")?;
            if name == REFUSED {
                return Err(format!("{what} over {}: refused", self.carrier.word()).into());
            }
            values.insert(name.to_owned(), value.parse()?);
        }
        if !caller.child.wait()?.success() || values.is_empty() {
            return Err(format!("{what} over {}: the caller failed", self.carrier.word()).into());
        }
        Ok(values)
    }
}

/// This program in another part. Killed when this is dropped.
struct Process {
    child: Child,
    _input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(arguments: &[&str]) -> Result<Self, Failure> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or("a process without an output")?;
        Ok(Self { _input: child.stdin.take(), child, output: BufReader::new(output).lines() })
    }

    fn line(&mut self) -> Result<Option<String>, Failure> {
        Ok(self.output.next().transpose()?)
    }

    fn expect(mut self, name: &str) -> Result<(), Failure> {
        let line = self.line()?.unwrap_or_default();
        if line.starts_with(name) { Ok(()) } else { Err(format!("{name} was expected, and {line:?} said").into()) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
