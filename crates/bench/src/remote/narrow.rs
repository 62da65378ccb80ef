//! A narrow line with bulk on it: how long a probe and a word of control take, beside the same line idle.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use covenant_env::{Spawner, Task, Tasks};
use covenant_transport::{
    Bytes, Direction, Fault, FaultSpec, Inbound, LeaseTerms, Peer, PeerScope, Plane, RecvStream, SendStream, Transport,
};
use tokio::sync::mpsc;

use crate::Failure;
use crate::nodes::{Authority, Host};
use crate::report::{Outcome, Row, Unit};
use crate::stats::p50_p99;

const ROUNDS: usize = 3;
/// Probes and words of one round.
const SAMPLES: usize = 300;
/// The pause between two.
const PAUSE: Duration = Duration::from_millis(20);
/// How long bulk flows before it is measured beside.
const WARM_UP: Duration = Duration::from_secs(2);
const BITS_PER_SECOND: u64 = 20_000_000;
/// One way; a round trip takes twice that.
const DELAY: Duration = Duration::from_millis(25);
/// What the line carries in one round trip, as the queue of a router that was set up with care.
const QUEUE_BYTES: u64 = 125_000;
/// What bulk may add.
const MARK_SECS: f64 = 0.1;
/// No answer within this is a lost datagram.
const LOST_AFTER: Duration = Duration::from_secs(3);
const PIECE_BYTES: usize = 64 * 1024;

pub(super) fn run() -> Result<Outcome, Failure> {
    let hosts = [Host::new(41)?, Host::new(42)?];
    let authority = Authority::new(&hosts[0].env)?;
    let mut ends = Vec::new();
    for (name, host) in ["near", "far"].into_iter().zip(&hosts) {
        let (datagrams, heard) = mpsc::channel(64);
        let end =
            Arc::new(End { datagrams, bulk: Arc::default(), tasks: Mutex::new(Tasks::new(host.env.work.clone(), 64)) });
        let config = authority.transport(name, &host.env)?;
        let transport = Transport::bind(config, host.env.clone(), Arc::clone(&end) as _, None)?;
        narrow(&transport)?;
        ends.push((transport, end, heard));
    }
    let (far, far_end, _) = ends.pop().ok_or("two ends")?;
    let (near, _, heard) = ends.pop().ok_or("two ends")?;
    let heard = Arc::new(tokio::sync::Mutex::new(heard));
    let address = far.local_addr();
    let dialling = near.clone();
    let peer = hosts[0].on_work(async move { Ok(dialling.connect(address, None).await?) })?;
    let mut seen = Seen::default();
    for _ in 0..ROUNDS {
        let idle = hosts[0].on_work(measure(peer.clone(), Arc::clone(&heard)))?;
        let bulk = pour(&hosts[0].env.work, &peer);
        std::thread::sleep(WARM_UP);
        let (before, began) = (far_end.bulk.load(Ordering::Relaxed), Instant::now());
        let busy = hosts[0].on_work(measure(peer.clone(), Arc::clone(&heard)))?;
        let poured = far_end.bulk.load(Ordering::Relaxed) - before;
        seen.bulk.push(poured as f64 / began.elapsed().as_secs_f64());
        drop(bulk);
        seen.add(idle, busy);
        std::thread::sleep(WARM_UP);
    }
    drop(peer);
    hosts[0].on_work(async move {
        near.close("measured").await;
        far.close("measured").await;
        Ok(())
    })?;
    hosts.into_iter().for_each(Host::close);
    Ok(seen.outcome())
}

/// What the rounds gave, in seconds.
#[derive(Default)]
struct Seen {
    idle: [Vec<f64>; 2],
    busy: [Vec<f64>; 2],
    added: [Vec<f64>; 2],
    bulk: Vec<f64>,
    lost: usize,
}

impl Seen {
    fn add(&mut self, idle: Round, busy: Round) {
        self.lost += busy.lost + idle.lost;
        for (plane, (idle, busy)) in idle.took.into_iter().zip(busy.took).enumerate() {
            let (idle, busy) = (p50_p99(idle).1, p50_p99(busy).1);
            self.idle[plane].push(idle);
            self.busy[plane].push(busy);
            self.added[plane].push(busy - idle);
        }
    }

    fn outcome(self) -> Outcome {
        let mut rows = Vec::new();
        let planes =
            ["probe, p99, 20 Mbit/s and 50 ms, bulk running", "control, p99, 20 Mbit/s and 50 ms, bulk running"];
        for ((what, idle), (busy, added)) in
            planes.into_iter().zip(self.idle).zip(self.busy.into_iter().zip(self.added))
        {
            rows.push(Row::new(what, Unit::Seconds, busy).beside("the same line idle", idle));
            rows.push(Row::new("… more than idle", Unit::Seconds, added).at_most(MARK_SECS));
        }
        rows.push(Row::new("… bulk meanwhile, each second", Unit::Bytes, self.bulk));
        let notes = vec![format!(
            "{ROUNDS} rounds of {SAMPLES} of each, {} ms apart, over FaultySocket on both ends: 25 ms and 20 Mbit/s each way, a queue of \
             {QUEUE_BYTES} bytes; a probe is a datagram and its echo, a word of control a frame and its echo on a stream of that plane; {} \
             probes were lost in the full queue",
            PAUSE.as_millis(),
            self.lost
        )];
        Outcome { rows, notes }
    }
}

fn narrow(transport: &Transport) -> Result<(), Failure> {
    let hour = Duration::from_secs(3600);
    for fault in [
        Fault::Bandwidth { bits_per_second: BITS_PER_SECOND, queue_bytes: QUEUE_BYTES },
        Fault::Latency { delay: DELAY, jitter: Duration::ZERO },
    ] {
        let spec = FaultSpec { fault, direction: Direction::Out, peer: PeerScope::All };
        let terms = LeaseTerms { ttl: hour, hard_deadline: hour, by: "bench".to_owned() };
        transport.faults().set(spec, terms)?;
    }
    Ok(())
}

/// What one round took: probes, then control.
struct Round {
    took: [Vec<Duration>; 2],
    lost: usize,
}

async fn measure(peer: Peer, heard: Arc<tokio::sync::Mutex<mpsc::Receiver<Bytes>>>) -> Result<Round, Failure> {
    let (mut send, mut recv) = peer.open_bi(Plane::Control).await?;
    let mut heard = heard.lock().await;
    let mut round = Round { took: [Vec::new(), Vec::new()], lost: 0 };
    for number in 0..SAMPLES as u64 {
        let probe = Bytes::copy_from_slice(&[number.to_be_bytes(), u64::MAX.to_be_bytes()].concat());
        let began = Instant::now();
        peer.send_datagram(probe.clone())?;
        // Echoes of earlier ones that came too late are passed over.
        let echoed =
            tokio::time::timeout(LOST_AFTER, async { while heard.recv().await.is_some_and(|echo| echo != probe) {} });
        match echoed.await {
            Ok(()) => round.took[0].push(began.elapsed()),
            Err(_) => round.lost += 1,
        }
        let began = Instant::now();
        send.write_frame(b"a word of control").await?;
        recv.read_frame(1024).await?.ok_or("the echo of control has ended")?;
        round.took[1].push(began.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    send.finish();
    Ok(round)
}

/// Sends bulk until the task is dropped.
fn pour(spawner: &Spawner, peer: &Peer) -> Task {
    let peer = peer.clone();
    spawner.spawn(async move {
        let Ok(mut send) = peer.open_uni(Plane::Bulk).await else { return };
        let piece = vec![7; PIECE_BYTES];
        while send.write_all(&piece).await.is_ok() {}
    })
}

/// One end: echoes at the far one, and takes what comes at the near one.
struct End {
    datagrams: mpsc::Sender<Bytes>,
    bulk: Arc<AtomicU64>,
    tasks: Mutex<Tasks>,
}

impl End {
    fn run(&self, future: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // A stream that finds no room is dropped, which the measurement would notice at once.
        let _running = tasks.spawn(future);
    }
}

impl Inbound for End {
    fn peer_up(&self, _: &Peer) {}

    fn peer_down(&self, _: &Peer, _: &str) {}

    fn datagram(&self, peer: &Peer, bytes: Bytes) {
        if peer.info().name.as_str() == "near" {
            // Lost like any other where it is lost.
            let _lost = peer.send_datagram(bytes);
        } else {
            let _full = self.datagrams.try_send(bytes);
        }
    }

    fn stream(&self, _: &Peer, _: Plane, mut send: SendStream, mut recv: RecvStream) {
        self.run(async move {
            while let Ok(Some(frame)) = recv.read_frame(1024).await {
                if send.write_frame(&frame).await.is_err() {
                    return;
                }
            }
        });
    }

    fn uni(&self, _: &Peer, _: Plane, mut recv: RecvStream) {
        let bulk = Arc::clone(&self.bulk);
        self.run(async move {
            while let Ok(Some(chunk)) = recv.read_chunk(PIECE_BYTES).await {
                bulk.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }
        });
    }
}
