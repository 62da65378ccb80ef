//! Asks a node over its control API: on its Unix socket, or over mutual TLS.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use covenant_node::api::{ApiError, ErrorKind};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::operator_file::OperatorFile;

/// Where a control API listens.
#[derive(Clone, Debug)]
pub(crate) enum Client {
    /// This machine, as the user who asks.
    Socket(PathBuf),
    /// Any machine, as an operator.
    Tls(SocketAddr, Box<OperatorFile>),
}

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Client {
    /// A client for a Unix socket.
    pub(crate) fn socket(path: &Path) -> Self {
        Self::Socket(path.to_owned())
    }

    /// Asks for a view.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.send(hyper::Method::GET, path, Bytes::new(), ANSWER_WITHIN).await
    }

    /// Asks for an act.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ApiError> {
        let body = serde_json::to_vec(body).map_err(ApiError::failure)?;
        self.send(hyper::Method::POST, path, body.into(), ANSWER_WITHIN).await
    }

    /// Asks for an act that may take longer than others.
    pub(crate) async fn post_within<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        within: Duration,
    ) -> Result<T, ApiError> {
        let body = serde_json::to_vec(body).map_err(ApiError::failure)?;
        self.send(hyper::Method::POST, path, body.into(), within).await
    }

    /// Asks for an answer that comes line by line, each a `T`, and gives them to `line` as they come.
    pub(crate) async fn post_lines<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        within: Duration,
        mut line: impl FnMut(T),
    ) -> Result<(), ApiError> {
        let body: Bytes = serde_json::to_vec(body).map_err(ApiError::failure)?.into();
        let answer = async {
            match self {
                Self::Socket(socket) => {
                    let stream = tokio::net::UnixStream::connect(socket).await;
                    let stream = stream.map_err(|error| self.unreachable(&error))?;
                    exchange_lines(stream, path, body, &mut line).await
                }
                Self::Tls(address, operator) => {
                    let stream = tokio::net::TcpStream::connect(address).await;
                    let stream = stream.map_err(|error| self.unreachable(&error))?;
                    let stream = operator.secure(stream).await.map_err(|error| self.unreachable(&error))?;
                    exchange_lines(stream, path, body, &mut line).await
                }
            }
        };
        tokio::time::timeout(within, answer).await.map_err(|_| self.too_late(within))?
    }

    /// Asks for a view that is written into `file` as it comes. It is not known whether it is whole: its reader finds out.
    pub(crate) async fn download(&self, path: &str, file: &mut std::fs::File) -> Result<(), ApiError> {
        match self {
            Self::Socket(socket) => {
                let stream = tokio::net::UnixStream::connect(socket).await;
                exchange_into(stream.map_err(|error| self.unreachable(&error))?, path, file).await
            }
            Self::Tls(address, operator) => {
                let stream = tokio::net::TcpStream::connect(address).await;
                let stream = stream.map_err(|error| self.unreachable(&error))?;
                let stream = operator.secure(stream).await.map_err(|error| self.unreachable(&error))?;
                exchange_into(stream, path, file).await
            }
        }
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: hyper::Method,
        path: &str,
        body: Bytes,
        within: Duration,
    ) -> Result<T, ApiError> {
        let answer = async {
            match self {
                Self::Socket(socket) => {
                    let stream = tokio::net::UnixStream::connect(socket).await;
                    exchange(stream.map_err(|error| self.unreachable(&error))?, method, path, body).await
                }
                Self::Tls(address, operator) => {
                    let stream = tokio::net::TcpStream::connect(address).await;
                    let stream = stream.map_err(|error| self.unreachable(&error))?;
                    let stream = operator.secure(stream).await.map_err(|error| self.unreachable(&error))?;
                    exchange(stream, method, path, body).await
                }
            }
        };
        let (status, body) = tokio::time::timeout(within, answer).await.map_err(|_| self.too_late(within))??;
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|error| ApiError::failure(format!("{self} answered what this version cannot read: {error}")));
        }
        Err(serde_json::from_slice(&body).unwrap_or_else(|_| ApiError::failure(format!("{self} answered {status}"))))
    }

    fn too_late(&self, within: Duration) -> ApiError {
        let seconds = within.as_secs();
        let message = format!("{self} did not answer within {seconds} s; it may still do what was asked");
        ApiError::new(ErrorKind::Timeout, message)
    }

    fn unreachable(&self, error: &std::io::Error) -> ApiError {
        ApiError::new(ErrorKind::Unreachable, format!("{self} cannot be reached: {error}; is the node running?"))
    }
}

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Tls(address, _) => write!(f, "{address}"),
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: hyper::Method,
    path: &str,
    body: Bytes,
) -> Result<(hyper::StatusCode, Bytes), ApiError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = request(method, path, body)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|error| ApiError::failure(format!("the answer cannot be read: {error}")))?.to_bytes()))
    };
    // The connection's own future must be polled beside the request; it ends with it.
    tokio::pin!(answer);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ended = &mut connection => answer.await,
    }
}

/// As [`exchange`], for an answer of lines. A no is an answer as any other has.
async fn exchange_lines<T: DeserializeOwned>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
    body: Bytes,
    line: &mut impl FnMut(T),
) -> Result<(), ApiError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = request(hyper::Method::POST, path, body)?;
    let answer =
        async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status();
            let mut body = response.into_body();
            let mut rest = Vec::new();
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame.map_err(broken)?.into_data() {
                    rest.extend_from_slice(&data);
                }
                while status.is_success()
                    && let Some(end) = rest.iter().position(|byte| *byte == b'\n')
                {
                    let text: Vec<u8> = rest.drain(..=end).collect();
                    line(serde_json::from_slice(&text).map_err(|error| unreadable(&error))?);
                }
                if rest.len() > LINE_BYTES_MAX {
                    return Err(ApiError::failure("the answer cannot be read: a line is too long"));
                }
            }
            match status.is_success() {
                true => Ok(()),
                false => Err(serde_json::from_slice(&rest)
                    .unwrap_or_else(|_| ApiError::failure(format!("the answer was {status}")))),
            }
        };
    tokio::pin!(answer);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ended = &mut connection => answer.await,
    }
}

/// As [`exchange`], for an answer that may be long. Each piece has the time that a whole answer has elsewhere.
async fn exchange_into(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
    file: &mut std::fs::File,
) -> Result<(), ApiError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = request(hyper::Method::GET, path, Bytes::new())?;
    let late = |_| {
        let message = format!("nothing came for {} s; what is there of the file is deleted", ANSWER_WITHIN.as_secs());
        ApiError::new(ErrorKind::Timeout, message)
    };
    let answer = async {
        let response = tokio::time::timeout(ANSWER_WITHIN, sender.send_request(request)).await.map_err(late)?;
        let response = response.map_err(broken)?;
        let status = response.status();
        let mut body = response.into_body();
        if !status.is_success() {
            let said = Limited::new(body, LINE_BYTES_MAX).collect().await.map_err(ApiError::failure)?.to_bytes();
            return Err(
                serde_json::from_slice(&said).unwrap_or_else(|_| ApiError::failure(format!("the answer was {status}")))
            );
        }
        while let Some(frame) = tokio::time::timeout(ANSWER_WITHIN, body.frame()).await.map_err(late)? {
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                file.write_all(&data)
                    .map_err(|error| ApiError::failure(format!("the file cannot be written: {error}")))?;
            }
        }
        Ok(())
    };
    tokio::pin!(answer);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ended = &mut connection => answer.await,
    }
}

/// The longest line that is read.
const LINE_BYTES_MAX: usize = 64 * 1024;

fn broken(error: hyper::Error) -> ApiError {
    ApiError::new(ErrorKind::Unreachable, format!("the connection broke: {error}"))
}

fn unreadable(error: &serde_json::Error) -> ApiError {
    ApiError::failure(format!("the answer cannot be read by this version: {error}"))
}

fn request(method: hyper::Method, path: &str, body: Bytes) -> Result<hyper::Request<Full<Bytes>>, ApiError> {
    hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "covenant")
        .header("content-type", "application/json")
        .body(Full::new(body))
        .map_err(ApiError::usage)
}
