//! The peer: QUIC as the nodes set it up, with nothing of Covenant on it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use covenant_env::Task;
use covenant_transport::{Bytes, TransportConfig, bare_endpoint};
use quinn::Connection;

use crate::Failure;
use crate::nodes::Host;

/// Frames of casts are gathered up to this size before they are written, as a lane does under load.
const GATHER_BYTES: usize = 64 * 1024;
/// How much is read at once, as remoting does.
const READ_BYTES: usize = 64 * 1024;
/// What bulk data is written in: the longest chunk of content.
const PIECE_BYTES: usize = 256 * 1024;
const HEADER_BYTES: usize = 4;
const SERVER_NAME: &str = "covenant";

/// A connection between two endpoints, each on its own pair of runtimes.
pub(crate) struct Bare {
    hosts: [Host; 2],
    connection: Connection,
    _serving: Task,
}

impl Bare {
    /// Connects with the very configuration of two nodes.
    pub(crate) fn connect(configs: &[TransportConfig; 2]) -> Result<Self, Failure> {
        let hosts = [Host::new(3)?, Host::new(4)?];
        let own = |config: &TransportConfig| TransportConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..config.clone()
        };
        let (client, client_config) = bare_endpoint(&own(&configs[0]), &hosts[0].env)?;
        let (server, _) = bare_endpoint(&own(&configs[1]), &hosts[1].env)?;
        let address = server.local_addr()?;
        let serving = hosts[1].env.work.spawn(async move {
            while let Some(incoming) = server.accept().await {
                let Ok(connection) = incoming.await else { continue };
                serve(connection).await;
            }
        });
        let connection = hosts[0].on_work(async move {
            let connection = client.connect_with(client_config, address, SERVER_NAME)?.await?;
            // Kept for the connection's sake: an endpoint that is dropped goes on until its connections end.
            drop(client);
            Ok(connection)
        })?;
        Ok(Self { hosts, connection, _serving: serving })
    }

    /// How long each of `count` echoes of `payload` took on one stream, one after another.
    pub(crate) fn echoes(&self, count: usize, payload: Bytes) -> Result<Vec<Duration>, Failure> {
        let connection = self.connection.clone();
        self.hosts[0].on_work(async move {
            let (mut send, mut recv) = connection.open_bi().await?;
            let mut answer = vec![0; payload.len()];
            let mut samples = Vec::with_capacity(count);
            for _ in 0..count {
                let began = Instant::now();
                send.write_all(&payload).await?;
                recv.read_exact(&mut answer).await?;
                samples.push(began.elapsed());
                if answer != payload {
                    return Err("the echo is not what was sent".into());
                }
            }
            let _already_ended = send.finish();
            Ok(samples)
        })
    }

    /// How long it took until `count` framed messages had been told apart on the other side.
    pub(crate) fn frames(&self, count: u64, payload: Bytes) -> Result<Duration, Failure> {
        let connection = self.connection.clone();
        self.hosts[0].on_work(async move {
            let (mut send, mut recv) = connection.open_bi().await?;
            let began = Instant::now();
            send.write_all(&[FRAMES]).await?;
            let length = u32::try_from(payload.len())?.to_be_bytes();
            let mut buffer = Vec::with_capacity(GATHER_BYTES);
            for _ in 0..count {
                if buffer.len() + HEADER_BYTES + payload.len() > GATHER_BYTES {
                    let full = std::mem::replace(&mut buffer, Vec::with_capacity(GATHER_BYTES));
                    send.write_chunk(Bytes::from(full)).await?;
                }
                buffer.extend_from_slice(&length);
                buffer.extend_from_slice(&payload);
            }
            send.write_chunk(Bytes::from(buffer)).await?;
            send.finish()?;
            expect_count(&mut recv, count).await?;
            Ok(began.elapsed())
        })
    }

    /// How long it took until `count` bytes had been read on the other side of a stream of their own.
    pub(crate) fn bulk(&self, count: u64) -> Result<Duration, Failure> {
        let connection = self.connection.clone();
        self.hosts[0].on_work(async move {
            let piece = Bytes::from(vec![7; PIECE_BYTES]);
            let (mut send, mut recv) = connection.open_bi().await?;
            let began = Instant::now();
            send.write_all(&[BULK]).await?;
            let mut left = count;
            while left > 0 {
                let length = usize::try_from(left)?.min(PIECE_BYTES);
                send.write_chunk(piece.slice(..length)).await?;
                left -= length as u64;
            }
            send.finish()?;
            expect_count(&mut recv, count).await?;
            Ok(began.elapsed())
        })
    }

    pub(crate) fn close(self) {
        self.connection.close(0_u32.into(), b"measured");
        self.hosts.into_iter().for_each(Host::close);
    }
}

/// First bytes of streams that want a count and not an echo. An echo of the benchmark begins with neither.
const FRAMES: u8 = 1;
const BULK: u8 = 2;

async fn expect_count(recv: &mut quinn::RecvStream, count: u64) -> Result<(), Failure> {
    let mut answer = [0; 8];
    recv.read_exact(&mut answer).await?;
    if u64::from_be_bytes(answer) == count { Ok(()) } else { Err("not everything arrived".into()) }
}

/// One stream after another: the benchmarks use one at a time.
async fn serve(connection: Connection) {
    while let Ok((send, recv)) = connection.accept_bi().await {
        // Whoever measures sees the stream end too early.
        let _told_by_the_stream = serve_stream(send, recv).await;
    }
}

async fn serve_stream(mut send: quinn::SendStream, mut recv: quinn::RecvStream) -> Result<(), Failure> {
    let Some(mut chunk) = recv.read_chunk(READ_BYTES, true).await? else { return Ok(()) };
    let kind = chunk.bytes.first().copied().unwrap_or_default();
    if kind == FRAMES || kind == BULK {
        let mut bytes = chunk.bytes.slice(1..);
        let mut frames = covenant_wire::FrameReader::new(PIECE_BYTES);
        let (mut counted, mut total) = (0_u64, 0_u64);
        loop {
            total += bytes.len() as u64;
            if kind == FRAMES {
                frames.push(&bytes);
                while let Some(frame) = frames.next_frame()? {
                    std::hint::black_box(frame);
                    counted += 1;
                }
            }
            match recv.read_chunk(READ_BYTES, true).await? {
                Some(more) => bytes = more.bytes,
                None => break,
            }
        }
        let answer = if kind == FRAMES { counted } else { total };
        send.write_all(&answer.to_be_bytes()).await?;
    } else {
        loop {
            send.write_chunk(chunk.bytes).await?;
            match recv.read_chunk(READ_BYTES, true).await? {
                Some(more) => chunk = more,
                None => break,
            }
        }
    }
    send.finish()?;
    Ok(())
}
