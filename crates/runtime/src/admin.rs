//! OTP's administrative calls: children that are started, stopped, restarted and forgotten while the rest goes on.

use std::collections::BTreeMap;

use covenant_supervision::{AdminError, ChildId, ChildNode, ChildSpec, Counts, TreeSpec};
use covenant_types::ActorPath;
use tokio::sync::oneshot;

use crate::System;
use crate::supervisor::{Answer, Call, Order, Outcome, Request};

/// A child that was started by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Where it runs; none where its start said that it has nothing to do.
    pub path: Option<ActorPath>,
    /// What it said of itself, by [`Context::tell_starter`](crate::Context::tell_starter).
    pub info: Option<String>,
}

/// What becomes of the mailbox of a child that runs something else from its next start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rework {
    /// It is kept, with every reference to it: the behaviour is the same.
    Refit,
    /// It closes, and the path has a new one.
    Replace,
}

/// Why an administrative call did nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminFailure {
    /// No supervisor runs at that path: there is none, or it is between two incarnations.
    #[error("no supervisor runs at {0}")]
    NoSupervisor(ActorPath),
    /// The supervisor ended before it answered. What was asked may have been done.
    #[error("the supervisor at {0} ended before it answered")]
    Gone(ActorPath),
    /// It started, and said that there is nothing to run.
    #[error("it has nothing to do here")]
    Ignored,
    /// The supervisor says no.
    #[error(transparent)]
    Refused(#[from] AdminError),
}

/// Cancel safety of all calls: a future that is dropped takes nothing back; the supervisor does what it was asked.
impl System {
    /// Starts one more child of `supervisor`, the last in order. It lives until it ends, is deleted, or the supervisor ends:
    /// that starts again with the children of its tree file.
    ///
    /// # Errors
    /// OTP's: the id is taken, the spec is wrong, or the child did not start. Its spec is not kept then.
    pub async fn start_child(&self, supervisor: &ActorPath, child: ChildNode) -> Result<Started, AdminFailure> {
        started(self.ask(supervisor, Request::Start(Box::new(child))).await, supervisor)
    }

    /// Starts one more instance of the template of `supervisor`, which is dynamic, with `config` over the template's own.
    /// Without an id it gets a number that was never used there.
    ///
    /// # Errors
    /// As [`System::start_child`].
    pub async fn start_instance(
        &self,
        supervisor: &ActorPath,
        id: Option<ChildId>,
        config: toml::Table,
    ) -> Result<Started, AdminFailure> {
        started(self.ask(supervisor, Request::StartInstance { id, config }).await, supervisor)
    }

    /// Stops the child at `path` as its spec says, and returns when it has ended. Its spec is kept, unless it is temporary
    /// or an instance. Stopping what is stopped is no error.
    ///
    /// # Errors
    /// There is no such child, or it was killed and does not end.
    pub async fn terminate_child(&self, path: &ActorPath) -> Result<(), AdminFailure> {
        let (supervisor, id) = above(path)?;
        self.ask(&supervisor, Request::Terminate(id)).await.map(drop)
    }

    /// Starts the stopped child at `path` again. It is not counted as a restart.
    ///
    /// # Errors
    /// There is no such child, it runs, it is being restarted already, or it did not start.
    pub async fn restart_child(&self, path: &ActorPath) -> Result<Started, AdminFailure> {
        let (supervisor, id) = above(path)?;
        started(self.ask(&supervisor, Request::Restart(id)).await, &supervisor)
    }

    /// Forgets the stopped child at `path`.
    ///
    /// # Errors
    /// There is no such child, it runs, or it is being restarted.
    pub async fn delete_child(&self, path: &ActorPath) -> Result<(), AdminFailure> {
        let (supervisor, id) = above(path)?;
        self.ask(&supervisor, Request::Delete(id)).await.map(drop)
    }

    /// How many children the supervisor at `path` has.
    ///
    /// # Errors
    /// No supervisor runs there.
    pub async fn count_children(&self, path: &ActorPath) -> Result<Counts, AdminFailure> {
        match self.ask(path, Request::Count).await? {
            Outcome::Counts(counts) => Ok(counts),
            Outcome::Done | Outcome::Started(_) | Outcome::Spec(_) => Err(AdminFailure::Gone(path.clone())),
        }
    }

    /// What the supervisor of the child at `path` was told of it. An instance has what its template says.
    ///
    /// # Errors
    /// There is no such child.
    pub async fn child_spec(&self, path: &ActorPath) -> Result<ChildSpec, AdminFailure> {
        let (supervisor, id) = above(path)?;
        match self.ask(&supervisor, Request::Spec(id)).await? {
            Outcome::Spec(spec) => Ok(*spec),
            Outcome::Done | Outcome::Started(_) | Outcome::Counts(_) => Err(AdminFailure::Gone(supervisor)),
        }
    }

    /// Makes `tree` what the supervisor at `path` and its children are from now on, and after restarts of either. What runs
    /// goes on under its new rules; what is new is known and stopped; what `tree` does not name is kept until it is deleted.
    /// Children in `rework` become what `tree` says at their next start; what others run stays as it was. The specs of
    /// supervisors below are their own.
    ///
    /// # Errors
    /// A spec is wrong. Nothing was changed.
    pub async fn replace_specs(
        &self,
        path: &ActorPath,
        tree: TreeSpec,
        rework: BTreeMap<ChildId, Rework>,
    ) -> Result<(), AdminFailure> {
        self.ask(path, Request::ReplaceSpecs { tree: Box::new(tree), rework }).await.map(drop)
    }

    async fn ask(&self, supervisor: &ActorPath, request: Request) -> Answer {
        let desk = self.desk(supervisor).ok_or_else(|| AdminFailure::NoSupervisor(supervisor.clone()))?;
        let (answer, answered) = oneshot::channel();
        desk.post(Order::Admin(Call { request, answer }));
        answered.await.unwrap_or_else(|_| Err(AdminFailure::Gone(supervisor.clone())))
    }
}

fn started(answer: Answer, supervisor: &ActorPath) -> Result<Started, AdminFailure> {
    match answer? {
        Outcome::Started(started) => Ok(started),
        Outcome::Done | Outcome::Counts(_) | Outcome::Spec(_) => Err(AdminFailure::Gone(supervisor.clone())),
    }
}

/// The supervisor of `path`, and its id there. The root is nobody's child.
fn above(path: &ActorPath) -> Result<(ActorPath, ChildId), AdminFailure> {
    let not_found = || AdminFailure::Refused(AdminError::NotFound);
    let id = ChildId::new(path.id()).map_err(|_| not_found())?;
    Ok((path.parent().ok_or_else(not_found)?, id))
}
