//! Who hears of the root, which has no supervisor.

use std::time::Duration;

use covenant_supervision::ChildId;
use covenant_types::{ExitReason, StartAttempt};

use super::RootState;
use crate::notice::{Above, News, What};
use crate::{ActorState, System};

/// Who hears of the root.
pub(super) struct Outside(pub(super) System);

impl Above for Outside {
    fn system(&self) -> &System {
        &self.0
    }

    fn hear(&self, news: News) {
        let state = match news.what {
            What::Started(_) => {
                self.0.shared.root.set_state(ActorState::Running);
                RootState::Running
            }
            What::Ignored => RootState::Ended(ExitReason::Normal),
            What::StartFailed(reason) | What::Exited(reason) => {
                self.0.shared.root.set_state(ActorState::Undefined);
                self.0.shared.root.close_gone(reason.clone());
                RootState::Ended(reason)
            }
        };
        self.0.shared.state.send_replace(state);
    }

    fn kill(&self, _: &ChildId, attempt: StartAttempt) {
        if let Some(root) = self.0.shared.root.running().filter(|root| root.attempt == attempt) {
            root.kill();
        }
    }

    fn drain(&self, _: &ChildId, _: StartAttempt, _: Duration) {} // a supervisor has no messages
}
