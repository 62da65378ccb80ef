//! What the node lends its behaviours: a database, a key, the cluster.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// One shared value per type, given to the system when it starts.
#[derive(Clone, Default)]
pub struct Resources(HashMap<TypeId, (&'static str, Arc<dyn Any + Send + Sync>)>);

impl Resources {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lends `value`. A second value of the same type replaces the first.
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: Arc<T>) -> &mut Self {
        self.0.insert(TypeId::of::<T>(), (type_name::<T>(), value));
        self
    }

    /// The value of type `T`.
    pub fn find<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let (_, value) = self.0.get(&TypeId::of::<T>())?;
        Arc::clone(value).downcast().ok()
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.values().map(|(name, _)| name)).finish()
    }
}
