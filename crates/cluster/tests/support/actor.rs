//! An actor that answers, keeps silent, dies or gets stuck, as it is asked.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use covenant_runtime::{
    Behaviour, Context, Exit, NoConfig, Ref, Remotable, Reply, Schema, SchemaHash, StartError, current_trace,
};
use covenant_types::{CallError, TraceId};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

#[derive(Debug, Remotable)]
#[remotable(name = "test.actor")]
pub enum Message {
    /// Answers with the same bytes.
    Echo(Vec<u8>, Reply<Vec<u8>>),
    /// Keeps the reply and never answers.
    Hold(Reply<Vec<u8>>),
    /// Drops the reply.
    Forget(Reply<Vec<u8>>),
    /// Crashes with the reply in hand.
    Crash(Reply<Vec<u8>>),
    /// Answers with the same bytes, and stops.
    Last(Vec<u8>, Reply<Vec<u8>>),
    /// Asks the same of that one, which is asked to ask the other, and so on.
    PassOn(Vec<Ref<Message>>, Reply<Vec<u8>>),
    /// Refuses.
    Refuse(Reply<Vec<u8>>),
    /// Answers the trace it came in; nothing where it is in none.
    Trace(Reply<Vec<u8>>),
    /// Is noted, once the gate is open.
    Note(Note),
}

#[derive(Clone, Debug, PartialEq, Eq, Schema, Serialize, Deserialize)]
pub struct Note {
    pub sender: u32,
    pub number: u32,
    pub padding: Vec<u8>,
}

/// What the actors of a node noted, and the gate that holds them up.
#[derive(Default)]
pub struct Notes {
    noted: Mutex<Vec<Note>>,
    /// The traces they came in.
    pub traces: Mutex<Vec<Option<TraceId>>>,
    shut: AtomicBool,
    opened: Notify,
}

impl Notes {
    pub fn shut_gate(&self) {
        self.shut.store(true, Ordering::SeqCst);
    }

    pub fn open_gate(&self) {
        self.shut.store(false, Ordering::SeqCst);
        self.opened.notify_waiters();
    }

    pub fn count(&self) -> usize {
        self.noted.lock().expect("no test panics with it").len()
    }

    /// The numbers of one sender, in the order of arrival.
    pub fn numbers(&self, sender: u32) -> Vec<u32> {
        let noted = self.noted.lock().expect("no test panics with it");
        noted.iter().filter(|note| note.sender == sender).map(|note| note.number).collect()
    }

    async fn note(&self, note: Note) {
        loop {
            let opened = self.opened.notified();
            if !self.shut.load(Ordering::SeqCst) {
                break;
            }
            opened.await;
        }
        self.traces.lock().expect("no test panics with it").push(current_trace());
        self.noted.lock().expect("no test panics with it").push(note);
    }
}

/// How long a handler waits for another actor.
const NESTED: Duration = Duration::from_millis(300);

pub struct TestActor {
    held: Vec<Reply<Vec<u8>>>,
}

impl Behaviour for TestActor {
    type Config = NoConfig;
    type Message = Message;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        ctx.expose();
        Ok(Self { held: Vec::new() })
    }

    async fn handle(&mut self, message: Message, ctx: &Context<Self>) -> Result<(), Exit> {
        match message {
            Message::Echo(bytes, reply) => reply.send(bytes),
            Message::Last(bytes, reply) => {
                reply.send(bytes);
                ctx.stop();
            }
            Message::PassOn(mut others, reply) => match others.pop() {
                None => reply.send(Vec::new()),
                Some(next) => match next.call(|reply| Message::PassOn(others, reply), NESTED).await {
                    Ok(bytes) => reply.send(bytes),
                    Err(error) => reply.refuse(error),
                },
            },
            Message::Hold(reply) => self.held.push(reply),
            Message::Forget(_) => {}
            Message::Crash(_reply) => return Err(Exit::error("asked to")),
            Message::Trace(reply) => {
                reply.send(current_trace().map(|trace| trace.to_string().into_bytes()).unwrap_or_default());
            }
            Message::Refuse(reply) => reply.refuse(CallError::Rejected("not today".to_owned())),
            Message::Note(note) => {
                let notes = ctx.resource::<Notes>().map_err(Exit::error)?;
                notes.note(note).await;
            }
        }
        Ok(())
    }
}

/// Another message type, which the actor does not take.
#[derive(Debug, Remotable)]
#[remotable(name = "test.other")]
pub struct OtherMessage(pub Reply<u8>);

/// A type of the right name whose bytes the actor cannot read.
#[derive(Debug)]
pub struct SameNameMessage(pub Reply<u8>);

impl Remotable for SameNameMessage {
    const NAME: &'static str = "test.actor";
    type Request = u8;
    type Response = u8;

    fn into_remote(self) -> (u8, Option<Reply<u8>>) {
        (200, Some(self.0))
    }

    fn from_remote(_: u8, reply: Option<Reply<u8>>) -> Result<Self, String> {
        reply.map(Self).ok_or_else(|| "no reply".to_owned())
    }

    /// It says that it is the same.
    fn schema() -> SchemaHash {
        Message::schema()
    }
}
