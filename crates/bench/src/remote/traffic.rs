//! Calls and casts of one pair.

use covenant_runtime::{Ref, Resources};
use covenant_transport::Bytes;

use super::{CALLS, CASTS, LARGE_BYTES, LARGE_CASTS, ROUNDS, SMALL_BYTES, erlang};
use crate::Failure;
use crate::actor::Message;
use crate::bare::Bare;
use crate::local::{calls, casts};
use crate::nodes::{Authority, Host, Pair, start_subject};
use crate::report::{Outcome, Row, Unit};
use crate::stats::{p50_p99, rate};

const OTP: &str = "Erlang/OTP over TLS";

/// The rounds of each number of Erlang's.
#[derive(Clone, Default)]
pub(super) struct Rounds {
    pub(super) p50: Vec<f64>,
    pub(super) p99: Vec<f64>,
    pub(super) casts: Vec<f64>,
    pub(super) large: Vec<f64>,
}

/// Two nodes, an actor on the second, the way to it from the first, and the bare connection beside.
struct Stage {
    pair: Pair,
    first: Host,
    bare: Bare,
    subject: Ref<Message>,
}

impl Stage {
    fn new() -> Result<Self, Failure> {
        let first = Host::new(9)?;
        let pair = Pair::start(&Authority::new(&first.env)?)?;
        let bare = Bare::connect(&pair.configs)?;
        let (system, _) = start_subject(&pair.hosts[1], Resources::new())?;
        pair.clusters[1].attach(system);
        let subject = pair.clusters[0].remote::<Message>(&pair.configs[1].name, &"/subject".parse()?);
        Ok(Self { pair, first, bare, subject })
    }

    fn casts(&self, count: u64, payload: &Bytes) -> Result<f64, Failure> {
        Ok(rate(count, self.pair.hosts[0].on_work(casts(self.subject.clone(), count, payload.clone()))?))
    }

    fn close(self) -> Result<String, Failure> {
        let peer = self.pair.clusters[0].peer(&self.pair.configs[1].name).ok_or("the connection is gone")?;
        let mtu = peer.stats().mtu;
        self.bare.close();
        self.pair.close();
        self.first.close();
        Ok(format!("both nodes in one process, each with its own threads; packets of at most {mtu} B"))
    }
}

/// How it stands beside Erlang, and what a reader has to know of that.
fn beside_otp(rows: impl FnOnce(Rounds) -> Vec<Row>) -> Result<(Vec<Row>, String), Failure> {
    Ok(match erlang::measure()? {
        Some(otp) => (
            rows(otp),
            "Erlang: two processes with two schedulers each, gen_server, distribution over TLS 1.3 with certificates on both \
             sides; the same counts, before or after ours"
                .to_owned(),
        ),
        None => (
            Vec::new(),
            "Erlang is not here: erl, erlc and OTP's ssl are needed (erlang-base, erlang-ssl)".to_owned(),
        ),
    })
}

/// Calls of one pair, one at a time.
pub(super) fn run_calls() -> Result<Outcome, Failure> {
    let stage = Stage::new()?;
    let payload = Bytes::from(vec![42; SMALL_BYTES]);
    let (mut p50s, mut p99s, mut bare_p50s, mut bare_p99s) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let near = &stage.pair.hosts[0];
        let (p50, p99) = p50_p99(near.on_work(calls(stage.subject.clone(), CALLS, payload.clone()))?);
        let (bare_p50, bare_p99) = p50_p99(stage.bare.echoes(CALLS, payload.clone())?);
        if round > 0 {
            for (rounds, value) in
                [(&mut p50s, p50), (&mut p99s, p99), (&mut bare_p50s, bare_p50), (&mut bare_p99s, bare_p99)]
            {
                rounds.push(value);
            }
        }
    }
    let (more, of_otp) = beside_otp(|otp| {
        let (p50, p99) = (p50s.clone(), p99s.clone());
        vec![
            Row::new("remote call, p50", Unit::Seconds, p50).beside(OTP, otp.p50).ratio_at_most(0.7),
            Row::new("remote call, p99", Unit::Seconds, p99).beside(OTP, otp.p99),
        ]
    })?;
    let mut rows = vec![
        Row::new("remote call, p50", Unit::Seconds, p50s).beside("bare QUIC echo", bare_p50s).ratio_at_most(1.25),
        Row::new("remote call, p99", Unit::Seconds, p99s).beside("bare QUIC echo", bare_p99s).ratio_at_most(1.25),
    ];
    rows.extend(more);
    let turns = format!("{ROUNDS} rounds in turn with the bare stream: {CALLS} calls of {SMALL_BYTES} B one at a time");
    Ok(Outcome { rows, notes: vec![turns, stage.close()?, of_otp] })
}

/// Casts of one pair, small and large.
pub(super) fn run_casts() -> Result<Outcome, Failure> {
    let stage = Stage::new()?;
    let (small, large) = (Bytes::from(vec![42; SMALL_BYTES]), Bytes::from(vec![42; LARGE_BYTES]));
    let (mut smalls, mut larges, mut bare_smalls, mut bare_larges) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let ours = (stage.casts(CASTS, &small)?, stage.casts(LARGE_CASTS, &large)?);
        let bare_small = rate(CASTS, stage.bare.frames(CASTS, small.clone())?);
        let bare_large = rate(LARGE_CASTS, stage.bare.frames(LARGE_CASTS, large.clone())?);
        if round > 0 {
            smalls.push(ours.0);
            larges.push(ours.1);
            bare_smalls.push(bare_small);
            bare_larges.push(bare_large);
        }
    }
    let (more, of_otp) = beside_otp(|otp| {
        let (small, large) = (smalls.clone(), larges.clone());
        vec![
            Row::new("remote casts of 100 B", Unit::PerSecond, small).beside(OTP, otp.casts).ratio_at_least(4.0),
            Row::new("remote casts of 10 KiB", Unit::PerSecond, large).beside(OTP, otp.large),
        ]
    })?;
    let mut rows = vec![
        Row::new("remote casts of 100 B", Unit::PerSecond, smalls)
            .beside("bare QUIC frames", bare_smalls)
            .at_least(1.2e6)
            .ratio_at_least(0.5),
        Row::new("remote casts of 10 KiB", Unit::PerSecond, larges)
            .beside("bare QUIC frames", bare_larges)
            .ratio_at_least(0.9),
    ];
    rows.extend(more);
    let turns = format!(
        "{ROUNDS} rounds in turn with the bare stream: {CASTS} casts of {SMALL_BYTES} B and {LARGE_CASTS} of 10 KiB from one \
         sender to one actor, which counts them; bare frames are written 64 KiB at a time and told apart on the other side"
    );
    Ok(Outcome { rows, notes: vec![turns, stage.close()?, of_otp] })
}
