//! The hosted host: runs a [`Behaviour`] as a ractor actor.
//!
//! ractor brings start, stop and kill; messages do not pass through it. Its queue carries doorbells, and at each one the
//! actor takes a turn at its lane.
//!
//! ractor facts this rests on (0.16.5): stop and kill are looked at before messages; a kill drops the running future at
//! its next `.await`, in `pre_start` too; the state is dropped in every case. Actors are not linked in ractor, because a
//! ractor supervisor that dies kills without order; [`Notice`](crate::notice::Notice) tells ours of an end.

use std::marker::PhantomData;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorRuntime};

use super::incarnation::{Incarnation, Turn};
use super::{Birth, Doorbell};
use crate::Behaviour;

/// All that ractor's queue carries. Without a payload, boxing it allocates nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ctl {
    /// Something waits for the actor.
    Doorbell,
}

/// With ractor's `cluster` on, what a queue carries must say so. This never leaves the node.
#[cfg(feature = "ractor-cluster")]
impl ractor::Message for Ctl {}

pub(super) fn spawn<B: Behaviour>(birth: Birth<B>) -> Option<ActorCell> {
    let work = birth.notice.system().env().work.clone();
    let _inside = work.handle().enter();
    // It only fails for a name that is taken, and we give none. Then the dropped notice says that the start failed.
    let (actor, _task) = ActorRuntime::spawn_instant(None, Hosted::<B>(PhantomData), birth).ok()?;
    Some(actor.get_cell())
}

struct Hosted<B>(PhantomData<fn() -> B>);

impl<B: Behaviour> Actor for Hosted<B> {
    type Msg = Ctl;
    type State = Incarnation<B>;
    type Arguments = Birth<B>;

    async fn pre_start(&self, myself: ActorRef<Ctl>, birth: Birth<B>) -> Result<Incarnation<B>, ActorProcessingErr> {
        let incarnation =
            Box::pin(Incarnation::begin(birth, Doorbell::Hosted(myself.clone()))).await.ok_or_else(ended)?;
        if incarnation.is_stopping() {
            myself.stop(None);
        }
        Ok(incarnation)
    }

    async fn handle(
        &self,
        myself: ActorRef<Ctl>,
        Ctl::Doorbell: Ctl,
        incarnation: &mut Incarnation<B>,
    ) -> Result<(), ActorProcessingErr> {
        match Box::pin(incarnation.turn()).await {
            Turn::Idle => {}
            Turn::More => {
                let _ = myself.cast(Ctl::Doorbell);
                tokio::task::yield_now().await; // ractor looks at stop and kill first
            }
            Turn::Stop => myself.stop(None),
            Turn::Crashed => return Err(ended()),
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Ctl>, incarnation: &mut Incarnation<B>) -> Result<(), ActorProcessingErr> {
        Box::pin(incarnation.stop()).await;
        Ok(())
    }
}

/// What ractor is told of an end; nobody reads it.
fn ended() -> ActorProcessingErr {
    ActorProcessingErr::from("ended")
}
