//! Calls to a supervisor that runs: children that are started, stopped, restarted and forgotten while the others go on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use covenant_supervision::{
    AdminDone, AdminError, AdminRequest, ChildId, ChildNode, ChildSpec, Counts, Event, TreeSpec, Work,
};
use covenant_types::ExitReason;
use tokio::sync::oneshot;

use super::driver::Driver;
use crate::plan::PlannedChild;
use crate::registry::Starter;
use crate::{AdminFailure, Rework, Started};

/// A call to a supervisor, and where its answer goes.
pub(crate) struct Call {
    pub(crate) request: Request,
    pub(crate) answer: oneshot::Sender<Answer>,
}

pub(crate) type Answer = Result<Outcome, AdminFailure>;

/// What a call came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// What was asked.
    Done,
    Started(Started),
    Counts(Counts),
    Spec(Box<ChildSpec>),
}

/// What is wanted.
#[derive(Debug)]
pub(crate) enum Request {
    Terminate(ChildId),
    Restart(ChildId),
    Delete(ChildId),
    /// One more child, the last in order.
    Start(Box<ChildNode>),
    /// One more instance of the template, with these keys over those of its `config`. Without a name it gets a number.
    StartInstance {
        id: Option<ChildId>,
        config: toml::Table,
    },
    Count,
    Spec(ChildId),
    /// What the supervisor and its children are from now on, and what some of them become at their next start.
    ReplaceSpecs {
        tree: Box<TreeSpec>,
        rework: BTreeMap<ChildId, Rework>,
    },
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.request.fmt(f)
    }
}

/// The calls the core has not answered yet. Bounded by the core, which refuses more than it lets wait.
#[derive(Default)]
pub(super) struct Calls {
    last: u64,
    waiting: BTreeMap<u64, Waiting>,
}

struct Waiting {
    answer: oneshot::Sender<Answer>,
    child: ChildId,
    /// The child was made known for this call: its record goes where nothing comes of it.
    added: bool,
}

impl Driver {
    pub(super) fn admin(&mut self, Call { request, answer }: Call) {
        match self.prepare(request) {
            Ok((request, child, added)) => {
                self.calls.last += 1;
                let call = self.calls.last;
                self.calls.waiting.insert(call, Waiting { answer, child, added });
                self.feed(Event::Admin { call, request }, None);
            }
            Err(at_once) => {
                let _caller_left = answer.send(at_once);
            }
        }
    }

    /// What the core is asked, the child it is about, and whether that was made known for it; or the answer, where the core
    /// need not be asked.
    fn prepare(&mut self, request: Request) -> Result<(AdminRequest, ChildId, bool), Answer> {
        match request {
            Request::Count => Err(Ok(Outcome::Counts(self.core.counts()))),
            Request::Spec(id) => {
                let spec = self.core.child_spec(&id).cloned();
                Err(spec.map(|spec| Outcome::Spec(Box::new(spec))).ok_or(AdminError::NotFound.into()))
            }
            Request::Terminate(id) => Ok((AdminRequest::Terminate(id.clone()), id, false)),
            Request::Restart(id) => Ok((AdminRequest::Restart(id.clone()), id, false)),
            Request::Delete(id) => Ok((AdminRequest::Delete(id.clone()), id, false)),
            Request::ReplaceSpecs { tree, rework } => {
                let spec = tree.spec.clone();
                let id = self.replan(*tree, &rework).map_err(Err)?;
                Ok((AdminRequest::ReplaceSpecs(spec), id, false))
            }
            Request::Start(node) => {
                let spec = node.spec.clone();
                let (id, added) = (spec.id.clone(), self.add(&spec.id, &node, None).map_err(Err)?);
                Ok((AdminRequest::Start(spec), id, added))
            }
            Request::StartInstance { id, config } => {
                let (id, added) = self.add_instance(id, config).map_err(Err)?;
                Ok((AdminRequest::StartInstance(id.clone()), id, added))
            }
        }
    }

    /// Makes a child known that may be added. False where there is one of that id, which the core will say.
    fn add(
        &mut self,
        id: &ChildId,
        node: &ChildNode,
        starter: Option<&Arc<dyn Starter>>,
    ) -> Result<bool, AdminFailure> {
        if self.planned.contains_key(id) {
            if self.core.child(id).is_some() {
                return Ok(false);
            }
            self.forget(id); // what is left of an earlier child of that id
        }
        let bad = |why: String| AdminFailure::Refused(AdminError::BadSpec(why));
        let path = self.plan.slot.path.child(id.as_str()).map_err(|error| bad(error.to_string()))?;
        let planned = self.system.plan_child(node, path, self.plan.take_place(), starter);
        let planned = planned.map_err(|error| bad(error.to_string()))?;
        self.plan.slot.adopt(Arc::clone(&planned.slot));
        self.system.enter(&planned.slot);
        self.planned.insert(id.clone(), planned);
        Ok(true)
    }

    fn add_instance(&mut self, id: Option<ChildId>, config: toml::Table) -> Result<(ChildId, bool), AdminFailure> {
        let bad = |why: String| AdminFailure::Refused(AdminError::BadSpec(why));
        let planned = self.plan.planned();
        let Some(template) = &planned.template else {
            return Err(bad(format!(
                "{} is not dynamic: only a dynamic supervisor has instances",
                self.plan.slot.path
            )));
        };
        let id = match id {
            Some(id) => id,
            None => ChildId::new(&self.plan.take_place().to_string()).map_err(|error| bad(error.to_string()))?,
        };
        if template.node.spec.id == id {
            return Ok((id, false)); // the core refuses it
        }
        if config.is_empty() {
            let added = self.add(&id, &template.node, template.starter.as_ref())?;
            return Ok((id, added));
        }
        let mut node = template.node.clone();
        match &mut node.work {
            Work::Behaviour { config: of_template, .. } => of_template.extend(config),
            Work::Tree(_) => {
                return Err(bad(
                    "an instance that is a tree takes no config: the behaviours in that file do".to_owned()
                ));
            }
        }
        let added = self.add(&id, &node, None)?;
        Ok((id, added))
    }

    pub(super) fn answer(&mut self, call: u64, result: Result<AdminDone, AdminError>) {
        let Some(Waiting { answer, child, added }) = self.calls.waiting.remove(&call) else { return };
        if added && self.core.child(&child).is_none() {
            self.forget(&child); // nothing came of it
        }
        let path = |id: &ChildId| self.planned.get(id).map(|planned| planned.slot.path.clone());
        let told = match result {
            Ok(AdminDone::Done) => Ok(Outcome::Done),
            Ok(AdminDone::Ignored) => Ok(Outcome::Started(Started { path: None, info: None })),
            Ok(AdminDone::Started { info, .. }) => Ok(Outcome::Started(Started { path: path(&child), info })),
            Err(error) => Err(AdminFailure::Refused(error)),
        };
        let _caller_left = answer.send(told);
    }

    /// The spec of this child is gone. The record of one that was planned stays, out of sight: the next incarnation of this
    /// supervisor starts it again.
    pub(super) fn forget(&mut self, child: &ChildId) {
        match self.plan.planned().children.get(child) {
            Some(planned) if self.is_planned(child, planned) => planned.slot.set_forgotten(true),
            Some(_) | None => {
                if let Some(added) = self.planned.remove(child) {
                    self.strike_off(child, &added);
                }
            }
        }
    }

    fn is_planned(&self, child: &ChildId, planned: &PlannedChild) -> bool {
        self.planned.get(child).is_none_or(|known| Arc::ptr_eq(&known.slot, &planned.slot))
    }

    /// This supervisor ends: what was added while it ran goes with it.
    pub(super) fn forget_added(&mut self) {
        let mut added: Vec<_> = std::mem::take(&mut self.planned).into_iter().collect();
        added.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let stay = self.plan.planned();
        for (child, planned) in added {
            if stay.children.get(&child).is_none_or(|known| !Arc::ptr_eq(&known.slot, &planned.slot)) {
                self.strike_off(&child, &planned);
            }
        }
    }

    fn strike_off(&self, child: &ChildId, added: &PlannedChild) {
        if let Some(planned) = self.plan.planned().children.get(child) {
            // It had the path of one that is planned, which the next incarnation of this supervisor starts again.
            self.system.enter(&planned.slot);
        }
        self.plan.slot.disown(&added.slot);
        self.system.strike_off(&added.slot);
        added.slot.close_gone(ExitReason::Shutdown);
    }
}
