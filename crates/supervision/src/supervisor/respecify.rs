//! Specs that change while the supervisor runs: OTP's code change.

use std::sync::Arc;

use super::Supervisor;
use super::child::Child;
use crate::effect::{AdminDone, AdminError, AdminResult};
use crate::spec::{ChildSpec, SpecError, Strategy, SupervisorSpec};

impl Supervisor {
    /// Is what `spec` says from now on, or stays as it is.
    ///
    /// Children that run go on under their new specs; new ones are not started; those that `spec` does not name are kept,
    /// before the others in start order, until somebody deletes them.
    pub(super) fn replace_specs(&mut self, spec: SupervisorSpec) -> AdminResult {
        let wrong = |error: SpecError| Err(AdminError::BadSpec(error.to_string()));
        if let Err(error) = spec.validate() {
            return wrong(error);
        }
        if self.is_dynamic() != (spec.strategy == Strategy::Dynamic) {
            return wrong(SpecError::StrategyChanged);
        }
        let SupervisorSpec { strategy, intensity, period, auto_shutdown, children } = spec;
        let unnamed = self.children.iter().filter(|child| !children.iter().any(|named| named.id == child.id)).count();
        if !self.is_dynamic() && unnamed + children.len() > SupervisorSpec::CHILDREN_MAX {
            return wrong(SpecError::TooManyChildren(unnamed + children.len()));
        }
        (self.strategy, self.auto_shutdown) = (strategy, auto_shutdown);
        self.window.change(intensity, period);
        if self.is_dynamic() {
            self.template = children.into_iter().next().map(Arc::new);
            self.respecify_instances();
        } else {
            self.respecify_children(children);
        }
        Ok(AdminDone::Done)
    }

    fn respecify_instances(&mut self) {
        let Some(template) = &self.template else { return };
        for child in self.children.iter_mut() {
            child.respecify(Arc::clone(template));
        }
    }

    fn respecify_children(&mut self, named: Vec<ChildSpec>) {
        let mut before: std::collections::BTreeMap<_, _> =
            self.children.take().into_iter().enumerate().map(|(at, child)| (child.id.clone(), (at, child))).collect();
        let renewed: Vec<Child> = named
            .into_iter()
            .map(|spec| match before.remove(&spec.id) {
                Some((_, mut child)) => {
                    child.respecify(Arc::new(spec));
                    child
                }
                None => Child::new(spec),
            })
            .collect();
        let mut kept: Vec<(usize, Child)> = before.into_values().collect();
        kept.sort_unstable_by_key(|(at, _)| *at);
        kept.into_iter().map(|(_, child)| child).chain(renewed).for_each(|child| self.children.push(child));
    }
}
