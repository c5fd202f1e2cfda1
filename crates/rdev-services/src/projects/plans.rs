//! Plans of operations on projects: the one place where the steps of each are listed.

use std::sync::Arc;

use rdev_domain::{Conflict, Error, OnFailure, OperationPlan, OperationRequest, Result};
use rdev_engine::{Plan, Plans, Step, Submitter};
use rdev_ports::{Clock, ProjectRecords, Workspaces};

use super::creation::{MakeRepository, PrepareWorkspace, PublishWorkspace};
use super::deletion::{CancelCommands, CloseProject, RemoveRecords, RemoveWorkspace};

/// Plans of operations on projects.
#[derive(Clone)]
pub struct ProjectPlans {
    /// Workspaces, where this runtime makes them.
    pub workspaces: Option<Arc<dyn Workspaces>>,
    /// Records of projects in the store.
    pub records: Arc<dyn ProjectRecords>,
    /// Cancels the commands of a project that is deleted.
    pub submitter: Submitter,
    /// Time of day.
    pub clock: Arc<dyn Clock>,
}

impl ProjectPlans {
    /// Returns the workspaces.
    ///
    /// # Errors
    /// `Conflict` with `PROJECTS_ARE_FOUND` where the runtime makes none.
    pub(super) fn workspaces(&self) -> Result<&Arc<dyn Workspaces>> {
        self.workspaces.as_ref().ok_or_else(|| {
            let message = "this runtime makes and removes no projects: they are the pods with the label \
                           rdev.orchard9.ai/project=true, and a new one is listed by GET /projects once its pod is there \
                           (docs/kubernetes.md)";
            Error::conflict(Conflict::ProjectsAreFound, message)
        })
    }
}

impl Plans for ProjectPlans {
    fn plan(&self, request: &OperationRequest) -> Result<Plan> {
        let workspaces = self.workspaces()?.clone();
        let (records, clock) = (self.records.clone(), self.clock.clone());
        Ok(match request {
            OperationRequest::CreateProject { on_failure, .. } => Plan {
                steps: vec![
                    ("workspace", Arc::new(PrepareWorkspace(workspaces.clone())) as Arc<dyn Step>),
                    ("repository", Arc::new(MakeRepository(workspaces.clone()))),
                    ("publish", Arc::new(PublishWorkspace(workspaces))),
                ],
                rules: OperationPlan { on_failure: *on_failure, no_return_from: None },
            },
            OperationRequest::DeleteProject { .. } => {
                let commands = CancelCommands { records, submitter: self.submitter.clone(), clock };
                let steps = vec![
                    ("close", Arc::new(CloseProject(workspaces.clone())) as Arc<dyn Step>),
                    ("commands", Arc::new(commands.clone())),
                    ("workspace", Arc::new(RemoveWorkspace(workspaces.clone()))),
                    ("records", Arc::new(RemoveRecords { commands, workspaces })),
                ];
                // Nothing brings removed files back.
                let rules =
                    OperationPlan { on_failure: OnFailure::Rollback, no_return_from: Some("workspace") };
                Plan { steps, rules }
            }
        })
    }
}
