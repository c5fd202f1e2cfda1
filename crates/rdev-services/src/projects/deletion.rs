//! Steps that remove a project: it is closed, its commands are ended, then its files and its records are removed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{Error, JobId, Made, ProjectId, Result, Target};
use rdev_engine::{Ensured, Step, StepContext, Submitter};
use rdev_ports::{Clock, ProjectRecords, Workspaces};
use tokio::time::{Instant, sleep};

/// Most commands that are cancelled together.
const CANCELLED_TOGETHER: u32 = 100;
/// First and longest pause between two looks whether cancelled commands have ended; it doubles each time.
const LOOK_FIRST: Duration = Duration::from_millis(50);
const LOOK_LAST: Duration = Duration::from_secs(1);
/// Longest wait of one attempt for cancelled commands to end, or for records to go.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// Looks of one attempt at what is to go: bounded in time, with pauses that grow while nothing goes.
struct Looks {
    until: Instant,
    pause: Duration,
    has_progress: bool,
}

impl Looks {
    fn begin() -> Self {
        Self { until: Instant::now() + END_PATIENCE, pause: LOOK_FIRST, has_progress: false }
    }

    fn are_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Notes that something has gone.
    fn progress(&mut self) {
        (self.pause, self.has_progress) = (LOOK_FIRST, true);
    }

    async fn pause(&mut self) {
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LOOK_LAST);
    }
}

/// The project takes no commands any more.
pub(super) struct CloseProject(pub(super) Arc<dyn Workspaces>);

#[async_trait]
impl Step for CloseProject {
    async fn ensure(&self, context: &StepContext) -> Result<Ensured> {
        self.0.close(&context.project).await?;
        Ok(Ensured::Done(Made::new()))
    }

    async fn undo(&self, context: &StepContext, _made: &Made) -> Result<()> {
        self.0.reopen(&context.project).await
    }
}

/// The project's commands and tasks have ended.
#[derive(Clone)]
pub(super) struct CancelCommands {
    pub(super) records: Arc<dyn ProjectRecords>,
    pub(super) submitter: Submitter,
    pub(super) clock: Arc<dyn Clock>,
}

impl CancelCommands {
    /// Cancels commands and tasks. Returns those that have not ended by that.
    async fn cancel(&self, unfinished: Vec<(Target, JobId)>) -> Result<Vec<JobId>> {
        let mut left = Vec::new();
        for (target, id) in unfinished {
            let cancelled = self.submitter.cancel((&target, &id), None, self.clock.now()).await?;
            if cancelled.is_some_and(|(job, _)| !job.state.is_ended()) {
                left.push(id);
            }
        }
        Ok(left)
    }

    /// Cancels commands and tasks of a project until none is left. `Ensured::More` when the time is over while
    /// cancellations end some.
    async fn end_all(&self, project: &ProjectId) -> Result<Ensured> {
        let mut looks = Looks::begin();
        loop {
            let unfinished = self.records.unfinished_of(project, CANCELLED_TOGETHER).await?;
            let found = unfinished.len();
            if found == 0 {
                return Ok(Ensured::Done(Made::new()));
            }
            let left = self.cancel(unfinished).await?;
            let advances = left.len() < found;
            if advances {
                looks.progress();
            }
            if looks.are_over() {
                let Some(first) = left.first().filter(|_| !looks.has_progress) else {
                    return Ok(Ensured::More);
                };
                let left =
                    anyhow::anyhow!("at least {} commands have not ended, such as {first}", left.len());
                return Err(Error::unavailable("the end of the project's commands", left));
            }
            // Others may stand behind those that have ended.
            if !advances {
                looks.pause().await;
            }
        }
    }
}

#[async_trait]
impl Step for CancelCommands {
    async fn ensure(&self, context: &StepContext) -> Result<Ensured> {
        self.end_all(&context.project).await
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
    async fn ensure(&self, context: &StepContext) -> Result<Ensured> {
        self.0.remove(&context.project).await?;
        Ok(Ensured::Done(Made::new()))
    }

    /// Nothing brings the files back: the plan never takes this step back.
    async fn undo(&self, _context: &StepContext, _made: &Made) -> Result<()> {
        Ok(())
    }
}

/// The store has nothing of the project, but for its operations, and the project's name is free again.
pub(super) struct RemoveRecords {
    pub(super) commands: CancelCommands,
    pub(super) workspaces: Arc<dyn Workspaces>,
}

impl RemoveRecords {
    /// Removes idempotency keys, then jobs that have ended. `Ensured::More` when the time is over while some are removed.
    async fn remove(&self, project: &ProjectId) -> Result<Ensured> {
        let CancelCommands { records, clock, .. } = &self.commands;
        let (mut looks, mut began) = (Looks::begin(), Instant::now());
        while records.remove_keys(project).await? > 0 {
            if looks.are_over() {
                return Ok(Ensured::More);
            }
            began = rested(began).await;
        }
        loop {
            let report = records.remove_records(project, clock.now()).await?;
            if !report.more {
                return Ok(Ensured::Done(Made::new()));
            }
            if report.done > 0 {
                looks.progress();
            }
            if looks.are_over() {
                if looks.has_progress {
                    return Ok(Ensured::More);
                }
                // What is left has an end that a follower of the log has still to read.
                let unread = anyhow::anyhow!("a follower of the log has not read their end");
                return Err(Error::unavailable("the removal of the project's commands", unread));
            }
            if report.done > 0 {
                began = rested(began).await;
            } else {
                looks.pause().await;
                began = Instant::now();
            }
        }
    }
}

/// Sleeps as long as the work since `began` took, so that other writers have as much time. Returns the time afterwards.
async fn rested(began: Instant) -> Instant {
    sleep(began.elapsed().min(LOOK_LAST)).await;
    Instant::now()
}

#[async_trait]
impl Step for RemoveRecords {
    async fn ensure(&self, context: &StepContext) -> Result<Ensured> {
        let project = &context.project;
        // A command that was accepted while the project was being closed is cancelled first: left alone, it would run in
        // the next project of that name.
        if self.commands.end_all(project).await? == Ensured::More
            || self.remove(project).await? == Ensured::More
            || !self.commands.records.unfinished_of(project, 1).await?.is_empty()
        {
            return Ok(Ensured::More);
        }
        // The last act of all: until then nobody makes a project of that name.
        self.workspaces.reopen(project).await?;
        Ok(Ensured::Done(Made::new()))
    }

    /// Nothing brings the records back: the plan never takes this step back.
    async fn undo(&self, _context: &StepContext, _made: &Made) -> Result<()> {
        Ok(())
    }
}
