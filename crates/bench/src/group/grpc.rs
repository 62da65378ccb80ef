//! As much of gRPC and of etcd's messages as its clients need here.

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::Failure;

/// One connection. Calls on it share it.
pub(super) struct Channel {
    calls: SendRequest<Bytes>,
    /// Carries them, as long as this lives.
    carrier: JoinHandle<()>,
}

impl Channel {
    pub(super) async fn connect(port: u16) -> Result<Self, Failure> {
        let socket = TcpStream::connect(("127.0.0.1", port)).await?;
        socket.set_nodelay(true)?;
        let (calls, connection) = h2::client::handshake(socket).await?;
        let carrier = tokio::spawn(async move {
            // Calls on it fail then, and say why.
            let _ended = connection.await;
        });
        Ok(Self { calls, carrier })
    }

    /// Calls `method` with a message and gives back the one that answers it.
    pub(super) async fn call(&self, method: &str, message: &[u8]) -> Result<Vec<u8>, Failure> {
        let request = Request::post(format!("http://127.0.0.1/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut framed = BytesMut::with_capacity(message.len() + PREFIX_BYTES);
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len())?);
        framed.put_slice(message);
        let (answer, mut body) = self.calls.clone().ready().await?.send_request(request, false)?;
        body.send_data(framed.freeze(), true)?;
        let answer = answer.await?;
        succeeded(answer.status(), answer.headers())?;
        let mut body = answer.into_body();
        let mut bytes = Vec::new();
        while let Some(piece) = body.data().await {
            let piece = piece?;
            body.flow_control().release_capacity(piece.len())?;
            bytes.extend_from_slice(&piece);
        }
        if let Some(trailers) = body.trailers().await? {
            succeeded(StatusCode::OK, &trailers)?;
        }
        Ok(bytes.get(PREFIX_BYTES..).ok_or("etcd's answer has no message")?.to_vec())
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

fn succeeded(status: StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
    let told = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match told("grpc-status") {
        None | Some("0") if status.is_success() => Ok(()),
        code => Err(format!("etcd said {status}, {code:?}: {}", told("grpc-message").unwrap_or_default()).into()),
    }
}

/// A message is one byte that says whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Appends a field of bytes, or of a message.
pub(super) fn put_bytes(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    message.push(field << 3 | 2);
    let mut length = bytes.len();
    loop {
        let [low, ..] = length.to_le_bytes();
        length >>= 7;
        if length == 0 {
            message.push(low & 0x7f);
            break;
        }
        message.push(low | 0x80);
    }
    message.extend_from_slice(bytes);
}

/// A field of a message that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The first field of this number.
pub(super) fn field(mut message: &[u8], wanted: u64) -> Option<Field<'_>> {
    while !message.is_empty() {
        let tag = number(&mut message)?;
        let found = match tag & 7 {
            0 => Field::Number(number(&mut message)?),
            2 => {
                let length = usize::try_from(number(&mut message)?).ok()?;
                let (bytes, rest) = message.split_at_checked(length)?;
                message = rest;
                Field::Bytes(bytes)
            }
            _ => return None,
        };
        if tag >> 3 == wanted {
            return Some(found);
        }
    }
    None
}

fn number(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_as_they_were_put_and_a_message_that_is_cut_has_none() {
        let long = vec![7; 300];
        let mut message = Vec::new();
        put_bytes(&mut message, 1, b"key");
        put_bytes(&mut message, 2, &long);
        message.extend_from_slice(&[4 << 3, 0xac, 0x02]);
        assert_eq!(field(&message, 1), Some(Field::Bytes(b"key")));
        assert_eq!(field(&message, 2), Some(Field::Bytes(&long)));
        assert_eq!(field(&message, 4), Some(Field::Number(300)));
        assert_eq!(field(&message, 3), None);
        assert_eq!(field(&message[..100], 2), None);
    }
}
