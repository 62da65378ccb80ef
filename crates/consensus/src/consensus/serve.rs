//! Answers other members.

use std::sync::Arc;

use covenant_types::NodeId;
use openraft::raft::AppendEntriesResponse;
use openraft::storage::Snapshot;

use super::{DISK_RESERVE_BYTES, Engine, Shared};
use crate::message::{Piece, Request, Response};
use crate::replicated::Replicated;
use crate::snapshot::{Meta, SnapshotFile};

/// A snapshot that a leader sends.
pub(super) struct Receiving {
    meta: Meta,
    file: SnapshotFile,
    /// Where the next piece goes.
    next: u64,
}

pub(super) async fn serve<R: Replicated>(shared: &Arc<Shared<R>>, from: NodeId, request: &[u8]) -> Response {
    let Ok(_permit) = shared.serving.try_acquire() else { return refused("too many requests are served already") };
    let request = match Request::decode(request) {
        Ok(request) => request,
        Err(error) => return Response::Refused(format!("not a request: {error}")),
    };
    // Leaders and candidates speak for themselves alone.
    if NodeId::from(request.sender()) != from {
        return refused("a request in the name of another node");
    }
    let Some(engine) = shared.engine() else { return refused("this node takes no part now") };
    let response = match request {
        Request::Append(request) => {
            engine.raft.append_entries(request).await.map(Response::Append).map_err(|e| e.to_string())
        }
        Request::Vote(request) => engine.raft.vote(request).await.map(Response::Vote).map_err(|e| e.to_string()),
        Request::Piece(piece) => take_piece(shared, &engine, piece).await,
    };
    let response = response.unwrap_or_else(Response::Refused);
    let heard = match &response {
        Response::Append(response) => !matches!(response, AppendEntriesResponse::HigherVote(_)),
        Response::Vote(response) => response.vote_granted,
        Response::Piece(_) => true,
        Response::Refused(_) => false,
    };
    if heard {
        *shared.heard.lock() = shared.env.now();
    }
    response
}

/// Puts a piece where it belongs, and the snapshot in force with its last one. A sender that is told no begins again.
async fn take_piece<R: Replicated>(shared: &Arc<Shared<R>>, engine: &Engine, piece: Piece) -> Result<Response, String> {
    let known = engine.raft.metrics().borrow().vote;
    if known > piece.vote {
        return Ok(Response::Piece(known));
    }
    // One snapshot at a time; a second sender is told to come back.
    let mut receiving = engine.receiving.try_lock().map_err(|_| "another piece is being taken".to_owned())?;
    if piece.at == 0 {
        let file = *engine.raft.begin_receiving_snapshot().await.map_err(|error| error.to_string())?;
        *receiving = Some(Receiving { meta: piece.meta.clone(), file, next: 0 });
    }
    let expected = |receiving: &&mut Receiving| receiving.meta == piece.meta && receiving.next == piece.at;
    let current = receiving.as_mut().filter(expected).ok_or("this piece does not follow the one before")?;
    let (file, disk, length) = (current.file.clone(), shared.disk.clone(), piece.bytes.len() as u64);
    let written = shared.env.blocking(move || {
        if disk.free_bytes()? < DISK_RESERVE_BYTES {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        file.write(piece.at, &piece.bytes)
    });
    written.await.flatten().map_err(|error| error.to_string())?;
    current.next += length;
    if !piece.last {
        return Ok(Response::Piece(piece.vote));
    }
    let Some(Receiving { meta, file, .. }) = receiving.take() else { return Err("no snapshot is received".into()) };
    // A damaged one would stop the engine when it installs it.
    let checked = file.clone();
    let found = shared.env.blocking(move || checked.check(|_| Ok(()))).await.map_err(|error| error.to_string())?;
    if found.map_err(|error| error.to_string())? != meta {
        return Err("the snapshot is not the one that was announced".into());
    }
    let installed = engine.raft.install_full_snapshot(piece.vote, Snapshot { meta, snapshot: Box::new(file) }).await;
    installed.map(|response| Response::Piece(response.vote)).map_err(|error| error.to_string())
}

fn refused(why: &str) -> Response {
    Response::Refused(why.to_owned())
}
