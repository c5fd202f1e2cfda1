//! Steps that remove a project: it is closed, its commands are ended, then its files and its records are removed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{Error, Made, Result};
use rdev_engine::{Step, StepContext, Submitter};
use rdev_ports::{Clock, ProjectRecords, Workspaces};
use tokio::time::{Instant, sleep};

/// Most commands that are cancelled together.
const CANCELLED_TOGETHER: u32 = 100;
/// First and longest pause between two looks whether cancelled commands have ended; it doubles each time.
const LOOK_FIRST: Duration = Duration::from_millis(50);
const LOOK_LAST: Duration = Duration::from_secs(1);
/// Longest wait of one attempt for cancelled commands to end.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// The project takes no commands any more.
pub(super) struct CloseProject(pub(super) Arc<dyn Workspaces>);

#[async_trait]
impl Step for CloseProject {
    async fn ensure(&self, context: &StepContext) -> Result<Made> {
        self.0.close(&context.project).await?;
        Ok(Made::new())
    }

    async fn undo(&self, context: &StepContext, _made: &Made) -> Result<()> {
        self.0.reopen(&context.project).await
    }
}

/// The project's commands and tasks have ended.
pub(super) struct CancelCommands {
    pub(super) records: Arc<dyn ProjectRecords>,
    pub(super) submitter: Submitter,
    pub(super) clock: Arc<dyn Clock>,
}

#[async_trait]
impl Step for CancelCommands {
    async fn ensure(&self, context: &StepContext) -> Result<Made> {
        let (until, mut pause) = (Instant::now() + END_PATIENCE, LOOK_FIRST);
        loop {
            let unfinished = self.records.unfinished_of(&context.project, CANCELLED_TOGETHER).await?;
            if unfinished.is_empty() {
                return Ok(Made::new());
            }
            for (target, id) in &unfinished {
                self.submitter.cancel((target, id), None, self.clock.now()).await?;
            }
            if Instant::now() >= until {
                let left =
                    anyhow::anyhow!("{} have not ended, such as {}", unfinished.len(), unfinished[0].1);
                return Err(Error::unavailable("the end of the project's commands", left));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK_LAST);
        }
    }

    /// Commands that were cancelled stay so.
    async fn undo(&self, _context: &StepContext, _made: &Made) -> Result<()> {
        Ok(())
    }
}

/// The workspace is gone with everything in it.
pub(super) struct RemoveWorkspace(pub(super) Arc<dyn Workspaces>);

#[async_trait]
impl Step for RemoveWorkspace {
    async fn ensure(&self, context: &StepContext) -> Result<Made> {
        self.0.remove(&context.project).await?;
        Ok(Made::new())
    }

    /// Nothing brings the files back: the plan never takes this step back.
    async fn undo(&self, _context: &StepContext, _made: &Made) -> Result<()> {
        Ok(())
    }
}

/// The store has nothing of the project, but for its operations.
pub(super) struct RemoveRecords {
    pub(super) records: Arc<dyn ProjectRecords>,
    pub(super) clock: Arc<dyn Clock>,
}

#[async_trait]
impl Step for RemoveRecords {
    async fn ensure(&self, context: &StepContext) -> Result<Made> {
        let (until, mut pause, mut removed) = (Instant::now() + END_PATIENCE, LOOK_FIRST, 0);
        loop {
            let report = self.records.remove_records(&context.project, self.clock.now()).await?;
            removed += report.done;
            if !report.more {
                return Ok(Made::from([("removed".to_owned(), removed.to_string())]));
            }
            if report.done > 0 {
                continue;
            }
            // What is left has an end that a follower of the log has still to read.
            if Instant::now() >= until {
                let unread = anyhow::anyhow!("a follower of the log has not read their end");
                return Err(Error::unavailable("the removal of the project's commands", unread));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK_LAST);
        }
    }

    /// Nothing brings the records back: the plan never takes this step back.
    async fn undo(&self, _context: &StepContext, _made: &Made) -> Result<()> {
        Ok(())
    }
}
