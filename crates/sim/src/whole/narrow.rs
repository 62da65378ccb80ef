//! A narrow line that bulk fills without pause, for as long as is asked: does anybody take another for dead?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use covenant_cluster::{BulkHandler, Cluster};
use covenant_transport::{Direction, Fault, FaultSpec, LeaseTerms, Peer, PeerScope, Plane, RecvStream, SendStream};
use covenant_types::NodeName;
use tokio::sync::mpsc;

use super::world::{CHECK_EVERY, World};
use super::{STACK_BYTES, Setup};

/// What the line carries, and how long it is one way, as in the goal. A round trip takes twice that.
const BITS_PER_SECOND: u64 = 20_000_000;
const DELAY: Duration = Duration::from_millis(25);
/// What the line carries in one round trip.
const QUEUE_BYTES: u64 = 125_000;
/// Who sees whom: two at the ends of the bulk, and one more that listens to both.
const NODES: usize = 3;
/// Within which the nodes find each other.
const FORM_MAX: Duration = Duration::from_secs(60);
/// How much longer than the bulk the line stays narrow.
const SPARE: Duration = Duration::from_secs(60);
const PIECE_BYTES: usize = 64 * 1024;
/// The pause before bulk begins anew where its stream broke.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What came of it.
#[derive(Clone, Debug)]
pub struct Narrow {
    /// How long bulk flowed, in virtual time.
    pub flowed: Duration,
    /// Bytes of bulk that arrived.
    pub bulk: u64,
    /// Datagrams that the narrow line had no room for.
    pub dropped: u64,
    /// At how many looks, ten a second, somebody was not seen as reachable by somebody: 0 in a good run.
    pub missed: u64,
    /// What was missing when that was first so.
    pub first_missed: Vec<String>,
    /// The rules that were broken, none in a good run.
    pub broken: Vec<String>,
}

/// Fills the line between two of three whole nodes with bulk for `span` of virtual time. What each node sends has 20 Mbit/s
/// and takes 25 ms, and bulk has no more respect for others than the priority of its plane.
///
/// # Errors
/// The machine cannot run it, the nodes do not find each other, or `span` is longer than a fault may hold.
pub fn narrow(span: Duration, seed: u64) -> Result<Narrow> {
    let thread = std::thread::Builder::new().name("narrow".to_owned()).stack_size(STACK_BYTES);
    thread.spawn(move || run(span, seed))?.join().ok().context("the run panicked")?
}

fn run(span: Duration, seed: u64) -> Result<Narrow> {
    let setup = Setup { nodes: NODES, patient: true, storm: Duration::ZERO, quiet: span, mischief: None };
    let mut world = World::new(&setup, seed)?;
    // What overtakes looks lost to QUIC, and the line would never fill.
    world.weather(|weather| weather.steady = true);
    for node in 0..NODES {
        world.start(node)?;
    }
    world.until(FORM_MAX, |world| world.missing().is_empty()).context("the nodes do not find each other")?;
    let clusters = (0..NODES).map(|node| narrowed(&world, node, span + SPARE)).collect::<Result<Vec<_>>>()?;

    let bulk = Arc::new(AtomicU64::new(0));
    let (streams, arriving) = mpsc::channel(1);
    clusters[1].set_bulk_handler(Arc::new(HandedOn(streams)));
    world.spawn(1, drain(arriving, Arc::clone(&bulk)));
    world.spawn(0, pour(Arc::clone(&clusters[0]), clusters[1].me().name));

    let (end, mut missed, mut first_missed) = (world.now() + span, 0, Vec::new());
    while world.now() < end && !world.is_broken() {
        world.run(CHECK_EVERY);
        let missing = world.missing();
        missed += u64::from(!missing.is_empty());
        if first_missed.is_empty() {
            first_missed = missing;
        }
    }
    let dropped = clusters.iter().filter_map(|cluster| cluster.transport()).map(|transport| dropped(&transport)).sum();
    let broken = world.rules(|rules| rules.broken().to_vec());
    Ok(Narrow { flowed: span, bulk: bulk.load(Ordering::Relaxed), dropped, missed, first_missed, broken })
}

/// Makes all lines of a node narrow.
fn narrowed(world: &World, node: usize, lasts: Duration) -> Result<Arc<Cluster>> {
    let narrow = |node: &covenant_node::Node| {
        let cluster = Arc::clone(node.cluster());
        let transport = cluster.transport().context("a node has no endpoint")?;
        for fault in [
            Fault::Bandwidth { bits_per_second: BITS_PER_SECOND, queue_bytes: QUEUE_BYTES },
            Fault::Latency { delay: DELAY, jitter: Duration::ZERO },
        ] {
            let spec = FaultSpec { fault, direction: Direction::Out, peer: PeerScope::All };
            transport.faults().set(spec, LeaseTerms { ttl: lasts, hard_deadline: lasts, by: "sim".to_owned() })?;
        }
        Ok(cluster)
    };
    world.with(node, narrow).context("a node is gone")?
}

fn dropped(transport: &covenant_transport::Transport) -> u64 {
    transport.faults().leases().into_iter().map(|lease| lease.effects.dropped).sum()
}

/// Sends bulk without end, on a new stream where one broke.
async fn pour(cluster: Arc<Cluster>, to: NodeName) {
    let piece = vec![7; PIECE_BYTES];
    loop {
        let opened = match cluster.peer(&to) {
            Some(peer) => peer.open_bi(Plane::Bulk).await.ok(),
            None => None,
        };
        if let Some((mut send, _answers)) = opened {
            while send.write_all(&piece).await.is_ok() {}
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Reads one stream after another to its end.
async fn drain(mut arriving: mpsc::Receiver<(SendStream, RecvStream)>, bulk: Arc<AtomicU64>) {
    while let Some((_answers, mut recv)) = arriving.recv().await {
        while let Ok(Some(chunk)) = recv.read_chunk(PIECE_BYTES).await {
            bulk.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
    }
}

/// Streams of bulk go to the task that reads them; while it is busy with one, others are refused.
struct HandedOn(mpsc::Sender<(SendStream, RecvStream)>);

impl BulkHandler for HandedOn {
    fn stream(&self, _: &Peer, send: SendStream, recv: RecvStream) {
        let _refused = self.0.try_send((send, recv));
    }
}
