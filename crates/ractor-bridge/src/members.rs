//! Members of process groups: the actors that `NodeServer` announces, and the behaviours behind them.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covenant_runtime::System;
use covenant_types::CallError;
use ractor::message::SerializedMessage;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef};

use crate::edge::Exposed;

/// The way of a client's message into the mailbox of a behaviour.
pub(crate) trait Inlet: Send + Sync {
    /// Hands it over; `None` where it cannot be read.
    fn hand(&self, message: SerializedMessage) -> Option<Handed>;
}

/// How far a message to a member has got.
pub(crate) enum Handed {
    /// It is in the mailbox, or never will be.
    Now(Result<(), CallError>),
    /// It has to wait for room, and its client with it.
    Waits(Pin<Box<dyn Future<Output = Result<(), CallError>> + Send>>),
}

/// The members there are, by pid.
#[derive(Default)]
pub(crate) struct Directory(Mutex<BTreeMap<u64, Arc<dyn Inlet>>>);

impl Directory {
    pub(crate) fn find(&self, pid: u64) -> Option<Arc<dyn Inlet>> {
        self.lock().get(&pid).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<dyn Inlet>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps one behaviour announced for as long as it runs or will run again. A restart is not seen outside: messages wait in
/// the mailbox. When it has ended for good its member leaves the group; when somebody starts it again there is a new one.
pub(crate) async fn keep(exposed: Exposed, directory: Arc<Directory>, system: System) {
    loop {
        match Announced::join(&exposed, &directory).await {
            Ok(_announced) => {
                tracing::info!(group = exposed.group, path = %exposed.path, "exposed to clients");
                ended_for_good(&system, &exposed).await;
                tracing::info!(group = exposed.group, path = %exposed.path, "no longer exposed: it has ended");
            }
            Err(error) => tracing::warn!(group = exposed.group, path = %exposed.path, error, "not exposed"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
        while will_not_run(&system, &exposed).await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// How often a behaviour that has ended for good is looked for again.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A monitor of what will not run resolves at once.
const AT_ONCE: Duration = Duration::from_millis(100);

async fn will_not_run(system: &System, exposed: &Exposed) -> bool {
    let ended = tokio::time::timeout(AT_ONCE, system.monitor(&exposed.path)).await;
    ended.is_ok_and(|down| down.incarnation.is_none())
}

/// Resolves when the actor has ended and will not run again.
async fn ended_for_good(system: &System, exposed: &Exposed) {
    // Each incarnation that ends is heard of once, and then that there is no next one: at once, and of none.
    while system.monitor(&exposed.path).await.incarnation.is_some() {}
}

/// An actor that is in the group, and that nothing is sent to: the gate takes what is meant for it out of the stream.
struct Member;

/// What a [`Member`] would be sent. That it can be sent over a network is what makes `NodeServer` announce it.
#[derive(Debug)]
enum Never {}

impl ractor::Message for Never {
    fn serializable() -> bool {
        true
    }
}

impl Actor for Member {
    type Msg = Never;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Never>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

/// A member in its group and in the directory, until this is dropped.
struct Announced<'a> {
    cell: ActorCell,
    directory: &'a Directory,
}

impl<'a> Announced<'a> {
    async fn join(exposed: &Exposed, directory: &'a Directory) -> Result<Self, String> {
        let (member, _task) = Actor::spawn(None, Member, ()).await.map_err(|error| error.to_string())?;
        let announced = Self { cell: member.get_cell(), directory };
        directory.lock().insert(announced.pid(), Arc::clone(&exposed.inlet));
        ractor::pg::join(exposed.group.clone(), vec![announced.cell.clone()]);
        Ok(announced)
    }

    fn pid(&self) -> u64 {
        self.cell.get_id().pid()
    }
}

impl Drop for Announced<'_> {
    fn drop(&mut self) {
        self.directory.lock().remove(&self.pid());
        self.cell.kill(); // it leaves its group with that
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().keys()).finish()
    }
}
