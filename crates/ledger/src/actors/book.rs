//! `ledger.book`: the actor that has the book.
//!
//! Requests go to a committer, a task of the actor, which takes all that wait and commits them in one transaction: one
//! fsync answers many. An answer is sent after the fsync and never before. Questions have a task of their own, which reads
//! what is committed, a few side by side: adding up a long book delays no booking and no other question.

use std::sync::Arc;

use covenant_env::Env;
use covenant_runtime::{Behaviour, Callers, Context, Exit, NoConfig, Remotable, Reply, Schema, StartError};
use covenant_types::{CallError, Role, TransferId};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::LedgerConfig;
use super::serve::serve;
use crate::store::BookStore;
use crate::{
    AssessmentDone, Balances, CheckDone, DistributionDone, ExportPage, LedgerError, LedgerStatus, TransferDone,
};

/// What the book is asked; crosses nodes.
#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize)]
pub enum BookRequest {
    /// Book what each nation owes for a year.
    Assess {
        /// The year.
        year: u16,
    },
    /// Book a profit, shared.
    Distribute {
        /// Dollars and cents.
        amount: String,
        /// The client's id.
        id: TransferId,
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
    },
    /// Every account.
    Balances,
    /// Add it all up again.
    Check,
    /// A part of the journal.
    Export {
        /// The number of its first entry.
        from: u64,
    },
    /// The book in short.
    Status,
}

/// What the book answers; crosses nodes.
#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize)]
pub enum BookResponse {
    /// To `Assess`.
    Assessed(AssessmentDone),
    /// To `Distribute`.
    Distributed(DistributionDone),
    /// To `Transfer`.
    Transferred(TransferDone),
    /// To `Balances`.
    Balances(Balances),
    /// To `Check`.
    Checked(CheckDone),
    /// To `Export`.
    Exported(ExportPage),
    /// To `Status`.
    Status(LedgerStatus),
    /// The book said no.
    No(LedgerError),
}

/// A request to the book, and where its answer goes.
#[derive(Debug, Remotable)]
#[remotable(name = "covenant.ledger.book/1")]
pub struct BookMessage {
    /// What is wanted.
    pub request: BookRequest,
    /// Where the answer goes.
    pub reply: Reply<BookResponse>,
}

/// Requests that one fsync answers at most.
const BATCH_MAX: usize = 256;
/// Questions that wait at most. More are turned away.
const QUESTIONS_MAX: usize = 64;
/// Questions that are answered side by side.
const QUESTIONS_AT_ONCE: usize = 4;

/// The book, on the node that keeps it.
#[derive(Debug)]
pub struct Book {
    bookings: mpsc::Sender<BookMessage>,
    questions: mpsc::Sender<BookMessage>,
}

impl BookRequest {
    /// Whether it books nothing, whatever becomes of it.
    pub(super) fn is_question(&self) -> bool {
        match self {
            Self::Balances | Self::Check | Self::Export { .. } | Self::Status => true,
            Self::Assess { .. } | Self::Distribute { .. } | Self::Transfer { .. } => false,
        }
    }
}

impl Behaviour for Book {
    type Config = NoConfig;
    type Message = BookMessage;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        let config = ctx.resource::<LedgerConfig>()?;
        if !config.is_home() {
            return Err(StartError::Ignore);
        }
        let opening = Arc::clone(&config);
        let opened = ctx.env().blocking(move || opening.open()).await.map_err(StartError::failed)?;
        let store = opened.map_err(StartError::failed)?;
        let (bookings, to_book) = mpsc::channel(BATCH_MAX);
        let (questions, to_answer) = mpsc::channel(QUESTIONS_MAX);
        let (shared, env) = (Arc::clone(&store), ctx.env().clone());
        ctx.spawn(commit_for_ever(shared, to_book, Arc::clone(&config), env)).map_err(StartError::failed)?;
        ctx.spawn(answer_for_ever(store, to_answer, config, ctx.env().clone())).map_err(StartError::failed)?;
        // Every role has a desk, and desks forward what they are asked. Nobody ends the book from outside.
        ctx.expose_to(Callers::roles(&[Role::Hub, Role::Tower, Role::Voter]));
        Ok(Self { bookings, questions })
    }

    fn kind(message: &BookMessage) -> &'static str {
        match message.request {
            BookRequest::Assess { .. } => "Assess",
            BookRequest::Distribute { .. } => "Distribute",
            BookRequest::Transfer { .. } => "Transfer",
            BookRequest::Balances => "Balances",
            BookRequest::Check => "Check",
            BookRequest::Export { .. } => "Export",
            BookRequest::Status => "Status",
        }
    }

    async fn handle(&mut self, message: BookMessage, _: &Context<Self>) -> Result<(), Exit> {
        if self.bookings.is_closed() {
            let why = "the disk failed and the book is opened again";
            message.reply.send(BookResponse::No(LedgerError::not_booked(why)));
            return Err(Exit::error(why));
        }
        if message.request.is_question() {
            return match self.questions.try_send(message) {
                Ok(()) => Ok(()),
                Err(TrySendError::Full(message)) => {
                    message.reply.refuse(CallError::MailboxFull);
                    Ok(())
                }
                Err(TrySendError::Closed(_)) => Err(Exit::error("the task that answers for the book ended")),
            };
        }
        // Waiting here fills the mailbox, which makes senders wait: nothing grows without a bound.
        self.bookings.send(message).await.map_err(|_| Exit::error("the committer of the book ended"))
    }
}

/// Takes what waits, commits it, answers, for as long as the actor lives or the disk works.
async fn commit_for_ever(
    store: Arc<BookStore>,
    mut inbox: mpsc::Receiver<BookMessage>,
    config: Arc<LedgerConfig>,
    env: Env,
) {
    let commits = env.metrics.counter("covenant_ledger_commits_total", &[]);
    let requests = env.metrics.counter("covenant_ledger_requests_total", &[]);
    let seconds = env.metrics.histogram("covenant_ledger_commit_seconds", &[]);
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while inbox.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let (wanted, replies): (Vec<_>, Vec<_>) = batch.drain(..).map(|asked| (asked.request, asked.reply)).unzip();
        requests.increment(wanted.len() as u64);
        let (at, began) = (env.wall(), env.now());
        let (book, rules) = (Arc::clone(&store), Arc::clone(&config));
        let served = env.blocking(move || serve(&book, wanted, &rules, at)).await;
        commits.increment(1);
        seconds.record(env.now().since(began).as_secs_f64());
        let broken = match served {
            Ok(Ok(responses)) => {
                responses.into_iter().zip(replies).for_each(|(response, reply)| reply.send(response));
                continue;
            }
            Ok(Err(broken)) => broken,
            Err(panicked) => LedgerError::unsure(panicked),
        };
        tracing::error!(error = %broken, "the book could not be committed: it is opened again");
        config.close();
        // Those that wait were not begun, and are told so.
        inbox.close();
        while let Ok(waiting) = inbox.try_recv() {
            waiting.reply.send(BookResponse::No(LedgerError::not_booked("the disk failed before its turn")));
        }
        replies.into_iter().for_each(|reply| reply.send(BookResponse::No(broken.clone())));
        return;
    }
}

/// Answers questions from what is committed, a few at a time: a long check must not keep a short question waiting.
async fn answer_for_ever(
    store: Arc<BookStore>,
    mut inbox: mpsc::Receiver<BookMessage>,
    config: Arc<LedgerConfig>,
    env: Env,
) {
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            // What ends makes room for what waits.
            biased;
            Some(()) = under_way.next() => {}
            asked = inbox.recv(), if under_way.len() < QUESTIONS_AT_ONCE => match asked {
                Some(asked) => under_way.push(answer(asked, Arc::clone(&store), Arc::clone(&config), env.clone())),
                None => return,
            },
        }
    }
}

async fn answer(asked: BookMessage, store: Arc<BookStore>, config: Arc<LedgerConfig>, env: Env) {
    let BookMessage { request, reply } = asked;
    let at = env.wall();
    let served = env.blocking(move || serve(&store, vec![request], &config, at)).await;
    let served = served.map_err(LedgerError::failed).and_then(|served| served).map(|mut answers| answers.pop());
    reply.send(match served {
        Ok(Some(answer)) => answer,
        Ok(None) => BookResponse::No(LedgerError::failed("an answer is missing")),
        Err(error) => BookResponse::No(error),
    });
}
