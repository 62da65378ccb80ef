//! The actors that nodes of a simulation talk to.

use std::collections::BTreeMap;
use std::time::Duration;

use covenant_runtime::{Behaviour, Context, Exit, NoConfig, Remotable, Reply, StartError};
use serde::{Deserialize, Serialize};

use super::clerk::{CLERK, CLERKS};

/// The name of the behaviour in tree files.
pub(super) const WORKER: &str = "sim.worker";
/// The supervisor of all workers, and those below it. The last one is asked slow things.
pub(super) const LAB: &str = "/lab";
pub(super) const WORKERS: [&str; 3] = ["/lab/w0", "/lab/w1", "/lab/w2"];
pub(super) const SLOW_WORKER: &str = "/lab/slow";
/// How many restarts the supervisor of the workers forgives, and over how long.
pub(super) const INTENSITY: usize = 5;
pub(super) const PERIOD: Duration = Duration::from_secs(30);

/// The tree of the workers and the clerks.
pub(super) fn tree() -> String {
    let mut text = format!("strategy = \"one_for_one\"\nintensity = {INTENSITY}\nperiod = \"{}s\"\n", PERIOD.as_secs());
    let workers = WORKERS.iter().chain([&SLOW_WORKER]).map(|path| (path, WORKER));
    for (path, behaviour) in workers.chain(CLERKS.iter().map(|path| (path, CLERK))) {
        let id = path.trim_start_matches(LAB).trim_start_matches('/');
        text.push_str(&format!("\n[[child]]\nid = \"{id}\"\nbehaviour = \"{behaviour}\"\nshutdown = \"1s\"\n"));
    }
    text
}

/// What a worker is told. Each sender counts what it sends to one worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) from: u32,
    pub(super) boot: u64,
    pub(super) number: u64,
    pub(super) padding: Vec<u8>,
}

/// What a worker answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    /// What was wrong with the notes it was told.
    pub(super) complaint: Option<String>,
}

/// What a worker is asked.
#[derive(Debug)]
pub(super) enum Message {
    Echo(Vec<u8>, Reply<Answer>),
    /// To answer after so many milliseconds, and do nothing else meanwhile.
    Slow(u32, Reply<Answer>),
    Crash(Reply<Answer>),
    Note(Note),
}

/// What of it crosses.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Echo(Vec<u8>),
    Slow(u32),
    Crash,
    Note(Note),
}

impl Remotable for Message {
    const NAME: &'static str = "sim.worker";
    type Request = Request;
    type Response = Answer;

    fn into_remote(self) -> (Request, Option<Reply<Answer>>) {
        match self {
            Self::Echo(bytes, reply) => (Request::Echo(bytes), Some(reply)),
            Self::Slow(millis, reply) => (Request::Slow(millis), Some(reply)),
            Self::Crash(reply) => (Request::Crash, Some(reply)),
            Self::Note(note) => (Request::Note(note), None),
        }
    }

    fn from_remote(request: Request, reply: Option<Reply<Answer>>) -> Result<Self, String> {
        match (request, reply) {
            (Request::Echo(bytes), Some(reply)) => Ok(Self::Echo(bytes, reply)),
            (Request::Slow(millis), Some(reply)) => Ok(Self::Slow(millis, reply)),
            (Request::Crash, Some(reply)) => Ok(Self::Crash(reply)),
            (Request::Note(note), None) => Ok(Self::Note(note)),
            (request, _) => Err(format!("{request:?} with or without a reply")),
        }
    }
}

/// Remembers the last number of each sender.
pub(super) struct Worker {
    last: BTreeMap<(u32, u64), u64>,
    complaint: Option<String>,
}

impl Behaviour for Worker {
    type Config = NoConfig;
    type Message = Message;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        ctx.expose();
        Ok(Self { last: BTreeMap::new(), complaint: None })
    }

    async fn handle(&mut self, message: Message, _: &Context<Self>) -> Result<(), Exit> {
        match message {
            Message::Echo(bytes, reply) => reply.send(Answer { bytes, complaint: self.complaint.take() }),
            Message::Slow(millis, reply) => {
                tokio::time::sleep(Duration::from_millis(u64::from(millis))).await;
                reply.send(Answer { bytes: Vec::new(), complaint: self.complaint.take() });
            }
            Message::Crash(_reply) => return Err(Exit::error("asked to")),
            Message::Note(Note { from, boot, number, .. }) => {
                let last = self.last.insert((from, boot), number);
                if last.is_some_and(|last| last >= number) {
                    self.complaint = Some(format!("note {number} of node {from} came after {last:?}"));
                }
            }
        }
        Ok(())
    }
}
