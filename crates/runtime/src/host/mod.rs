//! Where a behaviour runs: on a ractor actor ([`hosted`]), or on a bare task ([`light`]).
//!
//! Both take the same [`Birth`], run the same [`Incarnation`](incarnation::Incarnation) and are ended through the same
//! [`Worker`], so that nothing outside this folder asks which it is. What differs is how they are woken, stopped and
//! killed. A [`plain`] ractor actor is ended in the same way and shares nothing else.

mod hosted;
mod incarnation;
mod light;
mod plain;

use std::sync::Arc;
use std::task::Waker;

use covenant_supervision::Host;
use ractor::{ActorCell, ActorRef};

use crate::Behaviour;
use crate::lane::Bell;
use crate::mailbox::{AnyMailbox, Mailbox};
use crate::notice::Notice;
pub(crate) use hosted::Ctl;
pub(crate) use light::Life;
pub(crate) use plain::{PlainFactory, PlainMailbox};

/// What one start attempt is given.
pub(crate) struct Birth<B: Behaviour> {
    pub(crate) config: Arc<toml::Table>,
    pub(crate) mailbox: Arc<Mailbox<B::Message>>,
    pub(crate) notice: Arc<Notice>,
}

/// Begins a start attempt on the work runtime. How it went is told by its notice.
pub(crate) fn spawn<B: Behaviour>(host: Host, birth: Birth<B>) -> Option<Worker> {
    match host {
        Host::Hosted => hosted::spawn(birth).map(Worker::Hosted),
        Host::Light => Some(Worker::Light(light::spawn(birth))),
    }
}

/// An attempt to run a behaviour: how to end it.
#[derive(Clone)]
pub(crate) enum Worker {
    Hosted(ActorCell),
    Light(Arc<Life>),
}

impl Worker {
    /// Asks what reads from `mailbox` to end in order, after the message in hand.
    pub(crate) fn stop(&self, mailbox: &dyn AnyMailbox) {
        mailbox.interrupt();
        match self {
            Self::Hosted(cell) => cell.stop(None),
            Self::Light(life) => {
                life.ask_to_stop();
                mailbox.ring();
            }
        }
    }

    /// Has what reads from `mailbox` take nothing new, handle what waits and end. Whoever calls this signals its record.
    pub(crate) fn drain(&self, mailbox: &dyn AnyMailbox) {
        let has_lane = mailbox.drain();
        if let (false, Self::Hosted(cell)) = (has_lane, self) {
            let _it_has_ended = cell.drain();
        }
    }

    /// Ends what reads from `mailbox` at its next `.await`.
    pub(crate) fn kill(&self, mailbox: &dyn AnyMailbox) {
        mailbox.interrupt();
        match self {
            Self::Hosted(cell) => cell.kill(),
            Self::Light(life) => life.kill(),
        }
    }
}

/// Wakes an actor, so that it looks at its lane. One ring too many costs a look and nothing else.
#[derive(Clone)]
pub(crate) enum Doorbell {
    /// A hosted one, through ractor's queue.
    Hosted(ActorRef<Ctl>),
    /// The task of a light one.
    Light(Waker),
}

impl Bell for Doorbell {
    fn ring(self) {
        match self {
            // An actor that has gone is replaced by one that looks when it attaches.
            Self::Hosted(actor) => drop(actor.cast(Ctl::Doorbell)),
            Self::Light(task) => task.wake(),
        }
    }
}
