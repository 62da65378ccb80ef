//! The bridge as a behaviour: a child in the tree, which its supervisor starts again when it breaks.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use covenant_runtime::{Behaviour, BehaviourRegistry, Context, Exit, Ref, StartError};
use covenant_transport::{CloseCode, NodeCredentials};
use covenant_types::{ExitReason, Incarnation, Role};
use quinn::{Endpoint, VarInt};
use serde::Deserialize;
use tokio::time::timeout;

use crate::counters::Counters;
use crate::edge::{Edge, Members};
use crate::listener;
use crate::members::{self, Directory};
use crate::server::Server;
use crate::session::Shared;

/// The `config` of a bridge in a tree file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeConfig {
    /// The UDP address that clients reach.
    pub listen: SocketAddr,
    /// The roles in certificates whose holders may connect.
    pub roles: Vec<Role>,
    /// The cookie of the clients' `NodeServer`s. It keeps two clusters of them apart by mistake; certificates keep others out.
    pub cookie: String,
}

/// Exposes what `E` says to stock `ractor_cluster` programs.
///
/// ractor's process groups are those of the process, so that there is one bridge in a process: a second one does not start.
pub struct Bridge<E> {
    endpoint: Endpoint,
    _alone: Alone,
    of: PhantomData<fn() -> E>,
}

/// What a bridge tells itself.
#[derive(Debug)]
pub struct BridgeMessage(Broke);

/// A part that should run as long as the bridge has ended.
#[derive(Debug)]
struct Broke {
    part: &'static str,
    /// The mailbox outlives incarnations: the next one is not to be ended by this one's end.
    incarnation: Incarnation,
}

/// Makes the bridge of `E` known as `ractor.bridge`.
///
/// # Panics
/// The name is taken: a fault in how the node was put together.
pub fn register<E: Edge>(registry: &mut BehaviourRegistry) {
    registry.register::<Bridge<E>>("ractor.bridge");
}

impl<E: Edge> Behaviour for Bridge<E> {
    type Config = BridgeConfig;
    type Message = BridgeMessage;

    async fn start(config: BridgeConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        if config.roles.is_empty() {
            return Err(StartError::failed("`roles` is empty: nobody could connect"));
        }
        let alone = Alone::claim().ok_or_else(|| StartError::failed("another bridge runs in this process"))?;
        let credentials = ctx.resource::<NodeCredentials>()?;
        let mut exposed = Members::new(ctx.system());
        E::expose(&mut exposed).map_err(StartError::failed)?;
        let name = credentials.grant().name;
        let (server, server_task) = Server::start(&name, &config.cookie).await.map_err(StartError::failed)?;
        let counters = Counters::new(ctx.env().metrics.clone());
        let directory = Arc::new(Directory::default());
        let shared = Shared { env: ctx.env().clone(), credentials, server, directory: directory.clone(), counters };
        let shared = Arc::new(shared);
        let endpoint = bind(config.listen, &shared).await?;
        for exposed in exposed.into_exposed() {
            let keeping = members::keep(exposed, directory.clone(), ctx.system().clone());
            ctx.spawn(watched(Watched::new(ctx, "a member"), keeping)).map_err(StartError::failed)?;
        }
        let serving = watched(Watched::new(ctx, "NodeServer"), async move { drop(server_task.await) });
        ctx.spawn(serving).map_err(StartError::failed)?;
        let address = endpoint.local_addr().map_err(StartError::failed)?;
        let listening = listener::run(endpoint.clone(), config, shared, ctx.env().clone());
        ctx.spawn(watched(Watched::new(ctx, "the listener"), listening)).map_err(StartError::failed)?;
        tracing::info!(%address, "clients of ractor_cluster are let in");
        Ok(Self { endpoint, _alone: alone, of: PhantomData })
    }

    async fn handle(&mut self, message: BridgeMessage, ctx: &Context<Self>) -> Result<(), Exit> {
        let BridgeMessage(Broke { part, incarnation }) = message;
        if incarnation == ctx.incarnation() {
            return Err(Exit::error(format_args!("{part} of the bridge ended")));
        }
        Ok(())
    }

    async fn stop(self, _: &ExitReason, _: &Context<Self>) {
        self.endpoint.close(VarInt::from_u32(CloseCode::Leaving.number()), b"the bridge is stopping");
        // Whoever does not hear of it finds out by itself.
        let _told = timeout(FAREWELL, self.endpoint.wait_idle()).await;
    }
}

/// How long clients have to hear that the bridge stops.
const FAREWELL: Duration = Duration::from_secs(1);
/// How often a start looks whether the socket of the incarnation before is closed.
const REBIND_EVERY: Duration = Duration::from_millis(50);
const REBIND_TRIES: u32 = 40;

async fn bind(listen: SocketAddr, shared: &Shared) -> Result<Endpoint, StartError> {
    let failed = |error: std::io::Error| StartError::failed(format_args!("{listen}: {error}"));
    for _ in 1..REBIND_TRIES {
        match listener::bind(listen, shared) {
            // quinn closes the socket when the last task of the old endpoint has seen its end; nothing tells when.
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => tokio::time::sleep(REBIND_EVERY).await,
            bound => return bound.map_err(failed),
        }
    }
    listener::bind(listen, shared).map_err(failed)
}

/// Tells the bridge when it is dropped: its part has ended, by a panic too.
struct Watched {
    bridge: Ref<BridgeMessage>,
    part: &'static str,
    incarnation: Incarnation,
}

impl Watched {
    fn new<E: Edge>(ctx: &Context<Bridge<E>>, part: &'static str) -> Self {
        Self { bridge: ctx.me(), part, incarnation: ctx.incarnation() }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Where this is the end of the bridge itself, nobody of this incarnation reads it.
        let _ended = self.bridge.try_cast(BridgeMessage(Broke { part: self.part, incarnation: self.incarnation }));
    }
}

/// Runs `part`, and has the bridge end when it ends.
async fn watched(watched: Watched, part: impl Future<Output = ()>) {
    let _watched = watched;
    part.await;
}

/// The one bridge of this process.
struct Alone;

static THERE_IS_ONE: AtomicBool = AtomicBool::new(false);

impl Alone {
    fn claim() -> Option<Self> {
        let claimed = THERE_IS_ONE.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire);
        claimed.is_ok().then_some(Self)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        THERE_IS_ONE.store(false, Ordering::Release);
    }
}

impl<E> std::fmt::Debug for Bridge<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bridge").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
