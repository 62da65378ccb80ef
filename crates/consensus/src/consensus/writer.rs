//! Puts the commands that wait into entries.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::error::ClientWriteError;
use openraft::raft::ClientWriteResult;
use tokio::sync::{Semaphore, mpsc};

use covenant_env::Tasks;
use covenant_types::{NodeId, Uptime, WallTime};

use super::clock::LeaderClock;
use super::{Engine, Shared, Write, WriteError, keeper};
use crate::replicated::Replicated;
use crate::types::{Batch, Types};

/// The most commands in one entry, and bytes at which an entry is closed.
const BATCH_COMMANDS_MAX: usize = 1024;
const BATCH_BYTES: usize = 1024 * 1024;
/// Entries under way at a time. While they are, commands wait together for the next one.
const ENTRIES_UNDER_WAY_MAX: usize = 4;
/// How long a disk that had room is believed to. What is written meanwhile is a part of the reserve.
pub(crate) const ROOM_BELIEVED_FOR: Duration = Duration::from_millis(100);

/// When the disk last had room. Asking it for each entry would be a blocking call for each.
#[derive(Debug, Default)]
struct Room(Option<Uptime>);

/// Takes what waits until nobody can send any more.
pub(super) async fn run<R: Replicated>(shared: Arc<Shared<R>>, mut waiting: mpsc::Receiver<Write>) {
    let places = Arc::new(Semaphore::new(ENTRIES_UNDER_WAY_MAX));
    let (mut clock, mut room) = (LeaderClock::default(), Room::default());
    let mut under_way = Tasks::new(shared.env.system.clone(), ENTRIES_UNDER_WAY_MAX * 2);
    while let Ok(permit) = places.clone().acquire_owned().await {
        let Some(first) = waiting.recv().await else { return };
        let (mut bytes, mut commands, mut writers) =
            (first.command.bytes.len(), vec![first.command], vec![first.answer]);
        while commands.len() < BATCH_COMMANDS_MAX && bytes < BATCH_BYTES {
            let Ok(next) = waiting.try_recv() else { break };
            bytes += next.command.bytes.len();
            commands.push(next.command);
            writers.push(next.answer);
        }
        let sent = match may_write(&shared, &mut room).await {
            Ok(engine) => {
                let at = stamp(&shared, &engine, &mut clock);
                engine.raft.client_write_ff(Batch { at, commands }).await.map_err(|_| WriteError::Unknown)
            }
            Err(refused) => Err(refused),
        };
        match sent {
            Ok(outcome) => {
                let (shared, began) = (shared.clone(), shared.env.now());
                let answered = async move {
                    let answers = outcome.await.map_err(|_| WriteError::Unknown).and_then(answers_of);
                    let took = shared.env.now().since(began).as_micros();
                    shared.entry_took.store(u64::try_from(took).unwrap_or(u64::MAX), Ordering::Relaxed);
                    answer(writers, answers);
                    drop(permit);
                };
                // There is room: each task holds a permit for almost all of its life.
                if !under_way.spawn(answered) {
                    tracing::warn!("more entries are under way than may be; their writers are told that it is unknown");
                }
            }
            Err(refused) => answer(writers, Err(refused)),
        }
    }
}

/// Whether it makes sense to begin an entry now. Before it is begun a refusal is certain, and says so.
async fn may_write<R: Replicated>(shared: &Arc<Shared<R>>, room: &mut Room) -> Result<Engine, WriteError> {
    let engine = shared.engine().ok_or(WriteError::Stopped)?;
    {
        let metrics = engine.raft.metrics();
        let metrics = metrics.borrow();
        if !metrics.state.is_leader() {
            // An engine that is behind its own metrics says it again.
            return Err(WriteError::NotLeader { leader: metrics.current_leader.map(NodeId::from) });
        }
        let silent = u128::from(metrics.millis_since_quorum_ack.unwrap_or(0));
        if silent > shared.config.election_timeout.as_millis() * 2 {
            return Err(WriteError::NoQuorum);
        }
    }
    if room.is_there(shared).await { Ok(engine) } else { Err(WriteError::DiskFull) }
}

impl Room {
    async fn is_there<R: Replicated>(&mut self, shared: &Arc<Shared<R>>) -> bool {
        let now = shared.env.now();
        if self.0.is_some_and(|seen| now.since(seen) < ROOM_BELIEVED_FOR) {
            return true;
        }
        self.0 = keeper::has_room(shared).await.then_some(now);
        self.0.is_some()
    }
}

/// The time of an entry that is begun now.
fn stamp<R>(shared: &Shared<R>, engine: &Engine, clock: &mut LeaderClock) -> WallTime {
    let (term, applied) = (engine.raft.metrics().borrow().current_term, engine.time.load(Ordering::Relaxed));
    clock.stamp(term, shared.env.now(), shared.env.wall(), WallTime(applied))
}

fn answers_of(outcome: ClientWriteResult<Types>) -> Result<Vec<Vec<u8>>, WriteError> {
    match outcome {
        Ok(response) => Ok(response.data.0),
        Err(ClientWriteError::ForwardToLeader(forward)) => {
            Err(WriteError::NotLeader { leader: forward.leader_id.map(NodeId::from) })
        }
        Err(ClientWriteError::ChangeMembershipError(_)) => Err(WriteError::Unknown),
    }
}

fn answer(
    writers: Vec<tokio::sync::oneshot::Sender<Result<Vec<u8>, WriteError>>>,
    answers: Result<Vec<Vec<u8>>, WriteError>,
) {
    // A writer that waits no more knows that the outcome is unknown to it.
    match answers {
        Ok(answers) => writers.into_iter().zip(answers).for_each(|(writer, answer)| drop(writer.send(Ok(answer)))),
        Err(refused) => writers.into_iter().for_each(|writer| drop(writer.send(Err(refused.clone())))),
    }
}
