//! `ledger.desk`: takes requests on any node and brings them to the book, near or far.
//!
//! A call may take seconds while a link is bad, so calls are under way side by side, in one task of the actor. What the
//! desk says when no answer comes is exact: without a connection nothing was sent, and so nothing booked; on a connection
//! that broke or was too slow the request may have been booked, and sending it again with the same id finds out.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use covenant_cluster::{Cluster, MemberState};
use covenant_runtime::{Behaviour, Context, Exit, NoConfig, Ref, Reply, StartError, current_trace, traced};
use covenant_types::{ActorPath, CallError, NodeName, TraceId, TransferId};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::LedgerConfig;
use super::book::{BookMessage, BookRequest, BookResponse};
use crate::{
    AssessmentDone, Balances, CheckDone, DistributionDone, ExportPage, LedgerError, LedgerErrorKind, LedgerStatus,
    TransferDone,
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
        /// Where the answer goes.
        reply: Reply<Result<TransferDone, LedgerError>>,
    },
    /// Every account.
    Balances {
        /// Where the answer goes.
        reply: Reply<Result<Balances, LedgerError>>,
    },
    /// Add it all up again.
    Check {
        /// Where the answer goes.
        reply: Reply<Result<CheckDone, LedgerError>>,
    },
    /// A part of the journal.
    Export {
        /// The number of its first entry; 0 begins.
        from: u64,
        /// Where the answer goes.
        reply: Reply<Result<ExportPage, LedgerError>>,
    },
    /// The book in short.
    Status {
        /// Where the answer goes.
        reply: Reply<Result<LedgerStatus, LedgerError>>,
    },
}

/// Takes requests on any node and brings them to the book.
#[derive(Debug)]
pub struct Desk(mpsc::Sender<Forwarded>);

/// A request on its way, with the trace it is part of.
type Forwarded = (Option<TraceId>, DeskMessage);

/// How long the book may take to answer a desk.
const BOOK_WITHIN: Duration = Duration::from_secs(8);
/// Requests that one desk has under way at a time. More are turned away.
const UNDER_WAY_MAX: usize = 1024;
/// Where the book hangs in its node's tree.
const BOOK_PATH: &str = "/ledger/book";

impl Behaviour for Desk {
    type Config = NoConfig;
    type Message = DeskMessage;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        let config = ctx.resource::<LedgerConfig>()?;
        let path: ActorPath = BOOK_PATH.parse().map_err(StartError::failed)?;
        let way = if config.is_home() {
            Way { home: config.home.clone(), book: ctx.lookup(&path).map_err(StartError::failed)?, over: None }
        } else {
            let cluster = ctx.resource::<Cluster>()?;
            Way { home: config.home.clone(), book: cluster.remote(&config.home, &path), over: Some(cluster) }
        };
        let (sender, inbox) = mpsc::channel(UNDER_WAY_MAX);
        ctx.spawn(forward_for_ever(way, inbox)).map_err(StartError::failed)?;
        Ok(Self(sender))
    }

    fn kind(message: &DeskMessage) -> &'static str {
        match message {
            DeskMessage::Assess { .. } => "Assess",
            DeskMessage::Distribute { .. } => "Distribute",
            DeskMessage::Transfer { .. } => "Transfer",
            DeskMessage::Balances { .. } => "Balances",
            DeskMessage::Check { .. } => "Check",
            DeskMessage::Export { .. } => "Export",
            DeskMessage::Status { .. } => "Status",
        }
    }

    async fn handle(&mut self, message: DeskMessage, _: &Context<Self>) -> Result<(), Exit> {
        // Waiting here fills the mailbox, which makes callers wait: nothing grows without a bound.
        self.0.send((current_trace(), message)).await.map_err(|_| Exit::error("the task of the desk ended"))
    }
}

/// The way to the book.
#[derive(Clone)]
struct Way {
    home: NodeName,
    book: Ref<BookMessage>,
    /// What the way leads over, where the book is on another node.
    over: Option<Arc<Cluster>>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Way({:?})", self.book)
    }
}

type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Has the requests under way side by side, for as long as the desk lives.
async fn forward_for_ever(way: Way, mut inbox: mpsc::Receiver<Forwarded>) {
    let mut under_way: FuturesUnordered<Call> = FuturesUnordered::new();
    loop {
        tokio::select! {
            // What ends makes room for what waits.
            biased;
            Some(()) = under_way.next() => {}
            message = inbox.recv(), if under_way.len() < UNDER_WAY_MAX => match message {
                Some((trace, message)) => under_way.push(Box::pin(traced(trace, way.call(message))) as Call),
                None => return,
            },
        }
    }
}

impl Way {
    fn call(&self, message: DeskMessage) -> Call {
        match message {
            DeskMessage::Assess { year, reply } => self.ask(BookRequest::Assess { year }, reply),
            DeskMessage::Distribute { amount, id, reply } => self.ask(BookRequest::Distribute { amount, id }, reply),
            DeskMessage::Transfer { id, from, to, amount, reply } => {
                self.ask(BookRequest::Transfer { id, from, to, amount }, reply)
            }
            DeskMessage::Balances { reply } => self.ask(BookRequest::Balances, reply),
            DeskMessage::Check { reply } => self.ask(BookRequest::Check, reply),
            DeskMessage::Export { from, reply } => self.ask(BookRequest::Export { from }, reply),
            DeskMessage::Status { reply } => self.ask(BookRequest::Status, reply),
        }
    }

    fn ask<T: FromBook>(&self, request: BookRequest, reply: Reply<Result<T, LedgerError>>) -> Call {
        let way = self.clone();
        Box::pin(async move {
            if way.over.as_ref().is_some_and(|cluster| !can_be_reached(cluster, &way.home)) {
                return reply.send(Err(unreachable(way.home)));
            }
            let question = request.is_question();
            let answered = way.book.call(|reply| BookMessage { request, reply }, BOOK_WITHIN).await;
            reply.send(answered.map_err(|error| unanswered(&error, &way.home, question)).and_then(T::from_book));
        })
    }
}

/// Whether a request to `home` would leave this node at all: to a member that is Down nothing is sent, also where its
/// connection has not timed out yet.
fn can_be_reached(cluster: &Cluster, home: &NodeName) -> bool {
    let member = cluster.members().into_iter().find(|member| member.name == *home);
    let given_up = member.is_some_and(|member| {
        matches!(member.state, MemberState::Down | MemberState::Left | MemberState::Asleep | MemberState::Removed)
    });
    !given_up && cluster.peer(home).is_some()
}

fn unreachable(home: NodeName) -> LedgerError {
    let message = format!(
        "the book lives on {home}, which cannot be reached: nothing was booked; try again with the same id when it is back"
    );
    LedgerError::new(LedgerErrorKind::Unreachable { home }, message)
}

fn unanswered(error: &CallError, home: &NodeName, question: bool) -> LedgerError {
    match error {
        CallError::Timeout | CallError::NoConnection | CallError::Gone(_) if question => LedgerError::new(
            LedgerErrorKind::Timeout,
            format!("the book on {home} did not answer ({error}): nothing was changed by asking; ask again"),
        ),
        CallError::Timeout | CallError::NoConnection | CallError::Gone(_) => LedgerError::new(
            LedgerErrorKind::Timeout,
            format!(
                "the book on {home} did not answer ({error}): it may have been booked; try again with the same id, which books it once"
            ),
        ),
        CallError::NoProc | CallError::MailboxFull | CallError::Rejected(_) | CallError::Draining => LedgerError::new(
            LedgerErrorKind::Failed,
            format!(
                "the book on {home} did not take the request ({error}): nothing was booked; try again with the same id"
            ),
        ),
    }
}

/// The part of a book's answer that one request wants.
trait FromBook: Sized + Send + 'static {
    fn from_book(response: BookResponse) -> Result<Self, LedgerError>;
}

macro_rules! from_book {
    ($($variant:ident($view:ty)),* $(,)?) => {$(
        impl FromBook for $view {
            fn from_book(response: BookResponse) -> Result<Self, LedgerError> {
                if let BookResponse::$variant(view) = response {
                    return Ok(view);
                }
                Err(if let BookResponse::No(error) = response { error } else { LedgerError::failed("it answered another question") })
            }
        }
    )*};
}

from_book! {
    Assessed(AssessmentDone), Distributed(DistributionDone), Transferred(TransferDone), Balances(Balances),
    Checked(CheckDone), Exported(ExportPage), Status(LedgerStatus),
}

#[cfg(test)]
mod tests {
    use super::*;
    use covenant_runtime::{Outlet, Sending};
    use covenant_types::ExitReason;

    /// A connection on which every message ends in the same way.
    struct Ends(CallError);

    impl Outlet<BookMessage> for Ends {
        fn send(&self, message: BookMessage, deadline: Option<Duration>) -> Sending {
            assert!(deadline.is_some(), "a request without a deadline could stay for ever");
            message.reply.refuse(self.0.clone());
            Sending::Done(Ok(()))
        }
    }

    async fn ended(error: CallError) -> LedgerError {
        let text = str::to_owned;
        let (from, to, amount) = (text("treasury"), text("communities"), text("1.00"));
        sent(error, |reply| DeskMessage::Transfer { id: TransferId(1), from, to, amount, reply }).await
    }

    async fn sent<T: Send + 'static>(
        error: CallError,
        make: impl FnOnce(Reply<Result<T, LedgerError>>) -> DeskMessage,
    ) -> LedgerError {
        let home = NodeName::new("hub-africa").unwrap();
        let book = Ref::remote(home.clone(), BOOK_PATH.parse().unwrap(), Arc::new(Ends(error)));
        let way = Way { home, book, over: None };
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let reply = Reply::new(move |answer: Result<Result<T, LedgerError>, CallError>| {
            drop(sender.send(answer));
        });
        way.call(make(reply)).await;
        match receiver.await.unwrap().unwrap() {
            Ok(_) => panic!("there is nobody who could have answered"),
            Err(told) => told,
        }
    }

    #[tokio::test]
    async fn a_desk_never_says_that_nothing_was_booked_when_it_cannot_know() {
        for error in [CallError::Timeout, CallError::NoConnection, CallError::Gone(ExitReason::Killed)] {
            let told = ended(error.clone()).await;
            assert_eq!(told.kind, LedgerErrorKind::Timeout, "{error}");
            assert!(told.message.contains("may have been booked"), "{told}");
        }
        for error in
            [CallError::NoProc, CallError::MailboxFull, CallError::Rejected("x".to_owned()), CallError::Draining]
        {
            let told = ended(error.clone()).await;
            assert_eq!(told.kind, LedgerErrorKind::Failed, "{error}");
            assert!(told.message.contains("nothing was booked"), "{told}");
        }
    }

    #[tokio::test]
    async fn a_question_without_an_answer_is_not_said_to_have_booked() {
        for error in [CallError::Timeout, CallError::NoConnection, CallError::Gone(ExitReason::Killed)] {
            let told = sent(error, |reply| DeskMessage::Check { reply }).await;
            assert_eq!(told.kind, LedgerErrorKind::Timeout);
            assert!(told.message.contains("nothing was changed") && !told.message.contains("booked"), "{told}");
        }
    }

    #[test]
    fn an_unreachable_home_is_named() {
        let told = unreachable(NodeName::new("hub-africa").unwrap());
        let expected = "the book lives on hub-africa, which cannot be reached: nothing was booked; try again with the same id when it is back";
        assert_eq!(told.to_string(), expected);
    }
}
