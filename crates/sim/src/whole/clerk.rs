//! The actors of a simulation that have names, are in groups, act under leases and get mail.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use covenant_runtime::{Behaviour, Context, Exit, NoConfig, NotEntered, Remotable, Reply, StartError};
use covenant_types::Scope;
use serde::{Deserialize, Serialize};

use super::chronicle::Chronicle;
use super::clock::NodeClock;
use super::rules::{Act, LetterId};

/// The name of the behaviour in tree files.
pub(super) const CLERK: &str = "sim.clerk";
/// The clerks of each node.
pub(super) const CLERKS: [&str; 2] = ["/lab/c0", "/lab/c1"];
/// The names they take. Every clerk asks for the first one when it begins.
pub(super) const NAMES: [&str; 3] = ["desk", "bell", "stamp"];
/// The groups they are in.
pub(super) const GROUPS: [&str; 2] = ["crew", "watch"];

thread_local! {
    /// Whose turn it is. All nodes of a simulation run in one thread, one after the other.
    static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
}

/// A node whose turn it is.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) node: usize,
    pub(super) clock: Arc<NodeClock>,
    pub(super) chronicle: Chronicle,
}

impl Stage {
    /// From now on it is this node's turn.
    pub(super) fn enter(&self) {
        STAGE.set(Some(self.clone()));
    }

    /// Tells what happens at the node whose turn it is.
    fn tell(what: impl FnOnce(&Chronicle, usize, Duration)) {
        let stage = STAGE.with_borrow(Clone::clone);
        if let Some(Self { node, clock, chronicle }) = stage {
            what(&chronicle, node, clock.time());
        }
    }
}

/// What a clerk is asked.
#[derive(Debug)]
pub(super) enum Message {
    /// To take a name, or give it up. Of its own node alone.
    Take(&'static str, Reply<bool>),
    GiveUp(&'static str, Reply<bool>),
    /// To join a group, or leave it. Of its own node alone.
    Join(&'static str, Scope, Reply<bool>),
    Leave(&'static str, Reply<bool>),
    /// Whether it is there.
    Hail(Reply<bool>),
    /// Something that is told to all of a group.
    Ring,
    /// Something that is done under a lease: asked, or told.
    Act(Act, Option<Reply<bool>>),
    /// Something that is told to one that sleeps.
    Letter(LetterId),
}

/// What of it crosses.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Hail,
    Ring,
    Act(Act),
    Letter(LetterId),
}

impl Remotable for Message {
    const NAME: &'static str = "sim.clerk";
    type Request = Request;
    type Response = bool;

    fn into_remote(self) -> (Request, Option<Reply<bool>>) {
        match self {
            Self::Hail(reply) => (Request::Hail, Some(reply)),
            Self::Act(act, reply) => (Request::Act(act), reply),
            Self::Letter(id) => (Request::Letter(id), None),
            Self::Ring | Self::Take(..) | Self::GiveUp(..) | Self::Join(..) | Self::Leave(..) => (Request::Ring, None),
        }
    }

    fn from_remote(request: Request, reply: Option<Reply<bool>>) -> Result<Self, String> {
        match (request, reply) {
            (Request::Hail, Some(reply)) => Ok(Self::Hail(reply)),
            (Request::Ring, None) => Ok(Self::Ring),
            (Request::Act(act), reply) => Ok(Self::Act(act, reply)),
            (Request::Letter(id), None) => Ok(Self::Letter(id)),
            (request, _) => Err(format!("{request:?} with or without a reply")),
        }
    }
}

/// Does as it is told, and tells the chronicle.
pub(super) struct Clerk;

impl Behaviour for Clerk {
    type Config = NoConfig;
    type Message = Message;

    async fn start(_: NoConfig, ctx: &Context<Self>) -> Result<Self, StartError> {
        ctx.expose();
        // Another one has it as a rule. Whoever has it keeps it when it crashes.
        let _taken = take(NAMES[0], ctx);
        Ok(Self)
    }

    async fn handle(&mut self, message: Message, ctx: &Context<Self>) -> Result<(), Exit> {
        match message {
            Message::Take(name, reply) => reply.send(take(name, ctx).is_ok()),
            Message::GiveUp(name, reply) => {
                ctx.unregister(name);
                Stage::tell(|chronicle, node, now| {
                    chronicle.rules(|rules| rules.gave_up(now, (node, ctx.path().to_string())));
                });
                reply.send(true);
            }
            Message::Join(group, scope, reply) => reply.send(ctx.join_group(group, scope).is_ok()),
            Message::Leave(group, reply) => {
                ctx.leave_group(group);
                reply.send(true);
            }
            Message::Hail(reply) => reply.send(true),
            Message::Ring => {}
            Message::Letter(id) => Stage::tell(|chronicle, node, now| {
                chronicle.rules(|rules| rules.letter_arrived(now, &(node, ctx.path().to_string()), id));
            }),
            Message::Act(act, reply) => {
                Stage::tell(|chronicle, node, now| {
                    chronicle.rules(|rules| rules.acted(now, (node, ctx.path().to_string()), &act));
                });
                if let Some(reply) = reply {
                    reply.send(true);
                }
            }
        }
        Ok(())
    }
}

fn take(name: &str, ctx: &Context<Clerk>) -> Result<(), NotEntered> {
    ctx.register(name)?;
    Stage::tell(|chronicle, node, now| {
        chronicle.tell(now, &format!("n{node} {} takes {name}", ctx.path()));
        chronicle.rules(|rules| rules.took(&(node, ctx.path().to_string()), name));
    });
    Ok(())
}
