//! Serves HTTP on Unix sockets, TCP and TLS: bounded, owned, and told who calls.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use covenant_env::{Env, Spawner, Task, Tasks};
use covenant_identity::PeerIdentity;
use covenant_transport::Denials;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;

/// Connections one listener serves at a time; further ones wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 64;
/// How long a caller may take to send its request's head, or to finish a TLS handshake.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// Who is calling, as far as the connection proves it.
#[derive(Clone, Debug)]
pub enum Connected {
    /// A process on this machine, run by this user.
    Local {
        /// Its user id.
        uid: u32,
    },
    /// Somebody with a certificate of this cluster.
    Certified(CertificateDer<'static>),
    /// Anybody: metrics and health on this machine, and the public log.
    Anyone,
}

/// Why a listener could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else listens there.
    #[error("{what} cannot listen on {address}: {source}; choose another address or stop what uses it")]
    Bind {
        /// What wanted to listen.
        what: &'static str,
        /// Where.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
}

/// A listener and the tasks that serve it; dropping it closes all of its connections.
#[derive(Debug)]
pub struct Server {
    _task: Task,
    socket: Option<PathBuf>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            // It may be gone already; the next start replaces it in any case.
            let _gone = std::fs::remove_file(socket);
        }
    }
}

/// Serves `router` on a Unix socket that only its owner can open. `router` is asked with [`Connected::Local`].
///
/// # Errors
/// The socket cannot be made. A socket left by a dead process is replaced: the data directory's lock says that it is dead.
pub fn serve_unix(env: &Env, path: &Path, router: Router) -> Result<Server, ListenError> {
    let bind = |source| ListenError::Bind { what: "the control API", address: path.display().to_string(), source };
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(bind(error)),
    }
    let _inside = env.system.handle().enter();
    let listener = UnixListener::bind(path).map_err(bind)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(bind)?;
    let spawner = env.system.clone();
    let task = env.system.spawn(accept(spawner, CONNECTIONS_MAX, listener, move |stream: UnixStream| {
        let router = router.clone();
        async move {
            let Ok(credentials) = stream.peer_cred() else { return };
            serve(stream, router, Connected::Local { uid: credentials.uid() }).await;
        }
    }));
    Ok(Server { _task: task, socket: Some(path.to_owned()) })
}

/// Serves `router` over TLS with certificates on both sides. Whoever is denied is refused in the handshake, and cut off in the
/// middle of a request where that comes later.
///
/// # Errors
/// The address is taken.
pub async fn serve_tls(
    env: &Env,
    address: SocketAddr,
    config: Arc<rustls::ServerConfig>,
    denials: Arc<Denials>,
    router: Router,
) -> Result<Server, ListenError> {
    let listener = bind_tcp("the control API", address).await?;
    let acceptor = TlsAcceptor::from(config);
    let task = env.system.spawn(accept(env.system.clone(), CONNECTIONS_MAX, listener, move |stream: TcpStream| {
        let (router, acceptor, denials) = (router.clone(), acceptor.clone(), Arc::clone(&denials));
        async move {
            let Ok(Ok(stream)) = tokio::time::timeout(HEAD_WITHIN, acceptor.accept(stream)).await else { return };
            let chain = stream.get_ref().1.peer_certificates().map(<[_]>::to_vec).unwrap_or_default();
            // The verifier asks for one; without it nothing is served.
            let Some(certificate) = chain.first().cloned() else { return };
            tokio::select! {
                biased;
                () = until_denied(&denials, &chain) => tracing::warn!("a caller of the control API was denied and is cut off"),
                () = serve(stream, router, Connected::Certified(certificate)) => {}
            }
        }
    }));
    Ok(Server { _task: task, socket: None })
}

/// Waits until whoever has this chain is denied.
async fn until_denied(denials: &Denials, chain: &[CertificateDer<'_>]) {
    let mut changes = denials.changes();
    let Some((own, above)) = chain.split_first() else { return };
    let Ok(identity) = PeerIdentity::from_certificate(own) else { return };
    while !denials.denies(&identity, above) {
        if changes.changed().await.is_err() {
            // The list is gone with its node, and this with that.
            std::future::pending::<()>().await;
        }
    }
}

/// Serves `router`, which gives away nothing that needs a name, in the clear: `what`, on so many connections.
///
/// # Errors
/// The address is taken.
pub async fn serve_open(
    env: &Env,
    what: &'static str,
    address: SocketAddr,
    connections_max: usize,
    router: Router,
) -> Result<Server, ListenError> {
    let listener = bind_tcp(what, address).await?;
    let task = env.system.spawn(accept(env.system.clone(), connections_max, listener, move |stream: TcpStream| {
        let router = router.clone();
        async move { serve(stream, router, Connected::Anyone).await }
    }));
    Ok(Server { _task: task, socket: None })
}

async fn bind_tcp(what: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| ListenError::Bind { what, address: address.to_string(), source })
}

/// What can be accepted from.
trait Accept {
    type Stream: Send + 'static;
    fn accept_one(&self) -> impl Future<Output = std::io::Result<Self::Stream>> + Send;
}

impl Accept for UnixListener {
    type Stream = UnixStream;
    async fn accept_one(&self) -> std::io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Accept for TcpListener {
    type Stream = TcpStream;
    async fn accept_one(&self) -> std::io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

async fn accept<L: Accept, F: Future<Output = ()> + Send + 'static>(
    spawner: Spawner,
    connections_max: usize,
    listener: L,
    serve: impl Fn(L::Stream) -> F,
) {
    let mut connections = Tasks::new(spawner, connections_max);
    loop {
        match listener.accept_one().await {
            // Past the bound the connection is closed at once; its caller may try again.
            Ok(stream) => drop(connections.spawn(serve(stream))),
            // Out of descriptors, most likely: accepting again at once would spin.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router, who: Connected) {
    let service = TowerToHyperService::new(router.layer(axum::Extension(who)));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a control connection ended early");
    }
}
