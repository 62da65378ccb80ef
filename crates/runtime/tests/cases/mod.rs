//! What every actor promises, whatever runs it. The hosts differ in [`HOST`](crate::HOST) and in nothing that is told here.

mod children;
mod drain;
mod following;
mod kills;
mod mailboxes;
mod names;
mod observe;
mod remote;
mod respecify;
mod restarts;
mod state_machine;
mod stops;
mod ties;
mod views;
