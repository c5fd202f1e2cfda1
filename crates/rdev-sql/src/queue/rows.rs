//! Rows of the queue, and the jobs that they stand for.

use rdev_domain::{
    Ending, Error, Failure, Job, JobId, JobSpec, JobState, JobStatus, Outcome, Reason, Result, Schedule,
    Target, Timestamp, WaitingFor,
};
use rdev_ports::{Fence, Slot};

use crate::db::{Tx, execute, run};
use crate::error::{about, unreadable};
use crate::row::row;
use crate::values::{self, micros, parse};

/// A column of the table `jobs` that changes until the job's end, when it comes from the table `queue`.
macro_rules! until_the_end {
    ($column:literal) => {
        concat!("CASE WHEN q.id IS NULL THEN j.", $column, " ELSE q.", $column, " END AS ", $column)
    };
}

/// All columns that a [`JobRow`] reads, of the tables `jobs` (`j`) and `queue` (`q`), in which a job that has ended has no
/// row.
macro_rules! job_columns {
    () => {
        concat!(
            "j.id, j.target, j.stream, j.request, j.timeout_us, j.created_by, j.created_us, j.priority, j.max_attempts, \
             j.ended_us, j.exit_code, j.duration_us, q.waiting_for, ",
            $crate::queue::rows::status!(),
            " AS status, ",
            $crate::queue::rows::until_the_end!("cancel_requested"),
            ", ",
            $crate::queue::rows::until_the_end!("token"),
            ", ",
            $crate::queue::rows::until_the_end!("last_seq"),
            ", ",
            $crate::queue::rows::until_the_end!("pod_uid"),
            ", ",
            $crate::queue::rows::until_the_end!("started_us"),
            ", ",
            $crate::queue::rows::until_the_end!("reason"),
            ", ",
            $crate::queue::rows::until_the_end!("message"),
            ", ",
            $crate::queue::rows::until_the_end!("run_after_us"),
            ", ",
            $crate::queue::rows::until_the_end!("attempts"),
            ", ",
            $crate::queue::rows::until_the_end!("earlier_attempts"),
            ", ",
            $crate::queue::rows::until_the_end!("last_error"),
            ", ",
            $crate::queue::rows::until_the_end!("worker"),
            ", ",
            $crate::queue::rows::until_the_end!("slot")
        )
    };
}

/// Status of a job.
macro_rules! status {
    () => {
        "CASE WHEN q.id IS NULL THEN j.status WHEN q.started_us IS NULL THEN 'pending' ELSE 'running' END"
    };
}
/// Tells whether a worker holds `q`: by the claim, which Postgres looks at anew after another process has claimed the row, or
/// by the worker's lease, which goes on from there.
macro_rules! is_leased {
    () => {
        "(q.lease_until_us >= $2
          OR EXISTS (SELECT 1 FROM lease_owners l WHERE l.owner = q.lease_owner AND l.lease_until_us >= $2))"
    };
}
pub(crate) use {is_leased, job_columns, status, until_the_end};

/// Columns of a job that its end takes over from the row in the queue.
macro_rules! ended_columns {
    ($queue:literal) => {
        concat!(
            "token = ",
            $queue,
            ".token, run_after_us = ",
            $queue,
            ".run_after_us, cancel_requested = ",
            $queue,
            ".cancel_requested, attempts = ",
            $queue,
            ".attempts, earlier_attempts = ",
            $queue,
            ".earlier_attempts, last_error = ",
            $queue,
            ".last_error, started_us = ",
            $queue,
            ".started_us, pod_uid = ",
            $queue,
            ".pod_uid, worker = ",
            $queue,
            ".worker, slot = ",
            $queue,
            ".slot"
        )
    };
}
pub(crate) use ended_columns;

row! {
    /// A job, as a row of the tables `jobs` and `queue`.
    #[derive(Debug)]
    pub(crate) struct JobRow {
        pub(crate) id: String,
        target: String,
        stream: String,
        request: String,
        timeout_us: i64,
        created_by: String,
        created_us: i64,
        pub(crate) priority: i32,
        max_attempts: i32,
        ended_us: Option<i64>,
        exit_code: Option<i32>,
        duration_us: Option<i64>,
        waiting_for: Option<String>,
        /// `None` where the row of an ended job is damaged.
        status: Option<String>,
        cancel_requested: bool,
        pub(crate) token: i64,
        pub(crate) last_seq: i64,
        pub(crate) pod_uid: Option<String>,
        started_us: Option<i64>,
        reason: Option<String>,
        message: Option<String>,
        run_after_us: i64,
        pub(crate) attempts: i32,
        earlier_attempts: i32,
        last_error: Option<String>,
        worker: Option<String>,
        slot: i32,
    }
}

impl JobRow {
    /// Returns the row as it was before its job's first start, which the statement that read it has made.
    pub(crate) fn before_start(self) -> Self {
        let status = Some(JobStatus::Pending.as_str().to_owned());
        Self { status, started_us: None, pod_uid: None, attempts: self.attempts - 1, ..self }
    }

    pub(crate) fn job(&self) -> Result<Job> {
        self.read().map_err(|error| about(error, format_args!("job {}", self.id)))
    }

    fn read(&self) -> Result<Job> {
        Ok(Job {
            id: parse(&self.id)?,
            spec: spec(&self.target, &self.request, &self.id)?,
            stream: parse(&self.stream)?,
            timeout: micros(self.timeout_us),
            created_by: parse(&self.created_by)?,
            created_at: Timestamp::from_micros(self.created_us),
            cancel_requested: self.cancel_requested,
            schedule: self.schedule(),
            state: self.state()?,
        })
    }

    pub(crate) fn slot(&self) -> Result<Option<Slot>> {
        slot(self.worker.as_deref(), self.slot)
    }

    /// Returns the failure that keeps the job from going on, while the job has not ended.
    fn failure(&self) -> Result<Option<Failure>> {
        let failure = |reason: &String| {
            let message = self.message.clone().unwrap_or_default();
            let reason = Reason::parse(reason).ok_or_else(|| unreadable("reason", reason))?;
            Ok(Failure { reason, message })
        };
        self.reason.as_ref().map(failure).transpose()
    }

    fn waiting_for(&self) -> Result<Option<WaitingFor>> {
        let parse = |name: &String| WaitingFor::parse(name).ok_or_else(|| unreadable("waiting_for", name));
        self.waiting_for.as_ref().map(parse).transpose()
    }

    fn schedule(&self) -> Schedule {
        Schedule {
            priority: self.priority,
            run_after: (self.run_after_us > 0).then(|| Timestamp::from_micros(self.run_after_us)),
            max_attempts: self.max_attempts.unsigned_abs(),
            attempts: self.attempts.unsigned_abs(),
            earlier_attempts: self.earlier_attempts.unsigned_abs(),
            last_error: self.last_error.clone(),
        }
    }

    fn state(&self) -> Result<JobState> {
        let status = self.status.as_deref().and_then(JobStatus::parse);
        let status = status.ok_or_else(|| unreadable("status", &self.status))?;
        let started_at = self.started_us.map(Timestamp::from_micros);
        match (status, started_at) {
            (JobStatus::Pending, _) => Ok(JobState::Pending),
            (JobStatus::Running, Some(started_at)) => Ok(JobState::Running {
                started_at,
                failure: self.failure()?,
                waiting_for: self.waiting_for()?,
            }),
            (_, started_at) => {
                let ending = Ending::from_status_and_reason(status, self.reason.as_deref());
                let (Some(ending), Some(ended_us)) = (ending, self.ended_us) else {
                    return Err(unreadable("state", &(&self.id, &self.status, &self.reason)));
                };
                let outcome = Outcome {
                    ending,
                    exit_code: self.exit_code,
                    message: self.message.clone(),
                    duration: micros(self.duration_us.unwrap_or(0)),
                };
                Ok(JobState::Ended { started_at, ended_at: Timestamp::from_micros(ended_us), outcome })
            }
        }
    }
}

/// Returns the stored form of a specification, without its project.
pub(crate) fn stored_spec(spec: &JobSpec) -> Result<String> {
    let stored = match spec {
        JobSpec::Command { request, .. } => serde_json::to_string(request),
        JobSpec::Task(task) => serde_json::to_string(task),
        JobSpec::Operation(request) => serde_json::to_string(request),
    };
    stored.map_err(|error| Error::Internal(error.into()))
}

/// Returns the specification of a row: the columns `target` and `request` of the job `id`.
fn spec(target: &str, request: &str, id: &str) -> Result<JobSpec> {
    let unreadable = |_| unreadable("request", &id);
    match values::target(target)? {
        Target::Project(project) => {
            let request = serde_json::from_str(request).map_err(unreadable)?;
            Ok(JobSpec::Command { project, request })
        }
        Target::Pool => serde_json::from_str(request).map_err(unreadable).map(JobSpec::Task),
        Target::Operations => serde_json::from_str(request).map_err(unreadable).map(JobSpec::Operation),
    }
}

/// Returns the value of the column `run_after_us`.
pub(crate) fn run_after_us(schedule: &Schedule) -> i64 {
    schedule.run_after.map_or(0, Timestamp::as_micros)
}

/// Returns the slot of the columns `worker` and `slot`.
pub(crate) fn slot(worker: Option<&str>, number: i32) -> Result<Option<Slot>> {
    let slot = |worker| Ok(Slot { worker: parse(worker)?, number: number.unsigned_abs() });
    worker.map(slot).transpose()
}

const JOB: &str =
    concat!("SELECT ", job_columns!(), " FROM jobs j LEFT JOIN queue q ON q.id = j.id WHERE j.id = $1");

/// Returns the row of a job.
pub(crate) async fn job_row(tx: &mut Tx, id: &str) -> Result<Option<JobRow>> {
    run!(tx, fetch_optional, query_as<JobRow>, JOB, id)
}

/// Locks the row of a job in the queue, if there is one.
async fn lock_in_queue(tx: &mut Tx, id: &str) -> Result<()> {
    match tx {
        // There is one writer.
        Tx::Sqlite(_) => Ok(()),
        Tx::Postgres(_) => execute!(tx, "SELECT 1 FROM queue WHERE id = $1 FOR UPDATE", id).map(|_| ()),
    }
}

/// Returns the row of a job and locks it, for a decision that is then written to the row.
pub(crate) async fn locked(tx: &mut Tx, id: &str) -> Result<Option<JobRow>> {
    // The rows are locked by statements of their own: one that waits sees the other tables as they were before its wait. The
    // row of the queue comes first, as in every other write.
    lock_in_queue(tx, id).await?;
    if let Tx::Postgres(_) = tx {
        execute!(&mut *tx, "SELECT 1 FROM jobs WHERE id = $1 FOR UPDATE", id)?;
    }
    job_row(tx, id).await
}

/// Returns the row and the job of a claim, and locks the row.
///
/// # Errors
/// `LeaseLost` when the claim is not the latest, or the job has ended.
pub(crate) async fn fenced(tx: &mut Tx, fence: &Fence) -> Result<(JobRow, Job)> {
    // The end of a job deletes this row, so a claim needs no other lock.
    lock_in_queue(tx, fence.id.as_str()).await?;
    let row = job_row(tx, fence.id.as_str()).await?.ok_or(Error::LeaseLost)?;
    let job = row.job()?;
    if row.token != fence.token || job.state.is_ended() {
        return Err(Error::LeaseLost);
    }
    Ok((row, job))
}

/// Tells whether a worker holds a job.
pub(crate) async fn leased(tx: &mut Tx, id: &JobId, now: Timestamp) -> Result<bool> {
    run!(
        tx,
        fetch_one,
        query_scalar<bool>,
        concat!(
            "SELECT EXISTS (SELECT 1 FROM queue q WHERE q.id = $1 AND q.lease_owner IS NOT NULL AND ",
            is_leased!(),
            ")"
        ),
        id.as_str(),
        now.as_micros(),
    )
}
