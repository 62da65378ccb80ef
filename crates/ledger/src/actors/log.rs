//! `ledger.log`: keeps the public log of the ledger on a node that votes, and witnesses those of the other voters.
//!
//! One task of the actor goes round: it puts new commands into the log, signs it, has the other voters cosign it, and publishes
//! it. Requests of the others are answered beside it, so that no two nodes wait for each other.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use covenant_cluster::Cluster;
use covenant_env::Env;
use covenant_ledger_state::Reader;
use covenant_runtime::{Behaviour, Callers, Context, Exit, NoConfig, Ref, Remotable, Reply, StartError};
use covenant_tlog::{AddCheckpoint, Checkpoint, SignatureLine, SignedNote, VerifierKey, WriteError};
use covenant_types::{ActorPath, NodeId, NodeName, Role};
use futures_util::future::join_all;
use metrics::{Counter, Gauge};
use parking_lot::Mutex;

use super::LedgerConfig;
use crate::public_log::{CosignAnswer, Keeper, LogKeys, folder_of, log_name, quorum_of, witness_name};

/// Where the actor hangs in its node's tree.
pub(crate) const LOG_PATH: &str = "/ledger/log";
/// How often a node looks whether it votes.
const IDLE: Duration = Duration::from_secs(1);
/// How often it looks for new commands.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The least time from one checkpoint to the next.
const SIGN_EVERY: Duration = Duration::from_secs(1);
/// The pause after a round that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How long all witnesses together may take.
const COSIGN_WITHIN: Duration = Duration::from_secs(2);
/// How often one witness is asked for one checkpoint: it may say how far it is, and be behind a few times.
const ASKS_MAX: usize = 12;
/// The pause before a witness is asked again that was behind: followers hear of a commit with the next heartbeat.
const BEHIND_PAUSE: Duration = Duration::from_millis(100);
/// Pages of commands that are put into the log before it is asked whether that is still wanted.
const PAGES_AT_ONCE: usize = 16;
/// Rounds in a row that may end without enough witnesses before that is told of.
const UNWITNESSED_MAX: u32 = 30;

/// What a log is asked, by desks and by the logs of other voters.
#[derive(Debug, Remotable)]
#[remotable(name = "covenant.ledger.log/1")]
pub enum LogMessage {
    /// The keys of this node; `None` while it has no log.
    Keys {
        /// Where the answer goes. So for the request below.
        reply: Reply<Option<LogKeys>>,
    },
    /// Cosign a checkpoint of the log that asks.
    Cosign {
        /// An [`AddCheckpoint`] in its text form.
        request: String,
        /// Where the answer goes.
        reply: Reply<CosignAnswer>,
    },
}

/// Keeps the public log of a node that votes.
#[derive(Debug)]
pub struct Log(Arc<Rounds>);

/// What the task and the requests share.
struct Rounds {
    config: Arc<LedgerConfig>,
    cluster: Option<Arc<Cluster>>,
    env: Env,
    path: ActorPath,
    /// Opened when this node votes.
    keeper: tokio::sync::Mutex<Option<Arc<Mutex<Keeper>>>>,
    /// The other voters, as they were last.
    others: Mutex<BTreeMap<NodeName, Other>>,
    unwitnessed: Mutex<u32>,
    entries: Gauge,
    published: Counter,
    missed: Counter,
}

/// Another voter.
#[derive(Clone, Debug)]
struct Other {
    witness: VerifierKey,
    /// How many entries of this log it saw last.
    seen: u64,
}

impl Behaviour for Log {
    type Config = NoConfig;
    type Message = LogMessage;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        let config = ctx.resource::<LedgerConfig>()?;
        if !config.may_vote() {
            return Err(StartError::Ignore);
        }
        let rounds = |result| ctx.env().metrics.counter("covenant_ledger_log_rounds_total", &[("result", result)]);
        let shared = Arc::new(Rounds {
            config,
            cluster: ctx.resource::<Cluster>().ok(),
            env: ctx.env().clone(),
            path: LOG_PATH.parse().map_err(StartError::failed)?,
            keeper: tokio::sync::Mutex::new(None),
            others: Mutex::new(BTreeMap::new()),
            unwitnessed: Mutex::new(0),
            entries: ctx.env().metrics.gauge("covenant_ledger_log_entries", &[]),
            published: rounds("published"),
            missed: rounds("unwitnessed"),
        });
        ctx.expose_to(Callers::roles(&[Role::Hub, Role::Voter, Role::Tower]));
        ctx.spawn(shared.clone().go_on_for_ever()).map_err(StartError::failed)?;
        Ok(Self(shared))
    }

    fn kind(message: &LogMessage) -> &'static str {
        match message {
            LogMessage::Keys { .. } => "Keys",
            LogMessage::Cosign { .. } => "Cosign",
        }
    }

    async fn handle(&mut self, message: LogMessage, ctx: &Context<Self>) -> Result<(), Exit> {
        let rounds = self.0.clone();
        let refused = ctx.spawn(async move {
            match message {
                LogMessage::Keys { reply } => reply.send(rounds.config.own_keys()),
                LogMessage::Cosign { request, reply } => reply.send(rounds.cosign(request).await),
            }
        });
        if let Err(refused) = refused {
            tracing::warn!(%refused, "a request to the public log is turned away: too many wait");
        }
        Ok(())
    }
}

impl Rounds {
    async fn go_on_for_ever(self: Arc<Self>) {
        let own = format!("public log of {}", self.config.name);
        loop {
            let pause = match self.round().await {
                Ok(pause) => {
                    self.config.is_well(&own);
                    pause
                }
                Err(error) => {
                    self.config.is_troubled(own.clone(), format!("it does not go on: {}", chain_of(&error)));
                    AFTER_FAILURE
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Puts new commands into the log, and publishes it when enough others have cosigned it. Says when to go on.
    async fn round(&self) -> Result<Duration, RoundError> {
        let Some((reader, voters)) = self.config.reading().await else { return Ok(IDLE) };
        if !voters.contains(&self.config.me.node) {
            return Ok(IDLE);
        }
        let keeper = self.open().await?;
        let growing = keeper.clone();
        let grown = self.env.blocking(move || grow(&growing, &reader)).await.map_err(RoundError::Disk)?;
        let Grown { note, more, whole } = grown.map_err(RoundError::Write)?;
        if more {
            return Ok(Duration::ZERO);
        }
        let Some(note) = note else { return Ok(LOOK_EVERY) };
        let size = Checkpoint::parse(note.text()).map_or(0, |checkpoint| checkpoint.size);
        let lines = self.ask(&note, size, &voters).await;
        if lines.len() < quorum_of(voters.len()) {
            self.missed.increment(1);
            let mut missed = self.unwitnessed.lock();
            *missed = missed.saturating_add(1);
            if *missed == UNWITNESSED_MAX {
                let what = format!("{} of {} other voters cosign it", lines.len(), voters.len().saturating_sub(1));
                self.config.is_troubled(self.witnesses(), format!("{what}: it is not published until half of them do"));
            }
            return Ok(SIGN_EVERY);
        }
        let publishing = keeper.clone();
        let published = self.env.blocking(move || publishing.lock().publish(note, lines)).await;
        published.map_err(RoundError::Disk)?.map_err(RoundError::Write)?;
        self.published.increment(1);
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        self.entries.set(size as f64);
        *self.unwitnessed.lock() = 0;
        self.config.is_well(&self.witnesses());
        if whole {
            self.config.is_well(&keeper.lock().keys().log_name.to_string());
        }
        Ok(SIGN_EVERY)
    }

    fn witnesses(&self) -> String {
        format!("witnesses of {}", self.config.name)
    }

    async fn open(&self) -> Result<Arc<Mutex<Keeper>>, RoundError> {
        let mut slot = self.keeper.lock().await;
        if let Some(keeper) = slot.as_ref() {
            return Ok(keeper.clone());
        }
        let (folder, cluster) = (folder_of(self.config.folder()), self.config.cluster.clone());
        let name = self.config.name.clone();
        let opened = self.env.blocking(move || Keeper::open(&folder, &cluster, &name)).await;
        let (keeper, trouble) = opened.and_then(|opened| opened).map_err(RoundError::Disk)?;
        if let Some(trouble) = trouble {
            self.config.is_troubled(trouble.subject, trouble.what);
        }
        self.config.has_keys(keeper.keys().shown());
        let keeper = Arc::new(Mutex::new(keeper));
        *slot = Some(keeper.clone());
        Ok(keeper)
    }

    async fn cosign(&self, request: String) -> CosignAnswer {
        let (Some(keeper), Some((reader, _))) = (self.keeper.lock().await.clone(), self.config.reading().await) else {
            return CosignAnswer::Behind;
        };
        let time = self.env.wall().0;
        let cosigned = self.env.blocking(move || keeper.lock().cosign(&reader, &request, time)).await;
        let answer = match cosigned.and_then(|answer| answer) {
            Ok(answer) => answer,
            Err(error) => return CosignAnswer::Refused(format!("the disk of the witness refused: {error}")),
        };
        if let CosignAnswer::Differs { log, what } = &answer {
            self.config
                .is_troubled(log.clone(), format!("it was signed otherwise than agreed: {what}; keep its files"));
        }
        answer
    }

    /// Has the other voters cosign a checkpoint, all at once, and gives back what came in time.
    async fn ask(&self, note: &SignedNote, size: u64, voters: &BTreeSet<NodeId>) -> Vec<SignatureLine> {
        let me = self.config.me.node;
        let places = self.config.places.places();
        let others = places.iter().filter(|place| place.reachable && place.node != me && voters.contains(&place.node));
        let asked = others.map(|place| async {
            let asked = tokio::time::timeout(COSIGN_WITHIN, self.ask_one(&place.name, note, size)).await;
            asked.ok().flatten()
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn ask_one(&self, name: &NodeName, note: &SignedNote, size: u64) -> Option<SignatureLine> {
        let remote = self.cluster.as_ref()?.remote::<LogMessage>(name, &self.path);
        let mut other = self.other(name, &remote).await?;
        let keeper = self.keeper.lock().await.clone()?;
        for _ in 0..ASKS_MAX {
            if other.seen > size {
                return None;
            }
            let (proving, from) = (keeper.clone(), other.seen);
            let proof = self.env.blocking(move || proving.lock().proof(from)).await.ok().flatten()?;
            let request = AddCheckpoint { old_size: from, proof, checkpoint: note.clone() }.to_string();
            match remote.call(|reply| LogMessage::Cosign { request, reply }, COSIGN_WITHIN).await.ok()? {
                CosignAnswer::Cosigned(line) => {
                    let line: SignatureLine = line.parse().ok()?;
                    if other.witness.verify(note.text(), &line).is_none() {
                        self.others.lock().remove(name);
                        return None;
                    }
                    other.seen = size;
                    self.others.lock().insert(name.clone(), other);
                    return Some(line);
                }
                CosignAnswer::Conflict(seen) => other.seen = seen,
                CosignAnswer::Behind => tokio::time::sleep(BEHIND_PAUSE).await,
                CosignAnswer::Differs { log, what } => {
                    self.config.is_troubled(log, format!("{name} does not cosign it: {what}"));
                    return None;
                }
                CosignAnswer::Refused(what) => {
                    tracing::debug!(%name, what, "a witness does not cosign the public log");
                    // Its keys may be others now; they are asked for again.
                    self.others.lock().remove(name);
                    return None;
                }
            }
        }
        None
    }

    /// Another voter, whose keys are asked for where they are not known: it is who its certificate says.
    async fn other(&self, name: &NodeName, remote: &Ref<LogMessage>) -> Option<Other> {
        if let Some(other) = self.others.lock().get(name) {
            return Some(other.clone());
        }
        let keys = remote.call(|reply| LogMessage::Keys { reply }, COSIGN_WITHIN).await.ok().flatten()?;
        let (log, witness): (VerifierKey, VerifierKey) = (keys.log.parse().ok()?, keys.witness.parse().ok()?);
        let cluster = &self.config.cluster;
        if *log.name() != log_name(cluster, name).ok()? || *witness.name() != witness_name(cluster, name).ok()? {
            tracing::warn!(%name, "a voter has keys for the public log that bear another name");
            return None;
        }
        let keeper = self.keeper.lock().await.clone()?;
        keeper.lock().know(log).ok()?;
        let other = Other { witness, seen: 0 };
        self.others.lock().insert(name.clone(), other.clone());
        Some(other)
    }
}

/// What one call put into the log.
struct Grown {
    /// The checkpoint that waits for its witnesses.
    note: Option<SignedNote>,
    /// Whether there is more to put in first.
    more: bool,
    /// Whether all is there that was ever signed.
    whole: bool,
}

fn grow(keeper: &Mutex<Keeper>, reader: &Reader) -> Result<Grown, WriteError> {
    let mut keeper = keeper.lock();
    let mut more = true;
    for _ in 0..PAGES_AT_ONCE {
        more = keeper.grow(reader)?;
        if !more {
            break;
        }
    }
    Ok(Grown { note: keeper.unpublished(), more, whole: keeper.is_whole() })
}

/// Why a round ended early. The next one tries again.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("the disk refused")]
    Disk(#[source] io::Error),
    #[error("the log was not written")]
    Write(#[source] WriteError),
}

fn chain_of(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        said.push_str(": ");
        said.push_str(&cause.to_string());
        next = cause.source();
    }
    said
}

impl std::fmt::Debug for Rounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rounds").field("path", &self.path).finish_non_exhaustive()
    }
}
