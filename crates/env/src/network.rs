//! Where UDP sockets come from: the kernel, or a simulation.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use quinn::{AsyncUdpSocket, Runtime, TokioRuntime};

/// Opens sockets for a QUIC endpoint and runs the endpoint's own tasks.
pub trait Network: fmt::Debug + Send + Sync {
    /// Binds a socket.
    ///
    /// # Errors
    /// The address is taken, or not this machine's.
    fn bind(&self, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>>;
    /// The addresses of a name. Blocks until they are known: call it in [`Env::blocking`](crate::Env::blocking).
    ///
    /// # Errors
    /// There is no such name, or nobody who knows names can be asked.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let what = format!("{host}:{port}: this network has no names");
        Err(io::Error::new(io::ErrorKind::Unsupported, what))
    }
    /// Timers and tasks for quinn.
    fn runtime(&self) -> Arc<dyn Runtime>;
    /// Where the numbers begin that one endpoint draws for its packets: those it skips, and lengths of padding. `None`
    /// leaves them to the operating system, as a real network must. A simulation gives each endpoint its own: without that
    /// no run would be like another.
    fn endpoint_seed(&self) -> Option<[u8; 32]> {
        None
    }
}

/// The kernel's UDP.
#[derive(Debug)]
pub struct UdpNetwork(tokio::runtime::Handle);

impl UdpNetwork {
    /// Sockets whose events are handled on `runtime`.
    pub fn new(runtime: tokio::runtime::Handle) -> Self {
        Self(runtime)
    }
}

impl Network for UdpNetwork {
    fn bind(&self, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let socket = std::net::UdpSocket::bind(address)?;
        let _inside = self.0.enter();
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (host, port).to_socket_addrs().map(Iterator::collect)
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(TokioRuntime)
    }
}
