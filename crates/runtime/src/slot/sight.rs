//! What can be seen of one path.

use covenant_env::Env;
use metrics::{Counter, Gauge};

use super::Slot;
use crate::observe::micros;
use crate::view::{ActorState, MailboxView, TreeView};

pub(super) struct SlotMetrics {
    pub(super) restarts: Counter,
    depth: Gauge,
    handled: Counter,
    handler_time: Counter,
}

impl Slot {
    /// What can be seen of this path and those below. Also samples the metrics.
    pub(crate) fn view(&self, env: &Env) -> TreeView {
        let mut view = self.view_alone();
        self.sample(env, &view);
        let children = self.children();
        view.children = children.iter().filter(|child| !child.is_forgotten()).map(|child| child.view(env)).collect();
        view
    }

    /// What can be seen of this path.
    pub(crate) fn view_alone(&self) -> TreeView {
        // One without a capacity has its messages elsewhere.
        let bounded = self.mailbox.as_ref().filter(|mailbox| mailbox.capacity() > 0);
        let mailbox = bounded.map(|mailbox| MailboxView {
            depth: mailbox.depth(),
            capacity: mailbox.capacity(),
            dropped: mailbox.dropped(),
        });
        let mut state = self.state();
        if state == ActorState::Running && self.is_suspended() {
            state = ActorState::Suspended;
        } else if state == ActorState::Running && self.mailbox.as_ref().is_some_and(|mailbox| mailbox.is_draining()) {
            state = ActorState::Draining;
        }
        TreeView {
            path: self.path.clone(),
            kind: self.kind.into(),
            state,
            incarnation: self.incarnation(),
            restarts: self.restarts(),
            mailbox,
            handled: self.mailbox.as_ref().map_or(0, |mailbox| mailbox.handled()),
            handler_us: self.mailbox.as_ref().map_or(0, |mailbox| micros(mailbox.handler_time())),
            behaviour: self.behaviour.as_deref().map(str::to_owned),
            children: Vec::new(),
        }
    }

    /// Writes what a view says into the metrics. An actor that had nothing to do has none.
    fn sample(&self, env: &Env, view: &TreeView) {
        let Some(mailbox) = &view.mailbox else { return };
        let has_metrics = self.rare.get().is_some_and(|rare| rare.metrics.get().is_some());
        if has_metrics || mailbox.depth > 0 || view.handled > 0 {
            let metrics = self.metrics(env);
            metrics.depth.set(u32::try_from(mailbox.depth).map_or(f64::INFINITY, f64::from));
            metrics.handled.absolute(view.handled);
            metrics.handler_time.absolute(view.handler_us);
        }
    }

    pub(super) fn metrics(&self, env: &Env) -> &SlotMetrics {
        self.rare().metrics.get_or_init(|| {
            let labels = [("path", self.path.as_str())];
            SlotMetrics {
                restarts: env.metrics.counter("covenant_actor_restarts_total", &labels),
                depth: env.metrics.gauge("covenant_mailbox_depth", &labels),
                handled: env.metrics.counter("covenant_actor_handled_total", &labels),
                handler_time: env.metrics.counter("covenant_actor_handler_microseconds_total", &labels),
            }
        })
    }
}
