//! What operators may ask of a supervisor. The results are OTP's.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Supervisor;
use super::child::{Child, Phase};
use super::procedure::{AdminAct, Goal, Procedure};
use crate::effect::{AdminDone, AdminError, AdminResult, Effect};
use crate::event::AdminRequest;
use crate::spec::{ChildId, ChildSpec, SpecError, SupervisorSpec};

impl Supervisor {
    /// Does what an operator wants. Nothing else is under way.
    pub(super) fn admin(&mut self, call: u64, request: AdminRequest, effects: &mut Vec<Effect>) {
        let answer = match request {
            AdminRequest::Terminate(id) => self.terminate(call, &id, effects),
            AdminRequest::Restart(id) => self.restart_stopped(call, &id, effects),
            AdminRequest::Delete(id) => self.delete(&id, effects),
            AdminRequest::Start(spec) => self.start_new(call, spec, effects),
            AdminRequest::StartInstance(id) => self.start_instance(call, id, effects),
            AdminRequest::ReplaceSpecs(spec) => Some(self.replace_specs(spec)),
        };
        if let Some(result) = answer {
            effects.push(Effect::Answer { call, result });
        }
    }

    /// `None` where the answer comes when the child has ended.
    fn terminate(&mut self, call: u64, id: &ChildId, effects: &mut Vec<Effect>) -> Option<AdminResult> {
        let Some(at) = self.children.position(id) else {
            // An instance that is not there has ended. The template itself never runs.
            let ended = self.template.as_ref().is_some_and(|template| template.id != *id);
            return Some(if ended { Ok(AdminDone::Done) } else { Err(AdminError::NotFound) });
        };
        match self.children[at].phase {
            Phase::Undefined => Some(Ok(AdminDone::Done)),
            Phase::Unkillable { .. } => Some(Err(AdminError::Unkillable)),
            Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Exited { .. }
            | Phase::Waiting { .. }
            | Phase::Blocked
            | Phase::Stopping { .. } => {
                let goal = Goal::Admin { call, act: AdminAct::Terminate(id.clone()) };
                self.begin(Procedure::new(goal, VecDeque::from([id.clone()]), VecDeque::new()), effects);
                None
            }
        }
    }

    fn restart_stopped(&mut self, call: u64, id: &ChildId, effects: &mut Vec<Effect>) -> Option<AdminResult> {
        if self.is_dynamic() {
            return Some(Err(AdminError::Dynamic));
        }
        let Some(at) = self.children.position(id) else { return Some(Err(AdminError::NotFound)) };
        if let Err(error) = is_stopped(&self.children[at]) {
            return Some(Err(error));
        }
        let goal = Goal::Admin { call, act: AdminAct::Restart };
        self.begin(Procedure::new(goal, VecDeque::new(), VecDeque::from([id.clone()])), effects);
        None
    }

    fn delete(&mut self, id: &ChildId, effects: &mut Vec<Effect>) -> Option<AdminResult> {
        if self.is_dynamic() {
            return Some(Err(AdminError::Dynamic));
        }
        let Some(at) = self.children.position(id) else { return Some(Err(AdminError::NotFound)) };
        if let Err(error) = is_stopped(&self.children[at]) {
            return Some(Err(error));
        }
        self.forget(at, effects);
        Some(Ok(AdminDone::Done))
    }

    fn start_instance(&mut self, call: u64, id: ChildId, effects: &mut Vec<Effect>) -> Option<AdminResult> {
        let Some(template) = &self.template else {
            return Some(Err(AdminError::BadSpec("only a dynamic supervisor has instances".to_owned())));
        };
        if template.id == id || self.children.position(&id).is_some() {
            return Some(Err(AdminError::AlreadyStarted));
        }
        let instance = Child::instance(id, Arc::clone(template));
        self.start_last(call, instance, effects)
    }

    fn start_new(&mut self, call: u64, spec: ChildSpec, effects: &mut Vec<Effect>) -> Option<AdminResult> {
        if self.is_dynamic() {
            return Some(Err(AdminError::Dynamic));
        }
        if let Err(error) = spec.validate().and_then(|()| self.auto_shutdown.admits(&spec)) {
            return Some(Err(AdminError::BadSpec(error.to_string())));
        }
        if let Some(at) = self.children.position(&spec.id) {
            let runs = self.children[at].attempt().is_some();
            return Some(Err(if runs { AdminError::AlreadyStarted } else { AdminError::AlreadyPresent }));
        }
        self.start_last(call, Child::new(spec), effects)
    }

    /// Starts a child that is new, the last in order.
    fn start_last(&mut self, call: u64, child: Child, effects: &mut Vec<Effect>) -> Option<AdminResult> {
        let count = self.children.len() + 1;
        if count > SupervisorSpec::CHILDREN_MAX {
            return Some(Err(AdminError::BadSpec(SpecError::TooManyChildren(count).to_string())));
        }
        let id = child.id.clone();
        self.children.push(child);
        let goal = Goal::Admin { call, act: AdminAct::Start };
        self.begin(Procedure::new(goal, VecDeque::new(), VecDeque::from([id])), effects);
        None
    }
}

fn is_stopped(child: &Child) -> Result<(), AdminError> {
    match child.phase {
        Phase::Undefined => Ok(()),
        Phase::Exited { .. } | Phase::Waiting { .. } | Phase::Blocked => Err(AdminError::Restarting),
        Phase::Starting { .. } | Phase::Running { .. } | Phase::Stopping { .. } => Err(AdminError::Running),
        Phase::Unkillable { .. } => Err(AdminError::Unkillable),
    }
}
