//! A connection to a node's control API, kept over requests, as a client of it does.

use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Yes(Value),
    /// The node said no.
    No(Refusal),
    /// It never left.
    NotSent(String),
    /// It left, and no answer came.
    Lost(String),
}

impl Answer {
    /// Why there is no answer, for people.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Yes(_) => "answered".to_owned(),
            Self::No(refusal) => format!("{}: {}", refusal.kind, refusal.message),
            Self::NotSent(why) => format!("it cannot be asked: {why}"),
            Self::Lost(why) => format!("it was asked, and then: {why}"),
        }
    }
}

/// A no of a node.
#[derive(Debug, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) kind: String,
    pub(crate) message: String,
}

/// A line to one node.
#[derive(Debug)]
pub(crate) struct Line {
    socket: PathBuf,
    open: Option<(SendRequest<Full<Bytes>>, JoinHandle<()>)>,
}

impl Line {
    pub(crate) fn to(socket: PathBuf) -> Self {
        Self { socket, open: None }
    }

    /// Asks, and waits for so long.
    pub(crate) async fn ask(&mut self, method: &str, path: &str, body: Option<&Value>, within: Duration) -> Answer {
        let body: Bytes = body.map(Value::to_string).unwrap_or_default().into();
        let answer = match tokio::time::timeout(within, self.exchange(method, path, body)).await {
            Ok(answer) => answer,
            Err(_) => Answer::Lost(format!("no answer within {within:?}")),
        };
        if matches!(answer, Answer::Lost(_) | Answer::NotSent(_)) {
            // Whatever still comes over it belongs to nobody.
            self.close();
        }
        answer
    }

    async fn exchange(&mut self, method: &str, path: &str, body: Bytes) -> Answer {
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "covenant")
            .header("content-type", "application/json")
            .body(Full::new(body));
        let request = match request {
            Ok(request) => request,
            Err(error) => return Answer::NotSent(error.to_string()),
        };
        let sender = match self.sender().await {
            Ok(sender) => sender,
            Err(error) => return Answer::NotSent(error.to_string()),
        };
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            Err(error) => return Answer::Lost(error.to_string()),
        };
        let good = response.status().is_success();
        let bytes = match Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return Answer::Lost(error.to_string()),
        };
        let read = if good {
            serde_json::from_slice(&bytes).map(Answer::Yes)
        } else {
            serde_json::from_slice(&bytes).map(Answer::No)
        };
        read.unwrap_or_else(|error| Answer::Lost(format!("the answer cannot be read: {error}")))
    }

    async fn sender(&mut self) -> anyhow::Result<&mut SendRequest<Full<Bytes>>> {
        if self.open.as_ref().is_none_or(|(sender, _)| sender.is_closed()) {
            self.close();
            let stream = UnixStream::connect(&self.socket).await?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            let task = tokio::spawn(async move {
                // Its end is seen by whoever sends.
                let _ended = connection.await;
            });
            self.open = Some((sender, task));
        }
        let (sender, _) = self.open.as_mut().ok_or_else(|| anyhow::anyhow!("no line"))?;
        sender.ready().await?;
        Ok(sender)
    }

    fn close(&mut self) {
        if let Some((_, task)) = self.open.take() {
            task.abort();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.close();
    }
}
