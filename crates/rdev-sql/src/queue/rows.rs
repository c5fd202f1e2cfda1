//! Rows of the queue, and the jobs that they stand for.

use rdev_domain::{
    Ending, Error, Failure, Job, JobId, JobSpec, JobState, JobStatus, Outcome, Reason, Result, Schedule,
    Target, Timestamp, WaitingFor,
};
use rdev_ports::{Fence, Slot};

use crate::db::{Tx, run};
use crate::error::{about, unreadable};
use crate::row::row;
use crate::values::{micros, parse, target};

/// All columns that a [`TaskRow`] reads.
macro_rules! task_columns {
    () => {
        "id, project, stream, request, timeout_us, created_by, created_us, cancel_requested, status, attempt, \
         last_seq, place_uid, started_us, ended_us, exit_code, reason, message, duration_us, pool, priority, turn, \
         run_after_us, tries, earlier_tries, max_attempts, last_error, worker, seat, waiting_for"
    };
}
pub(crate) use task_columns;

row! {
    /// A row of the table `tasks`.
    #[derive(Debug)]
    pub(crate) struct TaskRow {
        pub(crate) id: String,
        project: String,
        stream: String,
        request: String,
        timeout_us: i64,
        created_by: String,
        created_us: i64,
        cancel_requested: bool,
        status: String,
        pub(crate) token: i64 = "attempt",
        pub(crate) last_seq: i64,
        pub(crate) pod_uid: Option<String> = "place_uid",
        started_us: Option<i64>,
        ended_us: Option<i64>,
        exit_code: Option<i32>,
        reason: Option<String>,
        message: Option<String>,
        duration_us: Option<i64>,
        pub(crate) pool: bool,
        pub(crate) priority: i32,
        pub(crate) virtual_time: i64 = "turn",
        run_after_us: i64,
        pub(crate) attempts: i32 = "tries",
        earlier_attempts: i32 = "earlier_tries",
        max_attempts: i32,
        last_error: Option<String>,
        worker: Option<String>,
        slot: i32 = "seat",
        waiting_for: Option<String>,
    }
}

impl TaskRow {
    pub(crate) fn job(&self) -> Result<Job> {
        self.read().map_err(|error| about(error, format_args!("task {}", self.id)))
    }

    fn read(&self) -> Result<Job> {
        Ok(Job {
            id: parse(&self.id)?,
            spec: spec(&self.project, &self.request, &self.id)?,
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
        let status = JobStatus::parse(&self.status).ok_or_else(|| unreadable("status", &self.status))?;
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

/// Returns the specification of a row: the columns `project` and `request` of the job `id`.
fn spec(project: &str, request: &str, id: &str) -> Result<JobSpec> {
    let unreadable = |_| unreadable("request", &id);
    match target(project)? {
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

/// Returns the slot of the columns `worker` and `seat`.
pub(crate) fn slot(worker: Option<&str>, number: i32) -> Result<Option<Slot>> {
    let slot = |worker| Ok(Slot { worker: parse(worker)?, number: number.unsigned_abs() });
    worker.map(slot).transpose()
}

macro_rules! task {
    ($lock:literal) => {
        concat!("SELECT ", task_columns!(), " FROM tasks WHERE id = $1", $lock)
    };
}

/// Returns the row of a job.
pub(crate) async fn task(tx: &mut Tx, id: &str) -> Result<Option<TaskRow>> {
    run!(tx, fetch_optional, query_as<TaskRow>, task!(""), id)
}

/// Returns the row of a job and locks it, for a decision that is then written to the row.
pub(crate) async fn locked(tx: &mut Tx, id: &str) -> Result<Option<TaskRow>> {
    let sql = match tx {
        // There is one writer.
        Tx::Sqlite(_) => task!(""),
        Tx::Postgres(_) => task!(" FOR UPDATE"),
    };
    run!(tx, fetch_optional, query_as<TaskRow>, sql, id)
}

/// Returns the row and the job of a claim, and locks the row.
///
/// # Errors
/// `LeaseLost` when the claim is not the latest, or the job has ended.
pub(crate) async fn fenced(tx: &mut Tx, fence: &Fence) -> Result<(TaskRow, Job)> {
    let row = locked(tx, fence.id.as_str()).await?.ok_or(Error::LeaseLost)?;
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
        "SELECT lease_owner IS NOT NULL AND lease_until_us >= $1 FROM tasks WHERE id = $2",
        now.as_micros(),
        id.as_str(),
    )
}
