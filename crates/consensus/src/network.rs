//! The way to other voters: a trait for whoever carries bytes, and what the engine sends over it.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use covenant_env::Env;
use covenant_types::{NodeId, Uptime};
use futures_util::FutureExt;
use openraft::error::{
    Fatal, NetworkError, PayloadTooLarge, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::storage::Snapshot;
use openraft::{AnyError, OptionalSend, StorageIOError};

use crate::log::Durable;
use crate::message::{Envelope, Lane, PIECE_BYTES_MAX, Piece, REQUEST_BYTES_MAX, Request, Response};
use crate::types::{Instance, LogId, Member, StorageError, Types, Vote, VoterId};

/// A call under way.
pub type Call<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, Unreached>> + Send + 'a>>;

/// Carries requests to other nodes of a group, which answer them with [`Consensus::serve`](crate::Consensus::serve).
/// [`Groups`](crate::Groups) has one over the connections of a node.
///
/// Who carries proves to both sides who the other is, and keeps [`Lane`]s apart. A call ends by itself: whoever makes it
/// gives it a time, and drops it then.
pub trait Network: fmt::Debug + Send + Sync + 'static {
    /// Sends `request` of at most [`REQUEST_BYTES_MAX`] bytes and brings the answer, of at most
    /// [`RESPONSE_BYTES_MAX`](crate::RESPONSE_BYTES_MAX).
    fn call(&self, to: NodeId, lane: Lane, request: Vec<u8>) -> Call<'_>;
}

/// A request that was not answered. Where it was sent, whether it was done is not known.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{to} was not reached: {why}")]
pub struct Unreached {
    /// Who was asked.
    pub to: NodeId,
    /// What went wrong.
    pub why: String,
    /// Whether any of it may have been sent. Where not, nothing was done.
    pub sent: bool,
}

/// Gives the engine a way to each member.
#[derive(Clone, Debug)]
pub(crate) struct Ways {
    pub(crate) network: Arc<dyn Network>,
    pub(crate) env: Env,
    /// The instance of our own folder.
    pub(crate) instance: Instance,
    /// How long a node that was not reached is left alone.
    pub(crate) pause: Duration,
    /// Up to where our log is on disk: what is beyond is not said to be committed.
    pub(crate) durable: Durable,
}

/// How long after an answer a follower is not asked again only to tell it what is committed, where entries that it lacks will
/// tell it at once. The engine takes it for answered then, and so its quorum for younger than it is, by so much at most.
pub(crate) const SPARED_FOR: Duration = Duration::from_millis(20);

/// The way to one member.
#[derive(Debug)]
pub(crate) struct Way {
    to: VoterId,
    /// The folder that the membership says it has.
    instance: Instance,
    /// Up to where it said that it has our log.
    matched: Option<LogId>,
    /// When it last took entries or a heartbeat.
    answered: Option<Uptime>,
    ways: Ways,
}

impl RaftNetworkFactory<Types> for Ways {
    type Network = Way;

    async fn new_client(&mut self, to: VoterId, node: &Member) -> Way {
        Way { to, instance: node.instance, matched: None, answered: None, ways: self.clone() }
    }
}

impl Way {
    fn sealed(&self, request: Request) -> Vec<u8> {
        Envelope { from: self.ways.instance, to: self.instance, request }.encode()
    }

    async fn ask(&self, lane: Lane, request: Vec<u8>, within: Duration) -> Result<Response, Unreachable> {
        let to = NodeId::from(self.to);
        let unreached = |why: String| Unreachable::new(&Unreached { to, why, sent: true });
        let answer = tokio::time::timeout(within, self.ways.network.call(to, lane, request)).await;
        let answer = answer.map_err(|_| unreached(format!("no answer within {within:?}")))?;
        let answer = answer.map_err(|error| Unreachable::new(&error))?;
        let response = Response::decode(&answer).map_err(|error| unreached(format!("its answer is none: {error}")))?;
        if let Response::Refused(why) = response { Err(unreached(why)) } else { Ok(response) }
    }

    fn took(&mut self, upto: Option<LogId>) {
        self.matched = self.matched.max(upto);
        self.answered = Some(self.ways.env.now());
    }

    /// Whether an empty request after `prev` can be left out. The engine sends one for each commit and waits for its answer,
    /// and the entries that came meanwhile wait with it.
    fn is_spared(&self, prev: Option<LogId>) -> bool {
        let now = self.ways.env.now();
        let lately = self.answered.is_some_and(|answered| now.since(answered) < SPARED_FOR);
        lately && self.ways.durable.log_goes_on_after(prev)
    }

    /// An answer to something else than was asked.
    fn strange<E: std::error::Error>(&self) -> RPCError<VoterId, Member, E> {
        let why = "it answered something else than was asked".to_owned();
        RPCError::Unreachable(Unreachable::new(&Unreached { to: self.to.into(), why, sent: true }))
    }
}

impl RaftNetwork<Types> for Way {
    async fn append_entries(
        &mut self,
        mut rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<VoterId>, RPCError<VoterId, Member, RaftError<VoterId>>> {
        let entries = rpc.entries.len() as u64;
        // A heartbeat waits behind no entries of another group.
        let lane = if entries == 0 { Lane::Vote } else { Lane::Log };
        let (last, prev) = (rpc.entries.last().map(|entry| entry.log_id), rpc.prev_log_id);
        if rpc.entries.is_empty() && self.is_spared(rpc.prev_log_id) {
            return Ok(AppendEntriesResponse::Success);
        }
        rpc.leader_commit = self.ways.durable.clip(rpc.leader_commit);
        let request = self.sealed(Request::Append(rpc));
        if request.len() > REQUEST_BYTES_MAX {
            return Err(PayloadTooLarge::new_entries_hint((entries / 2).max(1)).into());
        }
        let Response::Append(response) = self.ask(lane, request, option.hard_ttl()).await? else {
            return Err(self.strange());
        };
        match response {
            AppendEntriesResponse::Success => self.took(last.or(prev)),
            AppendEntriesResponse::PartialSuccess(upto) => self.took(upto),
            // What it had on disk it has no more. Who gave a promise and forgot it is not asked for another one.
            AppendEntriesResponse::Conflict if prev.is_some() && prev <= self.matched => {
                let why = "its log went back behind what it had on disk: its folder is an old copy; remove it from the \
                           group, empty its folder, and add it again";
                tracing::error!(node = %NodeId::from(self.to), why, "a member is not sent entries any more");
                return Err(
                    Unreachable::new(&Unreached { to: self.to.into(), why: why.to_owned(), sent: false }).into()
                );
            }
            AppendEntriesResponse::Conflict | AppendEntriesResponse::HigherVote(_) => {}
        }
        Ok(response)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<VoterId>,
        option: RPCOption,
    ) -> Result<VoteResponse<VoterId>, RPCError<VoterId, Member, RaftError<VoterId>>> {
        let asked = self.ask(Lane::Vote, self.sealed(Request::Vote(rpc)), option.hard_ttl()).await?;
        if let Response::Vote(response) = asked { Ok(response) } else { Err(self.strange()) }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<Types>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<VoterId>, StreamingError<Types, Fatal<VoterId>>> {
        let mut cancel = pin!(cancel);
        let mut at = 0;
        loop {
            if let Some(closed) = cancel.as_mut().now_or_never() {
                return Err(closed.into());
            }
            let file = snapshot.snapshot.clone();
            let read = self.ways.env.blocking(move || Ok((file.read(at, PIECE_BYTES_MAX)?, file.bytes()?)));
            let failed = |error: std::io::Error| StorageIOError::read_snapshot(None, AnyError::new(&error));
            let (bytes, all) = read.await.flatten().map_err(failed).map_err(StorageError::from)?;
            let (next, meta) = (at + bytes.len() as u64, snapshot.meta.clone());
            let last = next == all;
            let request = self.sealed(Request::Piece(Piece { vote, meta, at, bytes, last }));
            let Response::Piece(answered) = self.ask(Lane::Snapshot, request, option.hard_ttl()).await? else {
                return Err(NetworkError::new(&self.strange::<Fatal<VoterId>>()).into());
            };
            if last || answered > vote {
                return Ok(SnapshotResponse::new(answered));
            }
            at = next;
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(self.ways.pause))
    }
}
