//! The actor that is measured: it answers, counts and crashes.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use covenant_runtime::{Behaviour, Context, Exit, NoConfig, Remotable, Reply, StartError};
use covenant_transport::Bytes;
use covenant_types::CallError;
use serde::{Deserialize, Serialize};

/// What the actor panics with.
pub(crate) const CRASH: &str = "asked to crash";

/// When an incarnation began to crash.
pub(crate) type Stamp = Arc<OnceLock<Instant>>;

#[derive(Debug)]
pub(crate) enum Message {
    /// Answers with the same bytes.
    Echo(Bytes, Reply<Bytes>),
    /// Is counted.
    Count(Bytes),
    /// Answers how many were counted.
    Counted(Reply<u64>),
    /// Answers which incarnation this is.
    Incarnation(Reply<u32>),
    /// Notes the time and panics.
    Panic(Stamp),
    /// Notes the time and returns an error.
    Fail(Stamp),
}

/// What crosses the network.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Echo(Bytes),
    Count(Bytes),
    Counted,
    Nothing,
}

impl Remotable for Message {
    const NAME: &'static str = "covenant.bench/1";
    type Request = Request;
    type Response = Response;

    fn into_remote(self) -> (Request, Option<Reply<Response>>) {
        match self {
            Self::Echo(bytes, reply) => (Request::Echo(bytes), Some(Reply::new(|answer| to_echo(answer, reply)))),
            Self::Count(bytes) => (Request::Count(bytes), None),
            Self::Counted(reply) => (Request::Counted, Some(Reply::new(|answer| to_counted(answer, reply)))),
            Self::Incarnation(_) | Self::Panic(_) | Self::Fail(_) => (Request::Nothing, None),
        }
    }

    fn from_remote(request: Request, reply: Option<Reply<Response>>) -> Result<Self, String> {
        match (request, reply) {
            (Request::Echo(bytes), Some(reply)) => Ok(Self::Echo(
                bytes,
                Reply::new(|answer: Result<Bytes, CallError>| give(reply, answer.map(Response::Echo))),
            )),
            (Request::Count(bytes), None) => Ok(Self::Count(bytes)),
            (Request::Counted, Some(reply)) => Ok(Self::Counted(Reply::new(|answer: Result<u64, CallError>| {
                give(reply, answer.map(Response::Counted))
            }))),
            (request, _) => Err(format!("{request:?} does not cross the network like this")),
        }
    }
}

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Response {
    Echo(Bytes),
    Counted(u64),
}

fn to_echo(answer: Result<Response, CallError>, reply: Reply<Bytes>) {
    give(
        reply,
        answer.and_then(|answer| if let Response::Echo(bytes) = answer { Ok(bytes) } else { Err(other_answer()) }),
    );
}

fn to_counted(answer: Result<Response, CallError>, reply: Reply<u64>) {
    give(
        reply,
        answer.and_then(|answer| if let Response::Counted(count) = answer { Ok(count) } else { Err(other_answer()) }),
    );
}

fn give<T: Send>(reply: Reply<T>, answer: Result<T, CallError>) {
    match answer {
        Ok(value) => reply.send(value),
        Err(error) => reply.refuse(error),
    }
}

fn other_answer() -> CallError {
    CallError::Rejected("the answer is to another question".to_owned())
}

#[derive(Debug)]
pub(crate) struct Subject {
    counted: u64,
}

impl Behaviour for Subject {
    type Config = NoConfig;
    type Message = Message;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        ctx.expose();
        Ok(Self { counted: 0 })
    }

    async fn handle(&mut self, message: Message, ctx: &Context<Self>) -> Result<(), Exit> {
        match message {
            Message::Echo(bytes, reply) => reply.send(bytes),
            Message::Count(bytes) => {
                std::hint::black_box(&bytes);
                self.counted += 1;
            }
            Message::Counted(reply) => reply.send(self.counted),
            Message::Incarnation(reply) => reply.send(ctx.incarnation().0),
            Message::Panic(stamp) => {
                stamp.get_or_init(Instant::now);
                panic!("{}", CRASH);
            }
            Message::Fail(stamp) => {
                stamp.get_or_init(Instant::now);
                return Err(Exit::error(CRASH));
            }
        }
        Ok(())
    }
}
