//! Casts to members that sleep: kept at two hubs, brought when the member wakes.
//!
//! The sender hands a letter to two hubs that it is connected to, those first that the sleeper will look to. A hub brings what
//! it keeps once the sleeper's record says that it is awake, and keeps each letter until the sleeper says that it has it. The
//! sleeper takes in each letter once, whoever brings it, and never one after a later one of the same sender.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use covenant_membership::uplinks;
use covenant_runtime::{Declared, Inlet, Reading, RemoteSender, with_trace};
use covenant_types::{ActorPath, CallError, Fence, NodeId, NodeName, Role, TraceId};

use crate::demand::{self, DEMAND_WAIT_MAX};
use crate::directory::RECORDS_MAX;
use crate::feed;
use crate::mail_room::{LETTER_BYTES_MAX, Letter, LetterId};
use crate::member::MemberState;
use crate::remoting::outlet::Reader;
use crate::session::Session;
use crate::shared::Shared;

/// How many hubs keep a letter.
pub const KEEPERS: usize = 2;

/// The member of this name, if it sleeps.
pub(crate) fn sleeper(shared: &Shared, name: &NodeName) -> Option<NodeId> {
    let directory = shared.directory();
    let view = directory.view(directory.named(name)?)?;
    (view.state == MemberState::Asleep).then_some(view.id)
}

/// Has a cast kept for a sleeper.
///
/// # Errors
/// No hub is connected that would keep it, or it is too long. Nothing was kept.
pub(crate) fn post(
    shared: &Shared,
    to: NodeId,
    path: &ActorPath,
    message: Declared,
    fence: Option<Fence>,
    trace: Option<TraceId>,
    request: Vec<u8>,
) -> Result<(), CallError> {
    if request.len() > LETTER_BYTES_MAX {
        let why = format!("the node sleeps, and a message of {} bytes is not kept for it", request.len());
        return Err(CallError::Rejected(format!("{why}: at most {LETTER_BYTES_MAX}")));
    }
    let me = shared.own_record();
    let letter = Letter {
        to,
        id: LetterId { sender: me.id, epoch: me.epoch, number: shared.letters.fetch_add(1, Ordering::Relaxed) },
        name: me.name,
        role: me.role,
        region: me.region,
        path: path.clone(),
        type_name: message.name.to_owned(),
        schema: message.schema,
        trace: trace.map(TraceId::get),
        fence,
        request,
    };
    let frame = feed::letter(&letter);
    let mut kept = 0;
    for keeper in keepers(shared, to) {
        kept += usize::from(match keeper {
            Keeper::Me => {
                keep(shared, letter.clone());
                true
            }
            Keeper::Hub(session) => session.send_feed(frame.clone()),
        });
    }
    if kept == 0 { Err(CallError::NoConnection) } else { Ok(()) }
}

enum Keeper {
    Me,
    Hub(Arc<Session>),
}

/// Hubs that may keep mail for a node: best those that it will look to when it wakes.
fn keepers(shared: &Shared, to: NodeId) -> Vec<Keeper> {
    let own = shared.own_record();
    let ranked = {
        let directory = shared.directory();
        let place = directory.record(to).map(|signed| signed.record.place());
        place.map_or_else(Vec::new, |place| uplinks(to, &place, &directory.neighbours()))
    };
    let mut hubs: Vec<_> =
        shared.sessions().into_iter().filter(|session| session.sender.role == Role::Hub).map(Keeper::Hub).collect();
    if own.role == Role::Hub {
        hubs.insert(0, Keeper::Me);
    }
    let rank = |keeper: &Keeper| {
        let id = match keeper {
            Keeper::Me => own.id,
            Keeper::Hub(session) => session.sender.node,
        };
        ranked.iter().position(|hub| *hub == id).unwrap_or(usize::MAX)
    };
    hubs.sort_by_key(rank);
    hubs.truncate(KEEPERS);
    hubs
}

fn keep(shared: &Shared, letter: Letter) {
    let (to, dropped) = (letter.to, shared.mail_room().keep(shared.env.now(), letter));
    shared.counters.mail_kept.increment(1);
    drop_noted(shared, dropped, "full", Some(to));
}

fn drop_noted(shared: &Shared, dropped: usize, why: &'static str, to: Option<NodeId>) {
    if dropped > 0 {
        tracing::warn!(dropped, why, to = to.map(tracing::field::display), "mail kept for members that sleep is lost");
        shared.counters.mail_dropped(why, dropped as u64);
    }
}

/// A letter came: to be kept, or for us.
pub(crate) fn arrived(shared: &Arc<Shared>, session: &Session, letter: Letter) {
    let from_hub = session.sender.role == Role::Hub;
    if letter.to == shared.me && from_hub {
        take_in(shared, session, letter);
    } else if letter.id.sender == session.sender.node
        && shared.own_record().role == Role::Hub
        && letter.request.len() <= LETTER_BYTES_MAX
        && shared.directory().record(letter.to).is_some()
    {
        // Who it is from is what its certificate says.
        let info = session.peer.info();
        keep(shared, Letter { name: info.name.clone(), role: info.role, region: info.region, ..letter });
    } else {
        shared.counters.mail_dropped("refused", 1);
    }
}

fn take_in(shared: &Arc<Shared>, session: &Session, letter: Letter) {
    // Held while it enters the mailbox, so that what another hub brings meanwhile comes after.
    let mut taken = shared.taken_mail();
    if taken.take(letter.id, RECORDS_MAX) {
        let sender =
            RemoteSender { node: letter.id.sender, name: letter.name, role: letter.role, region: letter.region };
        let trace = letter.trace.and_then(TraceId::new);
        let Letter { path, type_name, schema, fence, request, .. } = letter;
        let is_taken = |inlet: &Arc<dyn Inlet>| {
            let same = inlet.name() == type_name && inlet.schema() == schema;
            same && inlet.callers().may_send(&sender)
        };
        let entered = shared.inlet(&path).filter(is_taken).ok_or("unwanted").and_then(|inlet| {
            let _reading = Reading::from(&Reader::resolver(shared, sender.clone()));
            let enter = || with_trace(trace, || inlet.deliver(&sender, &request, None)).map_err(|_| "unwanted");
            match fence {
                None => enter(),
                Some(fence) => {
                    let gate = shared.gates.gate(&path, &fence.key, sender.node);
                    gate.and_then(|gate| gate.pass(&fence, enter)).unwrap_or_else(|stale| {
                        tracing::info!(peer = %sender.name, %path, %stale, "mail under a lease was refused");
                        shared.counters.message_refused("fence");
                        Err("fence")
                    })
                }
            }
        });
        match entered {
            Ok(()) => shared.counters.mail_delivered.increment(1),
            Err(why) => shared.counters.mail_dropped(why, 1),
        }
    }
    drop(taken);
    if !session.send_feed(feed::delivered(&letter.id)) {
        shared.counters.feeds_dropped.increment(1);
    }
}

/// A node says that it has a letter.
pub(crate) fn delivered(shared: &Shared, session: &Session, id: LetterId) {
    if shared.mail_room().delivered(session.sender.node, id) {
        bring_to(shared, session);
    }
}

/// Brings to a node, which is awake, what is kept for it.
pub(crate) fn bring_to(shared: &Shared, session: &Session) {
    let mut room = shared.mail_room();
    room.send(session.sender.node, |letter| session.send_feed(feed::letter(letter)));
}

/// Brings to all that are awake what is kept for them, and drops what is too old.
pub(crate) fn bring(shared: &Shared) {
    let expired = shared.mail_room().expire(shared.env.now());
    drop_noted(shared, expired, "old", None);
    let (receivers, waiting) = {
        let room = shared.mail_room();
        (room.receivers(), room.len())
    };
    shared.counters.mail_waiting.set(u32::try_from(waiting).map_or(f64::INFINITY, f64::from));
    for to in receivers {
        let name = {
            let directory = shared.directory();
            let record = directory.record(to).map(|signed| &signed.record);
            record.filter(|record| !record.phase.is_asleep()).map(|record| record.name.clone())
        };
        let Some(name) = name else { continue };
        match shared.session(to) {
            Some(session) => bring_to(shared, &session),
            None => {
                if demand::can_be_reached(shared, &name).is_some() {
                    demand::demand(shared, to, DEMAND_WAIT_MAX);
                }
            }
        }
    }
}
