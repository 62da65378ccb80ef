//! The files of a public log over plain HTTP. What is read is verified by whoever asked, so nobody on the way is believed.

use std::io;
use std::time::Duration;

use covenant_node::api::{ApiError, ErrorKind};
use covenant_tlog::LogFiles;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

/// How long one file may take.
const FILE_WITHIN: Duration = Duration::from_secs(30);

/// The files below an address, one connection for all of them.
pub(crate) struct HttpFiles {
    runtime: Handle,
    /// The host and port.
    authority: String,
    /// What stands before the name of a file.
    prefix: String,
    connection: Mutex<Option<SendRequest<Empty<Bytes>>>>,
}

impl HttpFiles {
    /// The files below `url`, as `http://HOST:PORT/ledger`. To be made in a runtime and used beside it, where blocking is allowed.
    pub(crate) fn new(url: &str) -> Result<Self, ApiError> {
        let wrong = |what: &str| ApiError::new(ErrorKind::Usage, format!("{url:?}: {what}"));
        let uri: Uri = url.parse().map_err(|_| wrong("not an address"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("only http:// is read: a log proves itself, whoever is on the way"));
        }
        let host = uri.host().ok_or_else(|| wrong("no host"))?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { runtime: Handle::current(), authority, prefix, connection: Mutex::new(None) })
    }

    async fn get(&self, name: &str, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
        let mut kept = self.connection.lock().await;
        // A connection that was kept may have been closed meanwhile: then a new one is made, once.
        if let Some(sender) = kept.as_mut()
            && sender.ready().await.is_ok()
            && let Ok(answer) = self.exchange(sender, name, bytes_max).await
        {
            return answer;
        }
        let stream = TcpStream::connect(&self.authority).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // Ends with its sender.
        tokio::spawn(connection);
        let answer = self.exchange(&mut sender, name, bytes_max).await.map_err(io::Error::other)?;
        *kept = Some(sender);
        answer
    }

    /// One request. An error where the connection broke.
    async fn exchange(
        &self,
        sender: &mut SendRequest<Empty<Bytes>>,
        name: &str,
        bytes_max: usize,
    ) -> Result<io::Result<Option<Vec<u8>>>, hyper::Error> {
        let request = hyper::Request::get(format!("{}/{name}", self.prefix)).header("host", &self.authority);
        let request = match request.body(Empty::new()) {
            Ok(request) => request,
            Err(error) => return Ok(Err(io::Error::other(error))),
        };
        let response = sender.send_request(request).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                let _small = Limited::new(response.into_body(), bytes_max).collect().await;
                return Ok(Ok(None));
            }
            status => return Ok(Err(io::Error::other(format!("the answer is {status}")))),
        }
        Ok(match Limited::new(response.into_body(), bytes_max).collect().await {
            Ok(body) => Ok(Some(body.to_bytes().to_vec())),
            Err(error) if error.is::<LengthLimitError>() => Err(io::ErrorKind::FileTooLarge.into()),
            Err(error) => Err(io::Error::other(error)),
        })
    }
}

impl LogFiles for HttpFiles {
    fn list(&self) -> io::Result<Option<Vec<String>>> {
        Ok(None)
    }

    fn read(&self, name: &str, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
        let read = async { tokio::time::timeout(FILE_WITHIN, self.get(name, bytes_max)).await };
        self.runtime.block_on(read).map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}
