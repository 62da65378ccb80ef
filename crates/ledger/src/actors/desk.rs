//! `ledger.desk`: takes requests on any node and brings them to the group that keeps the book.
//!
//! A request may take seconds while a leader is chosen or a link is bad, so requests are under way side by side, in one task
//! of the actor. What the desk says when no answer comes is exact: where nobody took the request nothing was booked; where
//! somebody may have, sending it again with the same id finds out.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use covenant_cluster::Cluster;
use covenant_consensus::{Answer, Freshness, GroupClient, SubmitError};
use covenant_env::Env;
use covenant_runtime::{Behaviour, Context, Exit, NoConfig, Ref, Reply, StartError, current_trace, traced};
use covenant_types::{ActorPath, Name, NodeId, NodeName, TraceId, TransferId};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use metrics::{Counter, Histogram};
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::mpsc;

use super::book::{BookMessage, CHANGE_WITHIN, VOTERS, VotersAnswer, VotersChange};
use super::config::GROUP;
use super::offline::OfflineMessage;
use super::{Backup, LedgerConfig, keys};
use crate::error::LedgerErrorKind;
use crate::order::{self, Wanted};
use crate::places::name_of;
use crate::question::{AccountText, Question, Said};
use crate::report::{Gathered, PAGES_MAX};
use crate::{
    Account, AsOf, AssessmentDone, Balances, CheckDone, ClosedDone, DistributionDone, ExportForm, ExportPage,
    LedgerError, LedgerKeys, LedgerStatus, Statement, Step, TransferDone, VotersDone, YearReport,
};

/// What a desk is asked, by callers of its own node.
#[derive(Debug)]
pub enum DeskMessage {
    /// Book what each nation owes for a year.
    Assess {
        /// The year.
        year: u16,
        /// Where the answer goes. So for every request below.
        reply: Reply<Result<AssessmentDone, LedgerError>>,
    },
    /// Book a profit, shared.
    Distribute {
        /// Dollars and cents.
        amount: String,
        /// The client's id.
        id: TransferId,
        /// Where the answer goes.
        reply: Reply<Result<DistributionDone, LedgerError>>,
    },
    /// Book one movement.
    Transfer {
        /// The client's id.
        id: TransferId,
        /// The account that gives.
        from: String,
        /// The account that gains.
        to: String,
        /// Dollars and cents.
        amount: String,
        /// The nation that a payment into a project concerns.
        nation: Option<String>,
        /// Where the answer goes.
        reply: Reply<Result<TransferDone, LedgerError>>,
    },
    /// Set money aside, post or free it, or put a movement right.
    Step {
        /// The client's id.
        id: TransferId,
        /// What is to happen.
        step: Step,
        /// Where the answer goes.
        reply: Reply<Result<TransferDone, LedgerError>>,
    },
    /// Close the books of the years up to one, for ever.
    Close {
        /// The last year to close.
        through: u16,
        /// Where the answer goes.
        reply: Reply<Result<ClosedDone, LedgerError>>,
    },
    /// What happened on an account.
    Statement {
        /// The account.
        account: String,
        /// The number of the transfer that the page begins at; 0 begins.
        from: u64,
        /// Where the answer goes.
        reply: Reply<Result<Statement, LedgerError>>,
    },
    /// Who gave and who received in a year.
    Report {
        /// The year.
        year: u16,
        /// Where the answer goes.
        reply: Reply<Result<YearReport, LedgerError>>,
    },
    /// A page of accounts.
    Balances {
        /// Where it begins; `None` begins at the first.
        from: Option<String>,
        /// Whether it may be behind.
        stale: bool,
        /// Where the answer goes.
        reply: Reply<Result<Balances, LedgerError>>,
    },
    /// Add it all up again.
    Check {
        /// Where the answer goes.
        reply: Reply<Result<CheckDone, LedgerError>>,
    },
    /// A part of the export.
    Export {
        /// The number of its first transfer; 0 begins.
        from: u64,
        /// What it is written for.
        form: ExportForm,
        /// Where the answer goes.
        reply: Reply<Result<ExportPage, LedgerError>>,
    },
    /// A backup of the book, from this node, with everything that was answered to anybody before.
    Backup {
        /// Where the answer goes.
        reply: Reply<Result<Backup, LedgerError>>,
    },
    /// The book in short.
    Status {
        /// Where the answer goes.
        reply: Reply<Result<LedgerStatus, LedgerError>>,
    },
    /// The keys of the public logs.
    Keys {
        /// Where the answer goes.
        reply: Reply<Result<LedgerKeys, LedgerError>>,
    },
    /// Change who keeps the book and votes.
    Voters {
        /// The change.
        change: VotersChange,
        /// Where the answer goes.
        reply: Reply<Result<VotersDone, LedgerError>>,
    },
    /// What devices do.
    Offline(OfflineMessage),
}

/// Takes requests on any node and brings them to the book.
#[derive(Debug)]
pub struct Desk(mpsc::Sender<Forwarded>);

/// A request on its way, with the trace it is part of.
type Forwarded = (Option<TraceId>, DeskMessage);

/// How long the group may take to answer a desk.
pub(super) const BOOK_WITHIN: Duration = Duration::from_secs(8);
/// How long it may take where none of the voters that are known can be reached.
const NEWCOMERS_WITHIN: Duration = Duration::from_secs(3);
/// How long it may take to tell how far it is.
const STATUS_WITHIN: Duration = Duration::from_secs(2);
/// Requests that one desk has under way at a time. More are turned away.
const UNDER_WAY_MAX: usize = 1024;
/// How often a change of voters is brought to another node that is said to lead.
const LEADERS_MAX: usize = 4;
/// Where the book hangs in its node's tree.
const BOOK_PATH: &str = "/ledger/book";

impl Behaviour for Desk {
    type Config = NoConfig;
    type Message = DeskMessage;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        let config = ctx.resource::<LedgerConfig>()?;
        let path: ActorPath = BOOK_PATH.parse().map_err(StartError::failed)?;
        let own = if config.may_vote() { Some(ctx.lookup(&path).map_err(StartError::failed)?) } else { None };
        let way = Way::new(config, ctx.resource::<Cluster>().ok(), (own, path), ctx.env().clone())?;
        let (sender, inbox) = mpsc::channel(UNDER_WAY_MAX);
        ctx.spawn(forward_for_ever(Arc::new(way), inbox)).map_err(StartError::failed)?;
        Ok(Self(sender))
    }

    fn kind(message: &DeskMessage) -> &'static str {
        match message {
            DeskMessage::Assess { .. } => "Assess",
            DeskMessage::Distribute { .. } => "Distribute",
            DeskMessage::Transfer { .. } => "Transfer",
            DeskMessage::Step { .. } => "Step",
            DeskMessage::Close { .. } => "Close",
            DeskMessage::Statement { .. } => "Statement",
            DeskMessage::Report { .. } => "Report",
            DeskMessage::Balances { .. } => "Balances",
            DeskMessage::Check { .. } => "Check",
            DeskMessage::Export { .. } => "Export",
            DeskMessage::Backup { .. } => "Backup",
            DeskMessage::Status { .. } => "Status",
            DeskMessage::Keys { .. } => "Keys",
            DeskMessage::Voters { .. } => "Voters",
            DeskMessage::Offline(message) => message.kind(),
        }
    }

    async fn handle(&mut self, message: DeskMessage, _: &Context<Self>) -> Result<(), Exit> {
        // Waiting here fills the mailbox, which makes callers wait: nothing grows without a bound.
        self.0.send((current_trace(), message)).await.map_err(|_| Exit::error("the task of the desk ended"))
    }
}

/// The way to the book.
pub(super) struct Way {
    pub(super) config: Arc<LedgerConfig>,
    client: GroupClient,
    /// Where there are other nodes.
    cluster: Option<Arc<Cluster>>,
    pub(super) env: Env,
    voters: Name,
    /// The book of this node, where it has one, and where it is on others.
    own: Option<Ref<BookMessage>>,
    path: ActorPath,
    ids: Mutex<StdRng>,
    requests: Counter,
    seconds: Histogram,
    /// Whether the book has this node's tables.
    adopted: tokio::sync::Mutex<bool>,
}

/// Has the requests under way side by side, for as long as the desk lives.
async fn forward_for_ever(way: Arc<Way>, mut inbox: mpsc::Receiver<Forwarded>) {
    let mut under_way: FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>> = FuturesUnordered::new();
    loop {
        tokio::select! {
            // What ends makes room for what waits.
            biased;
            Some(()) = under_way.next() => {}
            message = inbox.recv(), if under_way.len() < UNDER_WAY_MAX => match message {
                Some((trace, message)) => {
                    let way = way.clone();
                    under_way.push(Box::pin(traced(trace, async move { way.serve(message).await })));
                }
                None => return,
            },
        }
    }
}

impl Way {
    fn new(
        config: Arc<LedgerConfig>,
        cluster: Option<Arc<Cluster>>,
        (own, path): (Option<Ref<BookMessage>>, ActorPath),
        env: Env,
    ) -> Result<Self, StartError> {
        let client = config.groups.client(GROUP, config.me, &BTreeSet::new());
        let ids = Mutex::new(env.random.derive("ledger desk"));
        let requests = env.metrics.counter("covenant_ledger_requests_total", &[]);
        let seconds = env.metrics.histogram("covenant_ledger_commit_seconds", &[]);
        let voters = Name::new(VOTERS).map_err(StartError::failed)?;
        Ok(Self {
            config,
            client,
            cluster,
            env,
            voters,
            own,
            path,
            ids,
            requests,
            seconds,
            adopted: tokio::sync::Mutex::new(false),
        })
    }

    async fn serve(&self, message: DeskMessage) {
        self.requests.increment(1);
        match message {
            DeskMessage::Assess { year, reply } => reply.send(self.assess(year).await),
            DeskMessage::Distribute { amount, id, reply } => reply.send(self.distribute(&amount, id).await),
            DeskMessage::Transfer { id, from, to, amount, nation, reply } => {
                reply.send(self.transfer(&Wanted { id, from, to, amount, nation }).await);
            }
            DeskMessage::Balances { from, stale, reply } => reply.send(self.balances(from, stale).await),
            DeskMessage::Check { reply } => reply.send(self.check().await),
            DeskMessage::Step { id, step, reply } => reply.send(self.step(id, &step).await),
            DeskMessage::Close { through, reply } => reply.send(self.close(through).await),
            DeskMessage::Statement { account, from, reply } => reply.send(self.statement(&account, from).await),
            DeskMessage::Report { year, reply } => reply.send(self.report(year).await),
            DeskMessage::Export { from, form, reply } => reply.send(self.export(from, form).await),
            DeskMessage::Backup { reply } => reply.send(self.backup().await),
            DeskMessage::Status { reply } => reply.send(self.status().await),
            DeskMessage::Keys { reply } => {
                reply.send(Ok(keys::of(&self.config, self.cluster.as_ref(), self.voters()).await));
            }
            DeskMessage::Voters { change, reply } => reply.send(self.change(change).await),
            DeskMessage::Offline(message) => self.offline(message).await,
        }
    }

    async fn assess(&self, year: u16) -> Result<AssessmentDone, LedgerError> {
        let nations = self.config.nations.clone();
        let order = order::assess(year, &nations)?;
        self.adopt().await?;
        let answer = self.submit(order::command(order)).await?;
        order::assessed(year, &nations, order::outcome(&answer)?)
    }

    async fn distribute(&self, amount: &str, id: TransferId) -> Result<DistributionDone, LedgerError> {
        let nations = self.config.nations.clone();
        let mut period = order::period_of(self.env.wall());
        let order = order::distribute(amount, id, period, &nations)?;
        self.adopt().await?;
        let mut answer = self.submit(order::command(order)).await?;
        if let Some(before) = order::before(&answer) {
            period = before;
            answer = self.submit(order::command(order::distribute(amount, id, period, &nations)?)).await?;
        }
        let shared = order::distributed(amount, &nations, order::outcome(&answer)?)?;
        let question = Question::Parts { first: shared.first, transfers: shared.transfers };
        let (said, _) = self.ask(&question, Freshness::Linearizable, BOOK_WITHIN).await?;
        let Said::Parts(parts) = said else { return Err(another()) };
        Ok(shared.done(&parts))
    }

    async fn transfer(&self, wanted: &Wanted) -> Result<TransferDone, LedgerError> {
        let (nations, projects) = (&self.config.nations, &self.config.projects);
        let period = order::period_of(self.env.wall());
        let order = order::transfer(wanted, period, nations, projects)?;
        self.adopt().await?;
        let mut answer = self.submit(order::command(order)).await?;
        if let Some(before) = order::before(&answer) {
            answer = self.submit(order::command(order::transfer(wanted, before, nations, projects)?)).await?;
        }
        let (number, again) = order::transferred(order::outcome(&answer)?)?;
        Ok(TransferDone { booked: !again, number })
    }

    async fn balances(&self, from: Option<String>, stale: bool) -> Result<Balances, LedgerError> {
        let from = from.unwrap_or_else(|| "0".to_owned());
        let from = AccountText::try_from(from).map_err(|_| LedgerError::bad("a page begins at an account's id"))?;
        let freshness = if stale { Freshness::Stale } else { Freshness::Linearizable };
        let (said, as_of) = self.ask(&Question::Balances { from }, freshness, BOOK_WITHIN).await?;
        let Said::Balances { accounts, next } = said else { return Err(another()) };
        Ok(Balances { accounts, next: next.map(String::from), as_of })
    }

    async fn check(&self) -> Result<CheckDone, LedgerError> {
        let (said, _) = self.ask(&Question::Check, Freshness::Linearizable, BOOK_WITHIN).await?;
        if let Said::Checked(done) = said { Ok(done) } else { Err(another()) }
    }

    async fn step(&self, id: TransferId, step: &Step) -> Result<TransferDone, LedgerError> {
        let (nations, projects) = (&self.config.nations, &self.config.projects);
        let order = |period| order::step(id, step, period, nations, projects);
        let first = order(order::period_of(self.env.wall()))?;
        self.adopt().await?;
        let mut answer = self.submit(order::command(first)).await?;
        if let Some(before) = order::before(&answer) {
            answer = self.submit(order::command(order(before)?)).await?;
        }
        let (number, again) = order::transferred(order::outcome(&answer)?)?;
        Ok(TransferDone { booked: !again, number })
    }

    async fn close(&self, through: u16) -> Result<ClosedDone, LedgerError> {
        let order = order::close(through, order::period_of(self.env.wall()))?;
        let answer = self.submit(order::command(order)).await?;
        order::closed(through, order::outcome(&answer)?)
    }

    async fn statement(&self, account: &str, from: u64) -> Result<Statement, LedgerError> {
        let account: Account = account.parse().map_err(LedgerError::bad)?;
        let question = Question::Statement { account: AccountText(account.id()), from };
        let (said, as_of) = self.ask(&question, Freshness::Linearizable, BOOK_WITHIN).await?;
        let Said::Statement { lines, next } = said else { return Err(another()) };
        let unknown = || LedgerError::bad(format_args!("the book has no account {account}"));
        Ok(Statement { account: account.to_string(), lines: lines.ok_or_else(unknown)?, next, as_of })
    }

    /// The first page is up to date; the others show the same transfers, so any node that has them may add them up.
    async fn report(&self, year: u16) -> Result<YearReport, LedgerError> {
        let (mut gathered, mut start, mut first) = (Gathered::default(), None, None);
        for _ in 0..PAGES_MAX {
            let question = Question::Year { year, start };
            let (said, as_of) = self.ask(&question, Freshness::Linearizable, BOOK_WITHIN).await?;
            let Said::Year(mut page) = said else { return Err(another()) };
            let as_of = *first.get_or_insert(as_of);
            start = page.next.take();
            gathered.add(page);
            if start.is_none() {
                return Ok(gathered.done(year, as_of, &self.config.nations, &self.config.projects));
            }
        }
        Err(LedgerError::refused("the book is too long for a report; export it and add it up elsewhere"))
    }

    async fn export(&self, from: u64, form: ExportForm) -> Result<ExportPage, LedgerError> {
        let (said, _) = self.ask(&Question::Export { from, form }, Freshness::Linearizable, BOOK_WITHIN).await?;
        if let Said::Exported { text, next } = said { Ok(ExportPage { text, next }) } else { Err(another()) }
    }

    async fn backup(&self) -> Result<Backup, LedgerError> {
        let elsewhere = || {
            let names: Vec<String> = self.voters().iter().map(ToString::to_string).collect();
            LedgerError::refused(format_args!(
                "this node does not keep the book, or is behind; ask one that does: {}",
                names.join(", ")
            ))
        };
        if !self.config.may_vote() {
            return Err(elsewhere());
        }
        let (_, as_of) = self.ask(&Question::Status, Freshness::Linearizable, BOOK_WITHIN).await?;
        self.config.backup(as_of.position, &self.env).await?.ok_or_else(elsewhere)
    }

    async fn status(&self) -> Result<LedgerStatus, LedgerError> {
        let (said, as_of) = self.ask(&Question::Status, Freshness::Stale, STATUS_WITHIN).await?;
        let Said::Status(progress) = said else { return Err(another()) };
        let leader = self.client.leader().and_then(|leader| name_of(&self.config.places, leader));
        Ok(LedgerStatus {
            leader,
            voters: self.voters(),
            position: progress.position,
            entries: progress.transfers,
            state: progress.state,
            as_of,
        })
    }

    /// The nodes that keep the book and vote, as they say themselves.
    fn voters(&self) -> Vec<NodeName> {
        match &self.cluster {
            Some(cluster) => {
                let mut names: Vec<NodeName> =
                    cluster.group_places(&self.voters).into_iter().map(|place| place.node).collect();
                names.sort();
                names.dedup();
                names
            }
            None => vec![self.config.name.clone()],
        }
    }

    /// Has the client know whom to ask, those who said that they vote first, and then all who may: who got a vote a moment ago is
    /// not heard of yet. Says for how long: shortly where no known voter can be reached. An error where nobody can be asked:
    /// nothing was sent.
    fn look(&self, within: Duration) -> Result<Duration, LedgerError> {
        let voters = self.voters();
        let mut places = self.config.places.places();
        places.sort_by_key(|place| !voters.contains(&place.name));
        let asked: Vec<NodeId> = places.iter().filter(|place| place.reachable).map(|place| place.node).collect();
        if asked.is_empty() {
            let named = places.iter().filter(|place| voters.is_empty() || voters.contains(&place.name));
            return Err(unreachable(&named.map(|place| place.name.clone()).collect::<Vec<_>>()));
        }
        self.client.ask_among(&asked);
        let voter = places.iter().any(|place| place.reachable && voters.contains(&place.name));
        Ok(if voter { within } else { within.min(NEWCOMERS_WITHIN) })
    }

    /// Has the tables of this node in the book, once in the life of the desk.
    pub(super) async fn adopt(&self) -> Result<(), LedgerError> {
        let mut adopted = self.adopted.lock().await;
        if !*adopted {
            for order in order::tables(&self.config.nations) {
                order::outcome(&self.submit(order::command(order)).await?)?;
            }
            *adopted = true;
        }
        Ok(())
    }

    pub(super) async fn submit(&self, command: Vec<u8>) -> Result<Vec<u8>, LedgerError> {
        let within = self.look(BOOK_WITHIN)?;
        let (id, began) = (self.ids.lock().random(), self.env.now());
        let answered = self.client.submit(id, command, within).await;
        self.seconds.record(self.env.now().since(began).as_secs_f64());
        answered.map_err(|error| told(&error, &self.voters(), true))
    }

    pub(super) async fn ask(
        &self,
        question: &Question,
        freshness: Freshness,
        within: Duration,
    ) -> Result<(Said, AsOf), LedgerError> {
        let within = self.look(within)?;
        let question = serde_json::to_vec(question).map_err(LedgerError::failed)?;
        let answered = self.client.query(question, freshness, within).await;
        let Answer { bytes, staleness } = answered.map_err(|error| told(&error, &self.voters(), false))?;
        let as_of = AsOf {
            linearizable: freshness == Freshness::Linearizable,
            position: staleness.position,
            age_ms: u64::try_from(staleness.age.as_millis()).unwrap_or(u64::MAX),
        };
        match serde_json::from_slice(&bytes) {
            Ok(Said::No(error)) => Err(error),
            Ok(said) => Ok((said, as_of)),
            Err(error) => Err(LedgerError::failed(format_args!("its answer cannot be read: {error}"))),
        }
    }

    /// Brings a change to whoever leads.
    async fn change(&self, change: VotersChange) -> Result<VotersDone, LedgerError> {
        let Some(cluster) = &self.cluster else {
            return Err(LedgerError::refused("this node is alone and has nobody to vote with"));
        };
        let first = self.client.leader().and_then(|leader| name_of(&self.config.places, leader));
        let mut next = first.or_else(|| self.voters().into_iter().next());
        for _ in 0..LEADERS_MAX {
            let Some(node) = next.take() else { break };
            let book = match &self.own {
                Some(own) if node == self.config.name => own.clone(),
                Some(_) | None => cluster.remote::<BookMessage>(&node, &self.path),
            };
            let asked = change.clone();
            match book.call(|reply| BookMessage { change: asked, reply }, CHANGE_WITHIN).await {
                Ok(VotersAnswer::Changed { voters, warning }) => return Ok(VotersDone { voters, warning }),
                Ok(VotersAnswer::NotLeader(leader)) => next = leader,
                Ok(VotersAnswer::No(error)) => return Err(error),
                Err(error) => {
                    let what = format!("{node} did not answer ({error}); look at who votes before trying again");
                    return Err(LedgerError::new(LedgerErrorKind::Timeout, what));
                }
            }
        }
        Err(LedgerError::new(LedgerErrorKind::Unreachable, "no leader of the ledger is known; nothing was changed"))
    }
}

pub(super) fn another() -> LedgerError {
    LedgerError::failed("it answered another question")
}

fn unreachable(voters: &[NodeName]) -> LedgerError {
    let names: Vec<&str> = voters.iter().map(NodeName::as_str).collect();
    let who = if names.is_empty() { "nobody here is known to keep it".to_owned() } else { names.join(", ") };
    LedgerError::new(
        LedgerErrorKind::Unreachable,
        format!("the book cannot be reached ({who}): nothing was booked; try again with the same id when it can"),
    )
}

/// What is to be said where the group did not answer.
fn told(error: &SubmitError, voters: &[NodeName], books: bool) -> LedgerError {
    let names: Vec<&str> = voters.iter().map(NodeName::as_str).collect();
    let who = names.join(", ");
    match error {
        SubmitError::Never(why) => LedgerError::refused(why),
        SubmitError::Deadline { .. } if !books => LedgerError::new(
            LedgerErrorKind::Timeout,
            format!("the book ({who}) did not answer in time ({error}); nothing was changed"),
        ),
        SubmitError::Deadline { maybe_applied: false, last, .. } => LedgerError::new(
            LedgerErrorKind::Unreachable,
            format!("the book ({who}) takes nothing now ({last}): nothing was booked; try again with the same id"),
        ),
        SubmitError::Deadline { last, .. } => LedgerError::new(
            LedgerErrorKind::Timeout,
            format!(
                "the book ({who}) did not answer in time ({last}): it may have been booked; try again with the same id, which \
                 books it once"
            ),
        ),
        _ => LedgerError::unsure(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadline(maybe_applied: bool) -> SubmitError {
        SubmitError::Deadline { within: BOOK_WITHIN, maybe_applied, last: "no leader is known".to_owned() }
    }

    #[test]
    fn a_desk_never_says_that_nothing_was_booked_when_it_cannot_know() {
        let voters = [NodeName::new("hub-africa").unwrap()];
        let unsure = told(&deadline(true), &voters, true);
        assert_eq!(unsure.kind, LedgerErrorKind::Timeout);
        assert!(unsure.message.contains("may have been booked"), "{unsure}");
        let sure = told(&deadline(false), &voters, true);
        assert_eq!(sure.kind, LedgerErrorKind::Unreachable);
        assert!(sure.message.contains("hub-africa") && sure.message.contains("nothing was booked"), "{sure}");
        for maybe_applied in [true, false] {
            let question = told(&deadline(maybe_applied), &voters, false);
            assert_eq!(question.kind, LedgerErrorKind::Timeout);
            let said = &question.message;
            assert!(said.contains("nothing was changed") && !said.contains("may have been booked"), "{question}");
        }
    }
}
