//! Specs that are replaced while a supervisor runs: what it and its children are from now on, and at their next start.
//!
//! The core hears only of rules and ids. What a child runs is this driver's business: it is made ready here, and taken up
//! when the core starts the child the next time, whoever wants that. The plan of the supervisor changes too, so that its own
//! restart brings the new children and not the old.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use covenant_supervision::{AdminError, ChildId, ChildNode, Strategy, TreeSpec};
use covenant_types::ExitReason;

use super::driver::Driver;
use crate::plan::{Planned, PlannedChild, Template};
use crate::slot::Slot;
use crate::{AdminFailure, Rework};

impl Driver {
    /// Plans what `tree` says, or nothing. Returns an id to remember the call by.
    pub(super) fn replan(
        &mut self,
        tree: TreeSpec,
        rework: &BTreeMap<ChildId, Rework>,
    ) -> Result<ChildId, AdminFailure> {
        let bad = |why: String| AdminFailure::Refused(AdminError::BadSpec(why));
        let name = ChildId::new("specs").map_err(|error| bad(error.to_string()))?;
        let TreeSpec { spec, children: nodes, partitions, .. } = tree;
        spec.validate().map_err(|error| bad(error.to_string()))?;
        let now = self.plan.planned();
        if (now.spec.strategy == Strategy::Dynamic) != (spec.strategy == Strategy::Dynamic) {
            return Err(bad("a supervisor that runs cannot become dynamic or cease to be".to_owned()));
        }
        if spec.strategy == Strategy::Dynamic {
            let template = nodes.into_iter().next().map(|node| self.template(node)).transpose().map_err(bad)?;
            self.plan.change(Planned { spec, children: HashMap::new(), template });
            return Ok(name);
        }
        let order: Vec<ChildId> = nodes.iter().map(|node| node.spec.id.clone()).collect();
        let (mut children, mut added, mut reworked) = (HashMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut renewed = BTreeMap::new();
        for node in nodes {
            let id = node.spec.id.clone();
            let child = match (self.planned.get(&id), rework.get(&id)) {
                (Some(known), None) if known.starter.is_some() => known.clone(),
                // It was temporary when it began, so that what it began with is gone.
                (Some(known), None) => {
                    let same = self.system.refit(&node, &known.slot).map_err(bad)?;
                    renewed.insert(id.clone(), same.clone());
                    same
                }
                (Some(known), Some(how)) => {
                    let next = self.rework(known, node, *how).map_err(bad)?;
                    reworked.insert(id.clone(), next.clone());
                    next
                }
                (None, _) => {
                    let new = self.plan_new(node).map_err(bad)?;
                    added.insert(id.clone(), new.clone());
                    new
                }
            };
            children.insert(id, child);
        }
        // From here on nothing fails.
        self.plan.slot.set_partitioned(partitions > 1);
        for new in added.values() {
            self.plan.slot.adopt(Arc::clone(&new.slot));
            self.system.enter(&new.slot);
        }
        self.planned.extend(added);
        self.planned.extend(renewed);
        self.reworked = reworked;
        self.plan.change(Planned { spec, children, template: None });
        self.arrange(&order);
        Ok(name)
    }

    fn template(&self, node: ChildNode) -> Result<Template, String> {
        let path = self.plan.slot.path.child(node.spec.id.as_str()).map_err(|error| error.to_string())?;
        let child = self.system.plan_child(&node, path, 0, None).map_err(|error| error.to_string())?;
        Ok(Template::new(node, &child))
    }

    fn plan_new(&self, node: ChildNode) -> Result<PlannedChild, String> {
        let path = self.plan.slot.path.child(node.spec.id.as_str()).map_err(|error| error.to_string())?;
        self.system.plan_child(&node, path, self.plan.take_place(), None).map_err(|error| error.to_string())
    }

    fn rework(&self, known: &PlannedChild, node: ChildNode, how: Rework) -> Result<PlannedChild, String> {
        match how {
            Rework::Refit => self.system.refit(&node, &known.slot),
            Rework::Replace => {
                let (path, place) = (known.slot.path.clone(), known.slot.place());
                self.system.plan_child(&node, path, place, None).map_err(|error| error.to_string())
            }
        }
    }

    /// Shows the children in this order, after those that are named no more, as the core keeps them.
    fn arrange(&self, order: &[ChildId]) {
        let named: Vec<Arc<Slot>> =
            order.iter().filter_map(|id| self.planned.get(id)).map(|child| Arc::clone(&child.slot)).collect();
        let ids: std::collections::BTreeSet<&str> = order.iter().map(ChildId::as_str).collect();
        let mut shown = self.plan.slot.children();
        shown.retain(|slot| !ids.contains(slot.path.id()));
        shown.extend(named);
        self.plan.slot.arrange(shown);
    }

    /// Whether the child goes on with the same mailbox as something else: what waits in it waits for that.
    pub(super) fn is_refitted(&self, child: &ChildId) -> bool {
        let (Some(next), Some(now)) = (self.reworked.get(child), self.planned.get(child)) else { return false };
        Arc::ptr_eq(&next.slot, &now.slot)
    }

    /// The child is about to start: it becomes what it was reworked to.
    pub(super) fn take_up(&mut self, child: &ChildId) {
        let Some(next) = self.reworked.remove(child) else { return };
        let (slot, before) = (Arc::clone(&next.slot), self.planned.insert(child.clone(), next));
        let Some(before) = before.filter(|before| !Arc::ptr_eq(&before.slot, &slot)) else { return };
        slot.take_place_of(&before.slot);
        self.plan.slot.adopt(Arc::clone(&slot));
        self.system.enter(&slot);
        self.system.strike_off(&before.slot);
        before.slot.close_gone(ExitReason::Shutdown);
    }

    /// This supervisor ends: its next incarnation begins with what was reworked.
    pub(super) fn take_up_all(&mut self) {
        let children: Vec<ChildId> = self.reworked.keys().cloned().collect();
        children.iter().for_each(|child| self.take_up(child));
    }
}
