//! Steps that make a project: its workspace and repository are prepared where nobody sees them, and published at once.

use std::sync::Arc;

use async_trait::async_trait;
use rdev_domain::{Made, Result};
use rdev_engine::{Ensured, Step, StepContext};
use rdev_ports::Workspaces;

/// Empty workspace.
pub(super) struct PrepareWorkspace(pub(super) Arc<dyn Workspaces>);

#[async_trait]
impl Step for PrepareWorkspace {
    async fn ensure(&self, context: &StepContext) -> Result<Ensured> {
        let path = self.0.prepare(&context.project, &context.operation).await?;
        Ok(Ensured::Done(Made::from([("path".to_owned(), path)])))
    }

    async fn undo(&self, context: &StepContext, _made: &Made) -> Result<()> {
        self.0.discard(&context.project, &context.operation).await
    }
}

/// git repository in the workspace.
pub(super) struct MakeRepository(pub(super) Arc<dyn Workspaces>);

#[async_trait]
impl Step for MakeRepository {
    async fn ensure(&self, context: &StepContext) -> Result<Ensured> {
        self.0.make_repository(&context.project, &context.operation).await?;
        Ok(Ensured::Done(Made::from([("branch".to_owned(), "main".to_owned())])))
    }

    async fn undo(&self, context: &StepContext, _made: &Made) -> Result<()> {
        self.0.remove_repository(&context.project, &context.operation).await
    }
}

/// The workspace as a project.
pub(super) struct PublishWorkspace(pub(super) Arc<dyn Workspaces>);

#[async_trait]
impl Step for PublishWorkspace {
    async fn ensure(&self, context: &StepContext) -> Result<Ensured> {
        let path = self.0.publish(&context.project, &context.operation).await?;
        Ok(Ensured::Done(Made::from([("path".to_owned(), path)])))
    }

    async fn undo(&self, context: &StepContext, _made: &Made) -> Result<()> {
        self.0.withdraw(&context.project, &context.operation).await
    }
}
