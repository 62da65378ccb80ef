//! Where orders to a supervisor arrive, and whoever brings one to an idle supervisor carries it out.
//!
//! An exit is mostly told by the thread the child ran on. To hand it to a task of the system runtime and the restart back
//! would cost two thread switches, several times the restart itself. So the bringer becomes the supervisor for a moment;
//! who comes meanwhile leaves the order and goes. The core is never entered twice at a time, and orders keep their order.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covenant_supervision::ChildId;
use covenant_types::{ExitReason, StartAttempt};

use super::admin::Call;
use super::driver::Driver;
use crate::notice::News;
use crate::panic_text;

/// What reaches a supervisor. Bounded by its children, each attempt is heard of twice at most, one alarm at a time, and by
/// whoever waits for an answer.
#[derive(Debug)]
pub(crate) enum Order {
    /// The children are to be started.
    Begin,
    /// Something became of a child.
    News(News),
    /// A timer may be due.
    Alarm,
    /// Somebody wants a child killed; only this attempt, if one is named.
    Kill(ChildId, Option<StartAttempt>),
    /// Somebody wants this attempt to finish what waits for it and end, within this time.
    Drain(ChildId, StartAttempt, Duration),
    /// Somebody wants something of the supervisor, and waits for the answer.
    Admin(Call),
    /// The parent wants this supervisor to stop.
    Shutdown,
}

/// The orders of one supervisor, and its driver.
pub(crate) struct Desk {
    inbox: Mutex<Inbox>,
    /// Locked by one thread at a time: the one that made the inbox `busy`.
    driver: Mutex<Option<Driver>>,
}

struct Inbox {
    orders: VecDeque<Order>,
    /// Somebody is carrying out orders, and will look again.
    busy: bool,
    closed: bool,
}

impl Desk {
    /// A desk whose orders wait until it [opens](Desk::open).
    pub(super) fn new() -> Self {
        let inbox = Inbox { orders: VecDeque::new(), busy: true, closed: false };
        Self { inbox: Mutex::new(inbox), driver: Mutex::new(None) }
    }

    /// Gives the desk its driver, and starts the children.
    pub(super) fn open(&self, driver: Driver) {
        *self.driver() = Some(driver);
        self.inbox().orders.push_front(Order::Begin);
        self.carry_out();
    }

    /// Takes an order, and carries it out unless somebody is at it already. Never waits for long: nothing a driver does
    /// waits.
    pub(crate) fn post(&self, order: Order) {
        {
            let mut inbox = self.inbox();
            if inbox.closed {
                return; // a supervisor that has died is past hearing
            }
            inbox.orders.push_back(order);
            if inbox.busy {
                return;
            }
            inbox.busy = true;
        }
        self.carry_out();
    }

    /// The supervisor has died: its driver goes, and with it the children.
    pub(super) fn close(&self) {
        {
            let mut inbox = self.inbox();
            inbox.closed = true;
            inbox.orders.clear();
            if inbox.busy {
                return; // whoever is at it sees this
            }
        }
        self.discard_driver();
    }

    fn carry_out(&self) {
        while let Some(order) = self.next() {
            if let Some(driver) = &mut *self.driver() {
                let obeyed = catch_unwind(AssertUnwindSafe(|| driver.obey(order)));
                if let Err(payload) = obeyed {
                    driver.fail(ExitReason::Panicked(panic_text(&*payload)));
                }
            }
        }
        if self.inbox().closed {
            self.discard_driver();
        }
    }

    fn next(&self) -> Option<Order> {
        let mut inbox = self.inbox();
        let next = inbox.orders.pop_front();
        inbox.busy = next.is_some();
        next
    }

    /// The driver is dropped outside the lock: the last of its children may end with it, and be told of.
    fn discard_driver(&self) {
        let driver = self.driver().take();
        drop(driver);
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn driver(&self) -> MutexGuard<'_, Option<Driver>> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
