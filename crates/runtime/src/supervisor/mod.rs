//! A supervisor: a ractor actor that owns a driver, which performs what the pure core decides.
//!
//! The actor lives on the system runtime and gives the supervisor what every actor has: it can be killed, and it dies
//! with all it holds. Orders do not pass through it; see [`desk`].

mod admin;
mod begin;
mod crash;
mod desk;
mod driver;
mod replan;
mod timers;

use std::sync::Arc;

use covenant_types::ExitReason;
use ractor::{Actor, ActorProcessingErr, ActorRef, ActorRuntime};

use crate::System;
use crate::host::Ctl;
use crate::notice::{Ending, Notice};
use crate::plan::TreePlan;
use crate::slot::Handle;
pub(crate) use admin::{Answer, Call, Outcome, Request};
pub(crate) use desk::{Desk, Order};
use driver::Driver;

/// Begins a start attempt of a supervisor on the system runtime. How it went is told by its notice.
pub(crate) fn spawn(plan: Arc<TreePlan>, system: System, notice: Arc<Notice>) -> Option<Handle> {
    let runtime = system.env().system.clone();
    let _inside = runtime.handle().enter();
    let desk = Arc::new(Desk::new());
    let birth = Birth { plan, system, notice, desk: Arc::clone(&desk) };
    // It only fails for a name that is taken, and we give none.
    let (actor, _task) = ActorRuntime::spawn_instant(None, SupervisorActor, birth).ok()?;
    Some(Handle::Supervisor(actor.get_cell(), desk))
}

struct Birth {
    plan: Arc<TreePlan>,
    system: System,
    notice: Arc<Notice>,
    desk: Arc<Desk>,
}

struct SupervisorActor;

/// Closes the desk when the actor ends, however it does.
struct Closing(Arc<Desk>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Actor for SupervisorActor {
    type Msg = Ctl;
    type State = Closing;
    type Arguments = Birth;

    async fn pre_start(&self, myself: ActorRef<Ctl>, birth: Birth) -> Result<Closing, ActorProcessingErr> {
        let Birth { plan, system, notice, desk } = birth;
        let closing = Closing(Arc::clone(&desk));
        let driver = Driver::new(plan, system, Arc::clone(&notice), Arc::clone(&desk), myself.get_cell());
        let driver = driver.map_err(|error| {
            notice.ends(Ending::Exit(ExitReason::Error(error.to_string())));
            ActorProcessingErr::from("ended")
        })?;
        desk.open(driver);
        Ok(closing)
    }
}
