//! Which behaviours a node can run: the names that tree files use.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use covenant_supervision::{Host, Mailbox as MailboxSettings};
use covenant_types::ActorPath;
use serde::de::DeserializeOwned;

use crate::Behaviour;
use crate::deadline::Deadlines;
use crate::host::{self, Birth, PlainFactory};
use crate::mailbox::{AnyMailbox, Mailbox};
use crate::notice::Notice;
use crate::slot::Handle;

/// The behaviours a tree file may name.
#[derive(Clone, Default)]
pub struct BehaviourRegistry(BTreeMap<Arc<str>, Arc<dyn Factory>>);

impl BehaviourRegistry {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes `B` known as `name`.
    ///
    /// # Panics
    /// The name is taken: a fault in how the node was put together.
    pub fn register<B: Behaviour>(&mut self, name: &str) -> &mut Self {
        self.insert(name, Arc::new(FactoryOf::<B> { empty: Arc::default(), of: PhantomData }))
    }

    /// Makes the plain ractor actor `A` known as `name`; `make` builds it, and what it starts with, from the `config` of its
    /// child. It is supervised, killed, restarted and watched as a behaviour is. Reach it by [`System::ractor`](crate::System::ractor).
    ///
    /// Its messages are in ractor's queue, which has no bound and ends with the incarnation: keys such as `mailbox` and
    /// `host` mean nothing to it.
    ///
    /// # Panics
    /// As [`BehaviourRegistry::register`].
    pub fn register_ractor<A, C>(
        &mut self,
        name: &str,
        make: impl Fn(C) -> Result<(A, A::Arguments), String> + Send + Sync + 'static,
    ) -> &mut Self
    where
        A: ractor::Actor,
        C: DeserializeOwned + 'static,
    {
        self.insert(name, Arc::new(PlainFactory::<A, C>(Arc::new(make))))
    }

    fn insert(&mut self, name: &str, factory: Arc<dyn Factory>) -> &mut Self {
        let before = self.0.insert(Arc::from(name), factory);
        assert!(before.is_none(), "two behaviours are registered as {name:?}");
        self
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }

    /// The factory of that name, and the name as all who have it share it.
    pub(crate) fn find(&self, name: &str) -> Option<(&Arc<str>, &Arc<dyn Factory>)> {
        self.0.get_key_value(name)
    }
}

impl fmt::Debug for BehaviourRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// A behaviour without its type.
pub(crate) trait Factory: Send + Sync {
    /// The mailbox of a child at `path`.
    fn mailbox(&self, path: ActorPath, settings: &MailboxSettings, deadlines: &Arc<Deadlines>) -> Arc<dyn AnyMailbox>;

    /// Whether a mailbox is of the type that [`Factory::mailbox`] makes.
    fn fits(&self, mailbox: &Arc<dyn AnyMailbox>) -> bool;

    /// How to start children with this `config` on `host`.
    ///
    /// # Errors
    /// The config is not of the behaviour's type.
    fn starter(&self, config: &toml::Table, host: Host) -> Result<Arc<dyn Starter>, String>;
}

/// Starts a child again and again; instances that are alike share one.
pub(crate) trait Starter: Send + Sync {
    /// Begins a start attempt on the mailbox in the record of the child. `notice` tells how it went; `None` where it cannot
    /// even begin.
    fn start(&self, notice: Arc<Notice>) -> Option<Handle>;
}

struct FactoryOf<B> {
    /// The config of all children that have none.
    empty: Arc<toml::Table>,
    of: PhantomData<fn() -> B>,
}

impl<B: Behaviour> Factory for FactoryOf<B> {
    fn mailbox(&self, path: ActorPath, settings: &MailboxSettings, deadlines: &Arc<Deadlines>) -> Arc<dyn AnyMailbox> {
        Arc::new(Mailbox::<B::Message>::new(path, settings, Arc::clone(deadlines)))
    }

    fn fits(&self, mailbox: &Arc<dyn AnyMailbox>) -> bool {
        mailbox_of::<Mailbox<B::Message>>(mailbox).is_some()
    }

    fn starter(&self, config: &toml::Table, host: Host) -> Result<Arc<dyn Starter>, String> {
        config.clone().try_into::<B::Config>().map_err(|error| error.message().to_owned())?;
        let config = if config.is_empty() { Arc::clone(&self.empty) } else { Arc::new(config.clone()) };
        Ok(Arc::new(BehaviourStarter::<B> { config, host, of: PhantomData }))
    }
}

/// A mailbox with its message type, if it is of that.
pub(crate) fn mailbox_of<T: Send + Sync + 'static>(mailbox: &Arc<dyn AnyMailbox>) -> Option<Arc<T>> {
    Arc::clone(mailbox).into_any().downcast().ok()
}

struct BehaviourStarter<B> {
    config: Arc<toml::Table>,
    host: Host,
    of: PhantomData<fn() -> B>,
}

impl<B: Behaviour> Starter for BehaviourStarter<B> {
    fn start(&self, notice: Arc<Notice>) -> Option<Handle> {
        let mailbox = mailbox_of(notice.slot().mailbox.as_ref()?)?;
        let birth = Birth::<B> { config: Arc::clone(&self.config), mailbox, notice };
        host::spawn(self.host, birth).map(Handle::Worker)
    }
}
