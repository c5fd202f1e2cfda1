//! Steps of operations, each a row of the table `operation_steps`.

use async_trait::async_trait;
use rdev_domain::{
    Entry, EntryBody, Error, IdempotencyKey, Job, JobId, JobState, Made, OperationRequest, OperationStep,
    ProjectId, Result, Seq, StepError, StepErrorCode, StepEvent, StepName, StepState, StepStatus, Timestamp,
};
use rdev_ports::{Fence, OperationSteps, Operations};

use crate::db::{Commit, Tx, execute, read, run, write};
use crate::error::unreadable;
use crate::log::entries::{entry, store_entry};
use crate::log::rows::{EventRow, KIND_STEP, entries_where};
use crate::queue::idempotency;
use crate::queue::rows::{JobRow, fenced, job_columns, job_row};
use crate::row::row;
use crate::store::SqlStore;
use crate::values::{OPERATIONS, between_commas, parse};

/// All columns that a [`StepRow`] reads.
macro_rules! step_columns {
    () => {
        "operation_id, number, name, state, attempt, made, error_code, error, started_us, ended_us"
    };
}

row! {
    /// A row of the table `operation_steps`.
    #[derive(Debug)]
    struct StepRow {
        operation_id: String,
        number: i32,
        name: String,
        state: String,
        attempt: i32,
        made: String,
        error_code: Option<String>,
        error: Option<String>,
        started_us: Option<i64>,
        ended_us: Option<i64>,
    }
}

impl StepRow {
    fn step(&self) -> Result<OperationStep> {
        let bad = |what| unreadable(what, &(&self.operation_id, self.number, &self.state));
        let made: Made = serde_json::from_str(&self.made).map_err(|_| bad("result of a step"))?;
        let error = match (&self.error_code, &self.error) {
            (Some(code), Some(message)) => {
                let code = StepErrorCode::parse(code).ok_or_else(|| bad("error of a step"))?;
                Some(StepError { code, message: message.clone() })
            }
            _ => None,
        };
        let status = StepStatus::parse(&self.state).ok_or_else(|| bad("state of a step"))?;
        Ok(OperationStep {
            number: self.number.unsigned_abs(),
            name: parse(&self.name)?,
            attempt: self.attempt.unsigned_abs(),
            made,
            started_at: self.started_us.map(Timestamp::from_micros),
            ended_at: self.ended_us.map(Timestamp::from_micros),
            state: StepState::of(status, error).ok_or_else(|| bad("state of a step"))?,
        })
    }
}

#[async_trait]
impl OperationSteps for SqlStore {
    async fn plan(&self, fence: &Fence, names: &[StepName]) -> Result<Vec<OperationStep>> {
        write!(&self.db, Commit::Visible, |tx| {
            fenced(&mut tx, fence).await?;
            let steps = steps_of(&mut tx, &fence.id).await?;
            if !steps.is_empty() {
                return Ok(steps);
            }
            for (number, name) in (1..).zip(names) {
                execute!(
                    &mut tx,
                    "INSERT INTO operation_steps (operation_id, number, name, state) VALUES ($1, $2, $3, 'pending')",
                    fence.id.as_str(),
                    number,
                    name.as_str(),
                )?;
            }
            steps_of(&mut tx, &fence.id).await
        })
    }

    async fn advance(
        &self,
        fence: &Fence,
        number: u32,
        event: StepEvent,
        seq: Seq,
        now: Timestamp,
    ) -> Result<(OperationStep, Entry)> {
        // A step is stored before it acts: what it makes outlives the machine, so the row must, too.
        write!(&self.db, Commit::Durable, |tx| {
            let (row, job) = fenced(&mut tx, fence).await?;
            if !matches!(job.state, JobState::Running { .. }) {
                return Err(Error::LeaseLost);
            }
            let last_seq = Seq(row.last_seq as u64);
            let steps = steps_of(&mut tx, &fence.id).await?;
            let step = steps.into_iter().find(|step| step.number == number);
            let step = step.ok_or_else(|| anyhow::anyhow!("{} has no step {number}", fence.id))?;
            if last_seq == seq {
                return advanced(&mut tx, fence, step, seq, now).await;
            }
            if last_seq.next() != seq {
                return Err(Error::LeaseLost);
            }
            let step = step.after(event.clone(), now)?;
            store_step(&mut tx, &fence.id, &step).await?;
            execute!(
                &mut tx,
                "UPDATE queue SET last_seq = $1 WHERE id = $2",
                seq.0.cast_signed(),
                fence.id.as_str()
            )?;
            let changed = entry(&job, seq, now, EntryBody::Step(step.change()));
            Ok((step, store_entry(&mut tx, changed).await?))
        })
    }
}

/// Returns the step and the entry of a change that was stored before under this number and at this time.
async fn advanced(
    tx: &mut Tx,
    fence: &Fence,
    step: OperationStep,
    seq: Seq,
    now: Timestamp,
) -> Result<(OperationStep, Entry)> {
    let row = run!(
        tx,
        fetch_optional,
        query_as<EventRow>,
        entries_where!("e.last_seq = $2 AND e.kind = $3 AND e.at_us = $4"),
        fence.id.as_str(),
        seq.0.cast_signed(),
        KIND_STEP,
        now.as_micros(),
    )?;
    let entry = row.ok_or(Error::LeaseLost)?.entry()?;
    match entry.body == EntryBody::Step(step.change()) {
        true => Ok((step, entry)),
        false => Err(Error::LeaseLost),
    }
}

async fn steps_of(tx: &mut Tx, id: &JobId) -> Result<Vec<OperationStep>> {
    let rows = run!(
        tx,
        fetch_all,
        query_as<StepRow>,
        concat!("SELECT ", step_columns!(), " FROM operation_steps WHERE operation_id = $1 ORDER BY number"),
        id.as_str(),
    )?;
    rows.iter().map(StepRow::step).collect()
}

async fn store_step(tx: &mut Tx, id: &JobId, step: &OperationStep) -> Result<()> {
    let made = serde_json::to_string(&step.made).map_err(anyhow::Error::from)?;
    let error = step.state.error();
    execute!(
        tx,
        "UPDATE operation_steps SET state = $1, attempt = $2, made = $3, error_code = $4, error = $5,
                                    started_us = $6, ended_us = $7
         WHERE operation_id = $8 AND number = $9",
        step.state.status().as_str(),
        step.attempt.cast_signed(),
        made,
        error.map(|error| error.code.as_str()),
        error.map(|error| error.message.as_str()),
        step.started_at.map(Timestamp::as_micros),
        step.ended_at.map(Timestamp::as_micros),
        id.as_str(),
        step.number.cast_signed(),
    )
    .map(|_| ())
}

/// Tells whether a step of an operation was begun.
pub(crate) async fn has_begun(tx: &mut Tx, id: &JobId) -> Result<bool> {
    let steps = steps_of(tx, id).await?;
    Ok(steps.iter().any(|step| step.state != StepState::Pending))
}

/// Has the steps of an operation that is retried by hand go on where they stopped.
pub(crate) async fn reopen(tx: &mut Tx, id: &JobId, now: Timestamp) -> Result<()> {
    for step in steps_of(tx, id).await? {
        store_step(tx, id, &step.after(StepEvent::Reopen, now)?).await?;
    }
    Ok(())
}

/// Adds to the lane, so that SQLite does not choose its index, and reads all operations that have not ended.
pub(crate) const UNFINISHED: &str = concat!(
    "SELECT ",
    job_columns!(),
    " FROM queue q JOIN jobs j ON j.id = q.id WHERE q.concurrency_key = $1 AND q.lane + 0 = 2"
);

/// Returns the operation of a concurrency key that has not ended. The transaction has locked the key, so no other one
/// accepts an operation of it meanwhile.
pub(crate) async fn unfinished(tx: &mut Tx, key: &str) -> Result<Option<Job>> {
    let row = run!(tx, fetch_optional, query_as<JobRow>, UNFINISHED, key)?;
    row.map(|row| row.job()).transpose()
}

pub(crate) const HAS_A_LATER_ONE: &str = "SELECT EXISTS (SELECT 1 FROM jobs
     WHERE target = '@operations' AND id > $1 AND project = $2 AND status = 'completed')";

/// Tells whether an operation of the project has completed that was accepted after this one. The project is then not the
/// one that this operation knew.
pub(crate) async fn has_a_later_one(tx: &mut Tx, project: &ProjectId, id: &JobId) -> Result<bool> {
    run!(tx, fetch_one, query_scalar<bool>, HAS_A_LATER_ONE, id.as_str(), project.as_str())
}

/// Stores that a key leads to an operation of the same request. Returns the operation to which the key leads: another call
/// may have used the key meanwhile.
async fn joined(
    store: &SqlStore,
    operation: Job,
    key: &IdempotencyKey,
    now: Timestamp,
) -> Result<Option<Job>> {
    write!(&store.db, Commit::Durable, |tx| {
        let first = idempotency::take(&mut tx, key, Some(operation.id.as_str()), now).await?;
        match first.and_then(|first| first.job_id).filter(|id| *id != operation.id.as_str()) {
            Some(id) => job_row(&mut tx, &id).await?.map(|row| row.job()).transpose(),
            None => Ok(Some(operation.clone())),
        }
    })
}

#[async_trait]
impl Operations for SqlStore {
    async fn steps(&self, ids: &[JobId]) -> Result<Vec<(JobId, OperationStep)>> {
        let wanted = between_commas(ids.iter().map(JobId::as_str));
        let (Some(least), Some(most)) = (ids.iter().min(), ids.iter().max()) else { return Ok(Vec::new()) };
        let rows = read!(
            &self.db,
            fetch_all,
            query_as<StepRow>,
            concat!(
                "SELECT ",
                step_columns!(),
                " FROM operation_steps WHERE operation_id >= $1 AND operation_id <= $2
                     AND $3 LIKE '%,' || operation_id || ',%' ORDER BY operation_id, number"
            ),
            least.as_str(),
            most.as_str(),
            &wanted,
        )?;
        rows.iter().map(|row| Ok((parse(&row.operation_id)?, row.step()?))).collect()
    }

    async fn earlier(
        &self,
        request: &OperationRequest,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<Job>> {
        if let Some(key) = idempotency
            && let Some(first) = idempotency::first_use(&self.db, key, now).await?
        {
            let row = read!(
                &self.db,
                fetch_optional,
                query_as<JobRow>,
                concat!(
                    "SELECT ",
                    job_columns!(),
                    " FROM jobs j LEFT JOIN queue q ON q.id = j.id WHERE j.id = $1 AND j.target = $2"
                ),
                first.job_id,
                OPERATIONS,
            )?;
            if let Some(row) = row {
                return row.job().map(Some);
            }
        }
        let row = read!(&self.db, fetch_optional, query_as<JobRow>, UNFINISHED, request.key())?;
        let Some(found) = row.map(|row| row.job()).transpose()? else { return Ok(None) };
        match idempotency {
            Some(key) if found.operation() == Some(request) => joined(self, found, key, now).await,
            _ => Ok(Some(found)),
        }
    }
}
