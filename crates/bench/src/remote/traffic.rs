//! Calls and casts of one pair.

use covenant_runtime::Resources;
use covenant_transport::Bytes;

use super::{CALLS, CASTS, LARGE_BYTES, LARGE_CASTS, ROUNDS, SMALL_BYTES, erlang};
use crate::Failure;
use crate::actor::Message;
use crate::bare::Bare;
use crate::local::{calls, casts};
use crate::nodes::{Authority, Host, Pair, start_subject};
use crate::report::{Outcome, Row, Unit};
use crate::stats::{p50_p99, rate};

/// The rounds of each number, in the order in which they are measured.
#[derive(Default)]
pub(super) struct Rounds {
    pub(super) p50: Vec<f64>,
    pub(super) p99: Vec<f64>,
    pub(super) casts: Vec<f64>,
    pub(super) large: Vec<f64>,
}

impl Rounds {
    pub(super) fn push(&mut self, (p50, p99): (f64, f64), casts: f64, large: f64) {
        self.p50.push(p50);
        self.p99.push(p99);
        self.casts.push(casts);
        self.large.push(large);
    }
}

pub(super) fn run() -> Result<Outcome, Failure> {
    let otp = erlang::measure()?;
    let first = Host::new(9)?;
    let authority = Authority::new(&first.env)?;
    let pair = Pair::start(&authority)?;
    let bare = Bare::connect(&pair.configs)?;
    let (system, _) = start_subject(&pair.hosts[1], Resources::new())?;
    pair.clusters[1].attach(system);
    let subject = pair.clusters[0].remote::<Message>(&pair.configs[1].name, &"/subject".parse()?);
    let (small, large) = (Bytes::from(vec![42; SMALL_BYTES]), Bytes::from(vec![42; LARGE_BYTES]));
    let near = &pair.hosts[0];
    let (mut ours, mut theirs) = (Rounds::default(), Rounds::default());
    for round in 0..=ROUNDS {
        let latency = p50_p99(near.on_work(calls(subject.clone(), CALLS, small.clone()))?);
        let bare_latency = p50_p99(bare.echoes(CALLS, small.clone())?);
        let cast = rate(CASTS, near.on_work(casts(subject.clone(), CASTS, small.clone()))?);
        let bare_cast = rate(CASTS, bare.frames(CASTS, small.clone())?);
        let large_cast = rate(LARGE_CASTS, near.on_work(casts(subject.clone(), LARGE_CASTS, large.clone()))?);
        let bare_large = rate(LARGE_CASTS, bare.frames(LARGE_CASTS, large.clone())?);
        if round > 0 {
            ours.push(latency, cast, large_cast);
            theirs.push(bare_latency, bare_cast, bare_large);
        }
    }
    let peer = pair.clusters[0].peer(&pair.configs[1].name).ok_or("the connection is gone")?;
    let mut notes = vec![
        format!(
            "{ROUNDS} rounds in turn with the bare stream: {CALLS} calls of {SMALL_BYTES} B one at a time, {CASTS} casts of \
             {SMALL_BYTES} B and {LARGE_CASTS} of 10 KiB, from one sender to one actor, each counted by the actor"
        ),
        format!(
            "both nodes in one process, each with its own threads; packets of at most {} B; bare frames are written 64 KiB \
             at a time and told apart on the other side",
            peer.stats().mtu
        ),
    ];
    let mut rows = vec![
        Row::new("remote call, p50", Unit::Seconds, ours.p50.clone())
            .beside("bare QUIC echo", theirs.p50)
            .ratio_at_most(1.25),
        Row::new("remote call, p99", Unit::Seconds, ours.p99).beside("bare QUIC echo", theirs.p99).ratio_at_most(1.25),
        Row::new("remote casts of 100 B", Unit::PerSecond, ours.casts.clone())
            .beside("bare QUIC frames", theirs.casts)
            .at_least(1.2e6)
            .ratio_at_least(0.5),
        Row::new("remote casts of 10 KiB", Unit::PerSecond, ours.large.clone())
            .beside("bare QUIC frames", theirs.large)
            .ratio_at_least(0.9),
    ];
    match otp {
        Some(otp) => {
            let beside = "Erlang/OTP over TLS";
            rows.extend([
                Row::new("remote call, p50", Unit::Seconds, ours.p50).beside(beside, otp.p50).ratio_at_most(0.7),
                Row::new("remote casts of 100 B", Unit::PerSecond, ours.casts)
                    .beside(beside, otp.casts)
                    .ratio_at_least(4.0),
                Row::new("remote casts of 10 KiB", Unit::PerSecond, ours.large).beside(beside, otp.large),
            ]);
            notes.push(
                "Erlang: two processes with two schedulers each, gen_server, distribution over TLS 1.3 with certificates \
                 on both sides; the same counts, before ours"
                    .to_owned(),
            );
        }
        None => {
            notes.push("Erlang is not here: erl, erlc and OTP's ssl are needed (erlang-base, erlang-ssl)".to_owned())
        }
    }
    bare.close();
    pair.close();
    first.close();
    Ok(Outcome { rows, notes })
}
