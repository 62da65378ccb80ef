//! From a finished TLS handshake to a peer: both sides say Hello on the control stream and check what they hear.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use covenant_env::Env;
use covenant_types::{BootEpoch, NodeId};
use covenant_wire::{FRAME_HEADER_BYTES, frame_into, frame_length};
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::mpsc;

use crate::counters::Counters;
use crate::dial::Dials;
use crate::driven::Driven;
use crate::hello::{Certified, HELLO_BYTES_MAX, Hello, Refusal, certified, is_denied, protocol};
use crate::links::Precedence;
use crate::roster::Roster;
use crate::stream::StreamError;
use crate::tls::ALPN;
use crate::{CloseCode, Peer, PeerInfo, Plane, TransportConfig};

/// What every handshake of one endpoint needs.
pub(crate) struct Greeter {
    pub(crate) config: TransportConfig,
    pub(crate) id: NodeId,
    /// This boot, and the process that it runs in.
    pub(crate) boot: Boot,
    /// What peers are told to dial.
    pub(crate) listen: SocketAddr,
    pub(crate) env: Env,
    pub(crate) counters: Arc<Counters>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) dials: Dials,
    /// Connections to be served.
    pub(crate) lane: mpsc::Sender<Peer>,
}

/// What a process says of itself beside its name.
pub(crate) struct Boot {
    epoch: AtomicU64,
    instance: u64,
}

impl Boot {
    pub(crate) fn new(epoch: BootEpoch, instance: u64) -> Self {
        Self { epoch: AtomicU64::new(epoch.0), instance }
    }

    pub(crate) fn epoch(&self) -> BootEpoch {
        BootEpoch(self.epoch.load(Ordering::Acquire))
    }

    /// From now on every Hello says this.
    pub(crate) fn rise_to(&self, epoch: BootEpoch) {
        self.epoch.fetch_max(epoch.0, Ordering::AcqRel);
    }
}

impl Greeter {
    fn hello(&self, dial: u64) -> Hello {
        Hello {
            cluster: self.config.cluster.clone(),
            id: self.id,
            name: self.config.name.clone(),
            epoch: self.boot.epoch(),
            listen: self.listen,
            dial,
            instance: self.boot.instance,
        }
    }

    /// The caller's part. On success the peer has been admitted.
    pub(crate) async fn greet(
        &self,
        connection: &Driven,
        expect: Option<NodeId>,
        dial: u64,
    ) -> Result<Peer, (Refusal, Option<NodeId>)> {
        let certified = self.check(connection).map_err(|refusal| (refusal, None))?;
        let id = certified.id;
        let with_id = |refusal| (refusal, Some(id));
        if certified.id == self.id {
            return Err(with_id(Refusal::new(CloseCode::DialledSelf, "this node dialled itself")));
        }
        if let Some(expected) = expect.filter(|expected| *expected != certified.id) {
            let reason = format!("expected the node {expected}, found {} ({})", certified.grant.name, certified.id);
            return Err(with_id(Refusal::new(CloseCode::UnexpectedNode, reason)));
        }
        let theirs = self.exchange(connection, dial).await.map_err(with_id)?;
        theirs.check(&certified, &self.config.cluster).map_err(with_id)?;
        if theirs.dial != dial {
            return Err(with_id(Refusal::new(CloseCode::Malformed, "the peer answered another hello")));
        }
        let client = self.id;
        let peer = self.peer(connection, certified.clone(), &theirs, client);
        self.admit(&peer, "client").await.map_err(with_id)?;
        Ok(peer)
    }

    async fn exchange(&self, connection: &Connection, dial: u64) -> Result<Hello, Refusal> {
        let (mut send, mut recv) = connection.open_bi().await.map_err(|_| lost())?;
        let _ended = send.set_priority(Plane::Control.priority());
        let mut bytes = vec![Plane::Control.byte()];
        frame_into(&self.hello(dial).to_bytes(), &mut bytes);
        send.write_all(&bytes).await.map_err(|error| Refusal::from(StreamError::from(error)))?;
        let _ended = send.finish();
        read_hello(&mut recv).await
    }

    /// The called side's part. On success the peer has been admitted, otherwise the connection has been closed.
    pub(crate) async fn answer(&self, connection: &Driven) -> Result<Peer, Refusal> {
        let certified = match self.check(connection) {
            Ok(certified) if certified.id == self.id => {
                Err(Refusal::new(CloseCode::DialledSelf, "this node dialled itself"))
            }
            checked => checked,
        };
        let certified = certified.inspect_err(|refusal| turn_away(connection, refusal))?;
        let (mut send, mut recv) = connection.accept_bi().await.map_err(|_| lost())?;
        let answered = self.answer_on(connection, certified, &mut send, &mut recv).await;
        // Closed before the streams are dropped: frames that say so would queue in front of the refusal.
        answered.inspect_err(|refusal| turn_away(connection, refusal))
    }

    async fn answer_on(
        &self,
        connection: &Driven,
        certified: Certified,
        send: &mut SendStream,
        recv: &mut RecvStream,
    ) -> Result<Peer, Refusal> {
        let mut plane = [0];
        recv.read_exact(&mut plane).await.map_err(|error| Refusal::from(StreamError::from(error)))?;
        if plane[0] != Plane::Control.byte() {
            return Err(Refusal::new(CloseCode::Malformed, "the first stream must be the control stream"));
        }
        let theirs = read_hello(recv).await?;
        theirs.check(&certified, &self.config.cluster)?;
        // The smaller id's dial stays; where ours is under way, theirs need not begin.
        if self.id < certified.id && self.dials.is_dialling(certified.id, [theirs.listen, connection.remote_address()])
        {
            return Err(Refusal::new(CloseCode::Duplicate, "this node is dialling the peer itself"));
        }
        let client = certified.id;
        let peer = self.peer(connection, certified, &theirs, client);
        self.admit(&peer, "server").await?;
        self.say_hello(send, theirs.dial).await;
        Ok(peer)
    }

    /// Where this fails the connection is gone, which whoever serves it finds out.
    async fn say_hello(&self, send: &mut SendStream, dial: u64) {
        let _ended = send.set_priority(Plane::Control.priority());
        let mut bytes = Vec::new();
        frame_into(&self.hello(dial).to_bytes(), &mut bytes);
        if send.write_all(&bytes).await.is_ok() {
            let _ended = send.finish();
        }
    }

    fn check(&self, connection: &Connection) -> Result<Certified, Refusal> {
        if protocol(connection).as_deref() != Some(ALPN) {
            return Err(Refusal::new(CloseCode::WrongProtocol, "the connection is not of covenant/1"));
        }
        let certified = certified(connection, &self.config.cluster, self.env.wall())?;
        // TLS has looked already; a moment ago, when the list may have been shorter.
        if is_denied(connection, self.config.identity.denials()) { Err(Refusal::revoked()) } else { Ok(certified) }
    }

    fn peer(&self, connection: &Driven, certified: Certified, theirs: &Hello, client: NodeId) -> Peer {
        let info = PeerInfo {
            id: certified.id,
            name: certified.grant.name,
            role: certified.grant.role,
            region: certified.grant.region,
            epoch: theirs.epoch,
            address: connection.remote_address(),
            listen: theirs.listen,
        };
        let precedence =
            Precedence { peer_epoch: theirs.epoch, peer_instance: theirs.instance, client, dial: theirs.dial };
        Peer::new(info, connection.clone(), precedence, Arc::clone(&self.counters))
    }

    async fn admit(&self, peer: &Peer, side: &str) -> Result<(), Refusal> {
        let stopping = |_| Refusal::new(CloseCode::Leaving, "this node is stopping");
        let permit = self.lane.reserve().await.map_err(stopping)?;
        // From here to the end nothing waits: a dial that is given up leaves no peer behind that nobody serves.
        self.roster.admit(peer, permit)?;
        self.counters.opened(side);
        Ok(())
    }
}

async fn read_hello(recv: &mut RecvStream) -> Result<Hello, Refusal> {
    let refusal = |error| Refusal::from(StreamError::from(error));
    let mut header = [0; FRAME_HEADER_BYTES];
    recv.read_exact(&mut header).await.map_err(refusal)?;
    let length = frame_length(header, HELLO_BYTES_MAX)
        .map_err(|error| Refusal::new(CloseCode::TooLarge, format!("hello: {error}")))?;
    let mut bytes = vec![0; length];
    recv.read_exact(&mut bytes).await.map_err(refusal)?;
    Hello::from_bytes(&bytes)
}

pub(crate) fn lost() -> Refusal {
    Refusal::new(CloseCode::Internal, "the connection was lost during the handshake")
}

/// Closes a refused connection so that the peer hears why, unless it is gone already.
pub(crate) fn turn_away(connection: &Connection, refusal: &Refusal) {
    let reason: String = refusal.reason.chars().take(200).collect();
    connection.close(refusal.code.var_int(), reason.as_bytes());
}

/// How long the last words of a connection are waited for.
pub(crate) const FAREWELL: Duration = Duration::from_secs(1);
