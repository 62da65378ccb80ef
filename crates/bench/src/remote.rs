//! Messages between two nodes over UDP on loopback, beside bare QUIC.

use std::sync::Arc;

use covenant_runtime::Resources;
use covenant_transport::Bytes;

use crate::Failure;
use crate::actor::Message;
use crate::bare::Bare;
use crate::local::{calls, casts};
use crate::nodes::{Authority, Pair, start_subject};
use crate::report::{Outcome, Row, Unit};
use crate::stats::{p50_p99, rate};

const ROUNDS: usize = 7;
const CALLS: usize = 4000;
const CASTS: u64 = 200_000;
const PAYLOAD: [u8; 100] = [42; 100];

pub(crate) fn run() -> Result<Outcome, Failure> {
    let first = crate::nodes::Host::new(9)?;
    let authority = Authority::new(&first.env)?;
    let pair = Pair::start(&authority)?;
    let bare = Bare::connect(&pair.configs)?;
    let (system, _) = start_subject(&pair.hosts[1], Resources::new())?;
    pair.clusters[1].attach(system);
    let subject = pair.clusters[0].remote::<Message>(&pair.configs[1].name, &"/subject".parse()?);
    let payload = Bytes::from_static(&PAYLOAD);
    let near = &pair.hosts[0];
    let mut ours: [Vec<f64>; 3] = Default::default();
    let mut theirs: [Vec<f64>; 3] = Default::default();
    for round in 0..=ROUNDS {
        let (p50, p99) = p50_p99(near.on_work(calls(subject.clone(), CALLS, payload.clone()))?);
        let (bare_p50, bare_p99) = p50_p99(bare.echoes(CALLS, payload.clone())?);
        let cast_rate = rate(CASTS, near.on_work(casts(subject.clone(), CASTS, payload.clone()))?);
        let frame_rate = rate(CASTS, bare.frames(CASTS, payload.clone())?);
        if round > 0 {
            [p50, p99, cast_rate].into_iter().zip(&mut ours).for_each(|(value, rounds)| rounds.push(value));
            [bare_p50, bare_p99, frame_rate]
                .into_iter()
                .zip(&mut theirs)
                .for_each(|(value, rounds)| rounds.push(value));
        }
    }
    let peer = pair.clusters[0].peer(&pair.configs[1].name).ok_or("the connection is gone")?;
    let notes = vec![
        format!(
            "{ROUNDS} rounds in turn with the bare stream: {CALLS} calls of 100 B one at a time, {CASTS} casts of 100 B"
        ),
        format!(
            "both ends in one process; packets of at most {} B; bare casts are written 64 KiB at a time",
            peer.stats().mtu
        ),
    ];
    let [p50, p99, cast_rate] = ours;
    let [bare_p50, bare_p99, frame_rate] = theirs;
    let rows = vec![
        Row::new("remote call, p50", Unit::Seconds, p50).beside("bare QUIC echo", bare_p50),
        Row::new("remote call, p99", Unit::Seconds, p99).beside("bare QUIC echo", bare_p99),
        Row::new("remote casts of 100 B", Unit::PerSecond, cast_rate).beside("bare QUIC frames", frame_rate),
    ];
    let _ends_with_its_host = Arc::clone(&pair.clusters[1]);
    bare.close();
    pair.close();
    first.close();
    Ok(Outcome { rows, notes })
}
