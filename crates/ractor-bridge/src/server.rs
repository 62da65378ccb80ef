//! The stock `NodeServer` behind the gate: it speaks the handshake with clients, and announces members to them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use covenant_types::NodeName;
use ractor::{Actor, ActorRef};
use ractor_cluster::node::{NodeConnectionMode, NodeServerSessionInformation};
use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream, IncomingEncryptionMode, NodeEventSubscription};
use ractor_cluster::{NodeServer, NodeServerMessage};
use tokio::io::DuplexStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::tls;
use crate::wire::FRAME_BYTES_MAX;

/// The `NodeServer` of one bridge. It ends, with all its sessions, when this is dropped.
pub(crate) struct Server {
    actor: ActorRef<NodeServerMessage>,
    endings: Endings,
}

impl Server {
    /// Starts it. The task ends with it, which it never does by itself.
    pub(crate) async fn start(name: &NodeName, cookie: &str) -> Result<(Self, JoinHandle<()>), String> {
        let nobody = IncomingEncryptionMode::Tls(tls::for_nobody()?);
        let isolated = Some(NodeConnectionMode::Isolated);
        let server = NodeServer::new(0, cookie.to_owned(), name.to_string(), HOST.to_owned(), Some(nobody), isolated)
            .with_listen_addr(IpAddr::V4(Ipv4Addr::LOCALHOST))
            .with_max_inbound_frame_size(FRAME_BYTES_MAX as u64);
        let (actor, task) = Actor::spawn(None, server, ()).await.map_err(|error| error.to_string())?;
        let endings = Endings::default();
        let server = Self { actor, endings: endings.clone() };
        let subscription = Box::new(endings);
        let subscribed = server.actor.cast(NodeServerMessage::SubscribeToEvents { id: "bridge".into(), subscription });
        subscribed.map_err(|error| error.to_string())?;
        Ok((server, task))
    }

    /// Hands it the stream of a client. What is returned resolves when the session has ended.
    ///
    /// # Errors
    /// It does not run.
    pub(crate) fn open(&self, label: String, stream: DuplexStream) -> Result<oneshot::Receiver<()>, String> {
        let (sender, ended) = oneshot::channel();
        self.endings.lock().insert(label.clone(), sender);
        let stream = Box::new(Stream { stream, label });
        let opened = self.actor.cast(NodeServerMessage::ConnectionOpenedExternal { stream, is_server: true });
        opened.map(|()| ended).map_err(|error| error.to_string())
    }

    /// Forgets a session that never said it had ended.
    pub(crate) fn forget(&self, label: &str) {
        self.endings.lock().remove(label);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.actor.kill();
    }
}

/// The host in the name that clients are told. No name is looked up.
const HOST: &str = "covenant";

/// Where the gate speaks with a session.
struct Stream {
    stream: DuplexStream,
    label: String,
}

impl ClusterBidiStream for Stream {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        let (read, write) = tokio::io::split(self.stream);
        (Box::new(read), Box::new(write))
    }

    fn peer_label(&self) -> Option<String> {
        Some(self.label.clone())
    }
}

/// Who waits for the end of which session.
#[derive(Clone, Default)]
struct Endings(Arc<Mutex<HashMap<String, oneshot::Sender<()>>>>);

impl Endings {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NodeEventSubscription for Endings {
    fn node_session_opened(&self, _: NodeServerSessionInformation) {}

    fn node_session_disconnected(&self, session: NodeServerSessionInformation) {
        let waits = self.lock().remove(&session.peer_addr);
        if let Some(waits) = waits {
            // Its session may have given up waiting.
            let _told = waits.send(());
        }
    }

    fn node_session_authenticated(&self, _: NodeServerSessionInformation) {}
}
