//! Asks a group from any node of the cluster, member or not, until there is an answer or the time is over.
//!
//! # Intuition
//! Whoever does not lead says who does, as far as it knows; whoever has too much to do says when to come again; whoever does not
//! answer may have done it all the same. So a command keeps its id through all tries: however often it arrives, the group
//! applies it once and repeats its answer. Tries follow hints at once, and wait otherwise, longer each time and never as
//! long as others do. Who did not answer is not asked again on the word of those who have not noticed yet, only in its turn.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use covenant_types::NodeId;
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;

use crate::codec::MEMBERS_MAX;
use crate::consensus::{COMMAND_BYTES_MAX, Staleness};
use crate::gate::Sender;
use crate::message::{Envelope, Lane, Not, Request, Response, Said};
use crate::network::Network;
use crate::plane::Groups;
use crate::types::Instance;

/// The longest one node is waited for before another one is asked.
pub const TRY_WITHIN: Duration = Duration::from_secs(1);
/// Hints that are followed in a row without a pause: after that those who hint do not know.
pub const HINTS_MAX: u32 = 3;
/// The pause after a first try that came to nothing: a random part of it, and of twice as much each time, up to the longest.
pub const PAUSE: Duration = Duration::from_millis(20);
/// The longest pause.
pub const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What a reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// All that was answered to anybody before the question is in the answer. Costs the leader a round to a majority.
    Linearizable,
    /// What the node that is asked has; see [`Answer::staleness`].
    Stale,
}

/// An answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The application's words.
    pub bytes: Vec<u8>,
    /// How far behind it may be. The age of one that was asked for as linearizable is zero.
    pub staleness: Staleness,
}

/// Asks one group. Make it with [`Groups::client`].
pub struct GroupClient {
    name: String,
    groups: Groups,
    network: Arc<dyn Network>,
    me: Sender,
    known: Mutex<Known>,
    random: Mutex<StdRng>,
}

/// Whom there is to ask.
#[derive(Debug)]
struct Known {
    nodes: Vec<NodeId>,
    /// Who led last, as far as is known.
    leader: Option<NodeId>,
    /// Whose turn it is where that is not known.
    turn: usize,
}

/// How one try ended.
enum Tried {
    Done(Response),
    /// Another node leads.
    Hint(Option<NodeId>),
    /// Nothing was done.
    NotDone {
        why: String,
        retry_after: Duration,
    },
    /// It may have been done.
    Unknown(String),
}

impl fmt::Debug for GroupClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupClient({} on {})", self.name, self.me.node)
    }
}

impl Groups {
    /// Asks the group `name` in the name of this node, `me`. `voters` are some of those to ask; more are learned from them. Where
    /// this node is a member itself, it is asked first.
    ///
    /// # Panics
    /// As [`network`](Self::network).
    pub fn client(&self, name: &str, me: Sender, voters: &BTreeSet<NodeId>) -> GroupClient {
        let nodes = voters.iter().copied().take(MEMBERS_MAX).collect();
        let random = self.env().random.derive(&format!("consensus client {name}"));
        GroupClient {
            name: name.to_owned(),
            groups: self.clone(),
            network: self.network(name),
            me,
            known: Mutex::new(Known { nodes, leader: None, turn: 0 }),
            random: Mutex::new(random),
        }
    }
}

impl GroupClient {
    /// Has the command applied once, however often it has to be sent, and gives back the application's answer.
    ///
    /// # Errors
    /// See [`SubmitError`]; [`SubmitError::Deadline`] says whether it may have been applied.
    ///
    /// # Cancel safety
    /// The command may be applied after the future was dropped.
    pub async fn submit(&self, id: u128, bytes: Vec<u8>, within: Duration) -> Result<Vec<u8>, SubmitError> {
        if bytes.len() > COMMAND_BYTES_MAX {
            return Err(SubmitError::Never(format!("{} bytes are more than a command may have", bytes.len())));
        }
        let response = self.ask(Request::Submit { id, bytes }, None, within).await?;
        if let Response::Applied(answer) = response { Ok(answer) } else { Err(strange(&response)) }
    }

    /// Asks the application a question.
    ///
    /// # Errors
    /// See [`SubmitError`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn query(
        &self,
        question: Vec<u8>,
        freshness: Freshness,
        within: Duration,
    ) -> Result<Answer, SubmitError> {
        let linearizable = freshness == Freshness::Linearizable;
        // Whoever is nearest may answer what may be stale.
        let first = (!linearizable && self.groups.group(&self.name).is_some()).then_some(self.me.node);
        let response = self.ask(Request::Query { linearizable, bytes: question }, first, within).await?;
        let Response::Said(Said { bytes, position, age_ms }) = response else { return Err(strange(&response)) };
        let age = if linearizable { Duration::ZERO } else { Duration::from_millis(age_ms) };
        Ok(Answer { bytes, staleness: Staleness { position, age } })
    }

    /// Asks among these from now on, beside whom the group itself names: those who may be members and can be reached.
    pub fn ask_among(&self, nodes: &[NodeId]) {
        let mut known = self.known.lock();
        known.nodes = nodes.iter().copied().take(MEMBERS_MAX).collect();
    }

    /// Who led when last an answer came, as far as is known.
    pub fn leader(&self) -> Option<NodeId> {
        self.known.lock().leader
    }

    async fn ask(&self, request: Request, first: Option<NodeId>, within: Duration) -> Result<Response, SubmitError> {
        let deadline = self.groups.env().now().after(within);
        let request = Envelope { from: Instance::default(), to: Instance::default(), request }.encode();
        let (mut next, mut hints, mut tries, mut maybe_applied) = (first, 0, 0u32, false);
        let (mut last, mut silent) = ("nobody to ask is known".to_owned(), None);
        loop {
            let left = deadline.since(self.groups.env().now());
            if left.is_zero() {
                return Err(SubmitError::Deadline { within, maybe_applied, last });
            }
            let node = next.take().or_else(|| self.pick());
            let tried = match node {
                Some(node) => self.ask_one(node, &request, left.min(TRY_WITHIN)).await,
                None => Tried::NotDone { why: last.clone(), retry_after: Duration::ZERO },
            };
            let mut pause = self.pause(tries);
            match tried {
                Tried::Done(Response::Not(Not::Never(why))) => return Err(SubmitError::Never(why)),
                Tried::Done(response) => {
                    self.known.lock().leader = node;
                    return Ok(response);
                }
                Tried::Hint(leader) => {
                    let leader = leader.filter(|leader| silent != Some(*leader));
                    last = "no leader is known".to_owned();
                    self.learn(leader);
                    if leader.is_some() && leader != node && hints < HINTS_MAX {
                        (next, hints) = (leader, hints + 1);
                        continue;
                    }
                }
                Tried::NotDone { why, retry_after } => {
                    (last, pause) = (why, pause.max(retry_after));
                    self.forget_leader(node);
                }
                Tried::Unknown(why) => {
                    (last, maybe_applied, silent) = (why, true, node);
                    self.forget_leader(node);
                }
            }
            (hints, tries) = (0, tries.saturating_add(1));
            tokio::time::sleep(pause.min(deadline.since(self.groups.env().now()))).await;
        }
    }

    async fn ask_one(&self, node: NodeId, request: &[u8], within: Duration) -> Tried {
        let local = self.groups.group(&self.name).filter(|_| node == self.me.node);
        let asked = async {
            match local {
                Some(group) => Ok(group.serve(self.me, request).await),
                None => self.network.call(node, Lane::Client, request.to_vec()).await,
            }
        };
        let answer = match tokio::time::timeout(within, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if !error.sent => {
                return Tried::NotDone { why: error.to_string(), retry_after: Duration::ZERO };
            }
            Ok(Err(error)) => return Tried::Unknown(error.to_string()),
            Err(_) => return Tried::Unknown(format!("{node} did not answer within {within:?}")),
        };
        match Response::decode(&answer) {
            Ok(Response::Not(Not::Leader(leader))) => Tried::Hint(leader.map(NodeId::from)),
            Ok(Response::Not(Not::Busy { retry_after_ms })) => {
                let retry_after = Duration::from_millis(retry_after_ms);
                Tried::NotDone { why: format!("{node} has too much to do"), retry_after }
            }
            Ok(Response::Not(Not::Unknown)) => Tried::Unknown(format!("{node} lost sight of it")),
            Ok(Response::Not(Not::Unable(why)) | Response::Refused(why)) => {
                Tried::NotDone { why: format!("{node}: {why}"), retry_after: Duration::ZERO }
            }
            Ok(response) => Tried::Done(response),
            Err(error) => Tried::Unknown(format!("the answer of {node} is none: {error}")),
        }
    }

    /// Whom to ask next: who led last, this node where it is a member, then each in turn.
    fn pick(&self) -> Option<NodeId> {
        let mut known = self.known.lock();
        if let Some(leader) = known.leader {
            return Some(leader);
        }
        let turn = known.turn;
        known.turn = turn.wrapping_add(1);
        if turn == 0 && self.groups.group(&self.name).is_some() {
            return Some(self.me.node);
        }
        let place = turn.checked_rem(known.nodes.len())?;
        known.nodes.get(place).copied()
    }

    fn learn(&self, leader: Option<NodeId>) {
        let mut known = self.known.lock();
        known.leader = leader;
        if let Some(leader) = leader
            && !known.nodes.contains(&leader)
            && known.nodes.len() < MEMBERS_MAX
        {
            known.nodes.push(leader);
        }
    }

    fn forget_leader(&self, node: Option<NodeId>) {
        let mut known = self.known.lock();
        known.leader = known.leader.filter(|leader| Some(*leader) != node);
    }

    fn pause(&self, tries: u32) -> Duration {
        let longest = PAUSE.saturating_mul(1 << tries.min(10)).min(PAUSE_MAX);
        longest.mul_f64(self.random.lock().random_range(0.0..1.0))
    }
}

fn strange(response: &Response) -> SubmitError {
    SubmitError::Never(format!("something else was answered than was asked: {response:?}"))
}

/// Why a client has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The time is over.
    #[error(
        "no answer within {within:?} ({last}); {}",
        if *maybe_applied { "whether it was done is not known: send it again with the same id" } else { "nothing was done" }
    )]
    Deadline {
        /// How long that was.
        within: Duration,
        /// Whether it may have been done. Where it may, only the same id makes it sure that it is done once.
        maybe_applied: bool,
        /// What the last try came to.
        last: String,
    },
    /// Trying again changes nothing. Nothing was done.
    #[error("refused: {0}")]
    Never(String),
}
