//! Answers other nodes.

use std::sync::Arc;
use std::time::Duration;

use openraft::raft::AppendEntriesResponse;
use openraft::storage::Snapshot;

use super::{Consensus, DISK_RESERVE_BYTES, Engine, ReadError, Shared, Staleness, WriteError};
use crate::gate::{Known, Offence, Sender};
use crate::message::{Envelope, Label, Not, Piece, Request, Response, Said, Says, Who};
use crate::replicated::Replicated;
use crate::snapshot::{Meta, SnapshotFile};
use crate::types::VoterId;

/// A snapshot that a leader sends.
pub(super) struct Receiving {
    meta: Meta,
    file: SnapshotFile,
    /// Where the next piece goes.
    next: u64,
}

pub(super) async fn serve<R: Replicated>(member: &Consensus<R>, from: Sender, request: &[u8]) -> Response {
    let shared = &member.shared;
    let Ok(label) = Label::read(request) else { return offend(shared, from, Offence::Malformed) };
    let asks = label.says == Says::Asks;
    let Some(engine) = shared.engine() else { return refuse(asks, "this node takes no part now") };
    if let Err(offence) = admit(shared, &engine, from, &label) {
        return offend(shared, from, offence);
    }
    let room = if asks { &shared.asking } else { &shared.serving };
    let Ok(_permit) = room.try_acquire() else {
        return if asks { busy(shared) } else { refuse(asks, "too many requests are served already") };
    };
    let Ok(Envelope { request, .. }) = Envelope::decode(request) else {
        return offend(shared, from, Offence::Malformed);
    };
    let response = match request {
        Request::Append(request) => {
            engine.raft.append_entries(request).await.map(Response::Append).map_err(|e| e.to_string())
        }
        Request::Vote(request) => engine.raft.vote(request).await.map(Response::Vote).map_err(|e| e.to_string()),
        Request::Piece(piece) => take_piece(shared, &engine, piece).await,
        Request::Who => Ok(who(shared, &engine)),
        Request::Submit { id, bytes } => {
            return match R::admits(from, &bytes) {
                Ok(()) => submit(member, id, bytes).await,
                Err(why) => Response::Not(Not::Never(why)),
            };
        }
        Request::Query { linearizable, bytes } => return query(member, linearizable, &bytes).await,
    };
    let response = response.unwrap_or_else(Response::Refused);
    let heard = match &response {
        Response::Append(response) => !matches!(response, AppendEntriesResponse::HigherVote(_)),
        Response::Vote(response) => response.vote_granted,
        Response::Piece(_) => true,
        Response::Refused(_) | Response::Who(_) | Response::Applied(_) | Response::Said(_) | Response::Not(_) => false,
    };
    if heard {
        *shared.heard.lock() = shared.env.now();
    }
    response
}

/// Whether a request may be looked at.
fn admit<R>(shared: &Shared<R>, engine: &Engine, from: Sender, label: &Label) -> Result<(), Offence> {
    let members = engine.raft.metrics().borrow().membership_config.clone();
    let vouched = shared.vouched.read();
    let known = Known {
        me: shared.instance,
        members: &members,
        vouched: vouched.as_ref(),
        first: &shared.first_voters.read(),
        askers: &shared.config.askers,
    };
    known.judge(from, label)
}

fn offend<R>(shared: &Shared<R>, from: Sender, offence: Offence) -> Response {
    shared.intruders.note(shared.env.now(), from, offence);
    if offence == Offence::Stranger {
        shared.doubt.notify_one();
    }
    let asks = offence == Offence::MayNotAsk;
    if asks { Response::Not(Not::Never(offence.explain().to_owned())) } else { refuse(asks, offence.explain()) }
}

fn who<R>(shared: &Shared<R>, engine: &Engine) -> Response {
    let metrics = engine.raft.metrics();
    let metrics = metrics.borrow();
    let members = metrics.membership_config.as_ref().clone();
    Response::Who(Who { instance: shared.instance, leader: metrics.current_leader, members })
}

async fn submit<R: Replicated>(member: &Consensus<R>, id: u128, bytes: Vec<u8>) -> Response {
    Response::Not(match member.write(id, bytes).await {
        Ok(answer) => return Response::Applied(answer),
        Err(WriteError::NotLeader { leader }) => Not::Leader(leader.map(VoterId::from)),
        Err(WriteError::Busy { retry_after }) => Not::Busy { retry_after_ms: millis(retry_after) },
        Err(WriteError::Unknown) => Not::Unknown,
        Err(never @ WriteError::TooLong(_)) => Not::Never(never.to_string()),
        Err(unable @ (WriteError::NoQuorum | WriteError::DiskFull | WriteError::Stopped)) => {
            Not::Unable(unable.to_string())
        }
    })
}

async fn query<R: Replicated>(member: &Consensus<R>, linearizable: bool, question: &[u8]) -> Response {
    let (answer, staleness) = if linearizable {
        match member.read_linearizable(|state| state.query(question)).await {
            Ok(answer) => (answer, Staleness { age: Duration::ZERO, ..member.staleness() }),
            Err(ReadError::NotLeader { leader }) => return Response::Not(Not::Leader(leader.map(VoterId::from))),
            Err(unable @ (ReadError::NoQuorum | ReadError::Stopped)) => {
                return Response::Not(Not::Unable(unable.to_string()));
            }
        }
    } else {
        member.read_stale_at(|state| state.query(question))
    };
    match answer {
        Ok(bytes) => Response::Said(Said { bytes, position: staleness.position, age_ms: millis(staleness.age) }),
        Err(why) => Response::Not(Not::Never(why)),
    }
}

fn busy<R>(shared: &Shared<R>) -> Response {
    Response::Not(Not::Busy { retry_after_ms: millis(shared.retry_after()) })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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

fn refuse(asks: bool, why: &str) -> Response {
    if asks { Response::Not(Not::Unable(why.to_owned())) } else { Response::Refused(why.to_owned()) }
}
