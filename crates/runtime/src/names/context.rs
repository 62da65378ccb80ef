//! How an actor takes a name or joins a group.

use covenant_types::{Name, Scope};

use super::NotEntered;
use crate::{Behaviour, Context};

impl<B: Behaviour> Context<B> {
    /// Takes `name` for this actor, in the whole cluster where this node is part of one. The name leads to this path, also
    /// between two incarnations, until the actor ends for good. The next incarnation registers again in its `start`, or the
    /// name is free.
    ///
    /// Under a partition each side may have an actor of the name. When the sides meet, the later claim wins everywhere and
    /// the other actor ends with `NameConflict`, which no budget counts. For one effective owner use a lease.
    ///
    /// # Errors
    /// Another actor has the name, the text is no name, or there are too many. Nothing was entered.
    pub fn register(&self, name: &str) -> Result<(), NotEntered> {
        self.enter_name(name, true)
    }

    /// As [`Context::register`], for this node alone: other nodes may have an actor of the name, and are not told of this.
    ///
    /// # Errors
    /// As [`Context::register`].
    pub fn register_local(&self, name: &str) -> Result<(), NotEntered> {
        self.enter_name(name, false)
    }

    /// Gives up a name. Changes nothing where this actor does not have it.
    pub fn unregister(&self, name: &str) {
        if let Ok(name) = Name::new(name) {
            self.system().names().unregister(&name, self.path());
        }
    }

    /// Puts this actor into `group`, where it stays until it ends for good. The next incarnation joins again in its `start`,
    /// or is out. Joining twice is joining once, with the later scope.
    ///
    /// # Errors
    /// The text is no name, or there are too many. Nothing was entered.
    pub fn join_group(&self, group: &str, scope: Scope) -> Result<(), NotEntered> {
        let group = Name::new(group)?;
        self.slot().keep_names(self.system().names());
        self.system().names().join(&group, scope, self.path(), self.notice().attempt())
    }

    /// Takes this actor out of `group`. Changes nothing where it is not in it.
    pub fn leave_group(&self, group: &str) {
        if let Ok(group) = Name::new(group) {
            self.system().names().leave(&group, self.path());
        }
    }

    fn enter_name(&self, name: &str, told: bool) -> Result<(), NotEntered> {
        let name = Name::new(name)?;
        self.slot().keep_names(self.system().names());
        self.system().names().register(&name, self.path(), self.notice().attempt(), told)
    }
}
