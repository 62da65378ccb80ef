//! A backup of the book, as it comes.

use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use covenant_identity::Verb;
use covenant_ledger::{Backup, BackupHead, DeskMessage, write_backup};
use futures_util::stream;
use tokio::sync::mpsc;

use super::Control;
use super::caller::{Caller, Done, act};
use super::ledger::ask;
use crate::api::ApiError;

/// Pieces of a backup that wait for whoever reads it: past this the writing waits.
const PIECES_MAX: usize = 8;
/// How long a piece is, but for the last.
const PIECE_BYTES: usize = 64 * 1024;

/// The line of the audit log is about its beginning. What is cut off has no hash at its end and is found to be no backup.
pub(crate) async fn save(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, ApiError> {
    let mut begun = None;
    let _audited: Json<BackupHead> = act(&control, &caller, Verb::LedgerBackup, "the book".to_owned(), async {
        let Backup { head, view } = ask(&control, |reply| DeskMessage::Backup { reply }).await?;
        let head = BackupHead { cluster: control.config.cluster.name.clone(), ..head };
        begun = Some((head.clone(), view));
        let after = format!("a copy of {} transfers at position {} was given", head.transfers, head.position);
        Ok(Done { answer: head, before: String::new(), after })
    })
    .await?;
    let Some((head, view)) = begun else { return Err(ApiError::failure("no backup was begun")) };
    let (pieces, given) = mpsc::channel(PIECES_MAX);
    let env = control.env.clone();
    let work = move || {
        let mut out = Pieces { pieces, piece: Vec::with_capacity(PIECE_BYTES) };
        write_backup(&head, &mut out, view)?;
        out.flush()
    };
    let written: Written = Box::pin(async move { env.blocking(work).await.flatten() });
    let body = stream::unfold(Flow { written: Some(written), given }, Flow::next);
    Ok(([(CONTENT_TYPE, "application/octet-stream")], Body::from_stream(body)).into_response())
}

type Written = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// The work and what it hands on. Whoever goes away drops both, and the work ends at its next piece.
struct Flow {
    /// `None` where it has ended.
    written: Option<Written>,
    given: mpsc::Receiver<Bytes>,
}

impl Flow {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        while let Some(written) = &mut self.written {
            tokio::select! {
                biased;
                Some(piece) = self.given.recv() => return Some((Ok(piece), self)),
                outcome = written => {
                    self.written = None;
                    if let Err(error) = outcome {
                        tracing::warn!(%error, "a backup was cut off");
                        return Some((Err(error), self));
                    }
                }
            }
        }
        let piece = self.given.recv().await?;
        Some((Ok(piece), self))
    }
}

/// Cuts what is written into pieces and hands them on.
struct Pieces {
    pieces: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
}

impl Pieces {
    fn hand_on(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        self.pieces.blocking_send(piece.into()).map_err(|_| io::Error::other("nobody reads it any more"))
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.hand_on()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() { Ok(()) } else { self.hand_on() }
    }
}
