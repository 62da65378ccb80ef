use std::collections::VecDeque;
use std::sync::Mutex;

use super::*;
use crate::faults::{Direction, Fault, FaultSpec, LeaseTerms, PeerScope, Ratio};

const MS: Duration = Duration::from_millis(1);

/// A socket that remembers what was sent, and receives what the test puts in.
#[derive(Debug, Default)]
struct Wire {
    sent: Mutex<Vec<(usize, Option<usize>)>>,
    coming: Mutex<VecDeque<Vec<u8>>>,
    full: Mutex<bool>,
}

#[derive(Debug)]
struct Always;

impl UdpPoller for Always {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncUdpSocket for Wire {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Always)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if std::mem::take(&mut *self.full.lock().unwrap()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.sent.lock().unwrap().push((transmit.contents.len(), transmit.segment_size));
        Ok(())
    }

    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let Some(batch) = self.coming.lock().unwrap().pop_front() else { return Poll::Pending };
        bufs[0][..batch.len()].copy_from_slice(&batch);
        meta[0] = RecvMeta { addr: peer(), len: batch.len(), stride: 100, ecn: None, dst_ip: None };
        Poll::Ready(Ok(1))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(peer())
    }
}

fn peer() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

struct Fixture {
    wire: Arc<Wire>,
    socket: Arc<FaultySocket>,
    faults: Arc<Faults>,
    _timer: Task,
}

fn fixture(seed: u64) -> Fixture {
    let wire = Arc::new(Wire::default());
    let (socket, faults, timer) = FaultySocket::wrap(Arc::clone(&wire) as _, &Env::for_test(seed));
    Fixture { wire, socket, faults, _timer: timer }
}

impl Fixture {
    fn set(&self, fault: Fault, direction: Direction) -> u64 {
        let terms = LeaseTerms { ttl: 1000 * MS, hard_deadline: 1000 * MS, by: "test".to_owned() };
        self.faults.set(FaultSpec { fault, direction, peer: PeerScope::All }, terms).unwrap().id
    }

    fn send(&self, length: usize, segment_size: Option<usize>) {
        let contents = vec![0; length];
        let transmit = Transmit { destination: peer(), ecn: None, contents: &contents, segment_size, src_ip: None };
        self.socket.try_send(&transmit).unwrap();
    }

    fn sent(&self) -> Vec<(usize, Option<usize>)> {
        std::mem::take(&mut *self.wire.sent.lock().unwrap())
    }

    /// Reads once, and returns how long each datagram is; none where nothing has arrived.
    async fn read(&self) -> Vec<usize> {
        let mut storage = vec![vec![0; 2000]; 4];
        poll_fn(|cx| {
            let mut bufs: Vec<_> = storage.iter_mut().map(|buf| IoSliceMut::new(buf)).collect();
            let mut meta = vec![RecvMeta::default(); 4];
            Poll::Ready(match self.socket.poll_recv(cx, &mut bufs, &mut meta) {
                Poll::Ready(received) => meta[..received.unwrap()].iter().map(|meta| meta.len).collect(),
                Poll::Pending => Vec::new(),
            })
        })
        .await
    }
}

fn loss(value: f64) -> Fault {
    Fault::Loss { ratio: Ratio::try_from(value).unwrap(), burst: 1 }
}

fn latency(delay: Duration) -> Fault {
    Fault::Latency { delay, jitter: Duration::ZERO }
}

#[tokio::test(start_paused = true)]
async fn without_a_fault_a_batch_passes_as_it_is() {
    let fixture = fixture(1);
    fixture.send(1000, Some(100));
    assert_eq!(fixture.sent(), [(1000, Some(100))]);
    fixture.wire.coming.lock().unwrap().push_back(vec![0; 350]);
    assert_eq!(fixture.read().await, [350], "and so does one that comes");
}

#[tokio::test(start_paused = true)]
async fn the_datagrams_of_a_batch_are_judged_one_by_one_and_a_seed_replays() {
    let run = |seed| {
        let fixture = fixture(seed);
        let id = fixture.set(loss(0.5), Direction::Both);
        for _ in 0..20 {
            fixture.send(1050, Some(100));
        }
        let (sent, lease) = (fixture.sent(), fixture.faults.leases().remove(0));
        assert_eq!((lease.id, lease.effects.seen), (id, 220));
        assert_eq!(usize::try_from(lease.effects.dropped).unwrap(), 220 - sent.len());
        assert!((80..140).contains(&sent.len()), "{}", sent.len());
        assert!(sent.iter().all(|(length, segment)| [50, 100].contains(length) && segment.is_none()));
        sent
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[tokio::test(start_paused = true)]
async fn what_comes_in_a_batch_is_judged_one_by_one_too() {
    let fixture = fixture(3);
    fixture.set(loss(0.5), Direction::In);
    for _ in 0..10 {
        fixture.wire.coming.lock().unwrap().push_back(vec![0; 1000]);
    }
    let mut arrived = Vec::new();
    loop {
        let read = fixture.read().await;
        if read.is_empty() {
            break;
        }
        arrived.extend(read);
    }
    assert!((30..70).contains(&arrived.len()) && arrived.iter().all(|length| *length == 100), "{}", arrived.len());
}

#[tokio::test(start_paused = true)]
async fn what_is_late_is_sent_at_its_time_even_after_the_fault_was_lifted() {
    let fixture = fixture(1);
    let id = fixture.set(latency(200 * MS), Direction::Out);
    fixture.send(100, None);
    tokio::time::sleep(190 * MS).await;
    assert_eq!(fixture.sent(), []);
    fixture.faults.lift(id).unwrap();
    assert!(fixture.faults.is_active(), "one is still under way");
    tokio::time::sleep(15 * MS).await;
    assert_eq!(fixture.sent(), [(100, None)]);
    assert!(!fixture.faults.is_active());
}

#[tokio::test(start_paused = true)]
async fn who_reads_is_woken_when_what_is_late_has_arrived() {
    let fixture = fixture(1);
    fixture.set(latency(50 * MS), Direction::In);
    fixture.wire.coming.lock().unwrap().push_back(vec![0; 100]);
    let began = fixture.faults.now();
    let mut buf = vec![0; 2000];
    let received = poll_fn(|cx| {
        let (mut bufs, mut meta) = ([IoSliceMut::new(&mut buf)], [RecvMeta::default()]);
        fixture.socket.poll_recv(cx, &mut bufs, &mut meta)
    });
    assert_eq!(received.await.unwrap(), 1);
    assert!((50 * MS..60 * MS).contains(&fixture.faults.now().since(began)));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_renews_ends_and_the_socket_passes_all_on_again() {
    let fixture = fixture(1);
    fixture.set(Fault::Partition, Direction::Both);
    fixture.send(100, None);
    assert_eq!(fixture.sent(), []);
    tokio::time::sleep(1010 * MS).await;
    assert!(!fixture.faults.is_active() && fixture.faults.leases().is_empty());
    fixture.send(200, Some(100));
    assert_eq!(fixture.sent(), [(200, Some(100))]);
    assert_eq!(fixture.faults.ended()[0].effects.blocked, 1);
}

#[tokio::test(start_paused = true)]
async fn a_datagram_that_the_socket_below_has_no_room_for_is_sent_later() {
    let fixture = fixture(1);
    fixture.set(Fault::Duplicate { ratio: Ratio::try_from(1.0).unwrap() }, Direction::Out);
    *fixture.wire.full.lock().unwrap() = true;
    fixture.send(100, None);
    tokio::time::sleep(5 * MS).await;
    assert_eq!(fixture.sent().len(), 2);
}

/// Where a node is, its connection knows, and that may be in the middle of sending.
#[tokio::test(start_paused = true)]
async fn whoever_is_asked_where_a_node_is_may_send_meanwhile() {
    let fixture = fixture(1);
    let terms = LeaseTerms { ttl: 1000 * MS, hard_deadline: 1000 * MS, by: "test".to_owned() };
    let peer_scope = PeerScope::Node("tower".parse().unwrap());
    let spec = FaultSpec { fault: Fault::Partition, direction: Direction::Out, peer: peer_scope };
    fixture.faults.set(spec, terms).unwrap();
    fixture.faults.resolve(|_| {
        fixture.send(100, None);
        vec![peer()]
    });
    assert_eq!(fixture.sent().len(), 1, "before it was known where the node is");
    fixture.send(100, None);
    assert_eq!(fixture.sent(), []);
}
