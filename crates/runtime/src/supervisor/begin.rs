//! How a child begins, and what is kept of that.

use std::sync::Arc;

use covenant_supervision::{ChildId, Restart};
use covenant_types::StartAttempt;

use super::driver::Driver;
use crate::notice::{Above, Notice};
use crate::plan::PlannedChild;
use crate::registry::Starter;
use crate::slot::Running;

impl Driver {
    pub(super) fn start(&mut self, child: ChildId, attempt: StartAttempt) {
        self.take_up(&child);
        // The core starts only what is planned: it hears of a child after this driver.
        let Some(planned) = self.planned.get(&child).cloned() else { return };
        let above: Arc<dyn Above> = Arc::clone(&self.port) as Arc<dyn Above>;
        let slot = Arc::clone(&planned.slot);
        let notice = Notice::new(above, slot, child.clone(), attempt);
        planned.slot.set_forgotten(false);
        planned.slot.reopen();
        let held = Arc::downgrade(&notice);
        // Without a starter the notice is dropped here, which says that the start failed.
        let handle = self.starter(&planned).and_then(|starter| starter.start(notice));
        if let Some(handle) = handle {
            planned.slot.set_running(Running { attempt, handle, notice: held.clone() });
            if held.strong_count() == 0 {
                planned.slot.clear_running(attempt); // it has come and gone already
            }
        }
        self.drop_what_it_began_with(&child);
    }

    /// What starts this child. One that was temporary when it began, and is not any more, starts as its template says.
    fn starter(&self, planned: &PlannedChild) -> Option<Arc<dyn Starter>> {
        let of_template = || {
            let now = self.plan.planned();
            let template = now.template.as_ref()?;
            template.starter.clone().or_else(|| self.system.refit(&template.node, &planned.slot).ok()?.starter)
        };
        planned.starter.clone().or_else(of_template)
    }

    /// A temporary child is never started again: what it was started with is not kept.
    fn drop_what_it_began_with(&mut self, child: &ChildId) {
        let temporary = self.core.child_spec(child).is_some_and(|spec| spec.restart == Restart::Temporary);
        if !temporary {
            return;
        }
        if let Some(planned) = self.planned.get_mut(child).filter(|planned| planned.slot.mailbox.is_some()) {
            planned.starter = None;
        }
    }
}
