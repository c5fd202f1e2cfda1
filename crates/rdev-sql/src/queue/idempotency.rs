//! Idempotency keys: requests that came before.

use rdev_domain::{Conflict, Error, IdempotencyKey, JobId, Result, Timestamp};
use rdev_ports::{FirstAnswer, IDEMPOTENCY_KEY_LIFETIME, Occurrence};

use crate::db::{Db, Tx, execute, read, run};
use crate::row::row;
use crate::values::as_micros;

row! {
    /// Answer in the row of an idempotency key.
    #[derive(Debug)]
    pub(crate) struct AnswerRow {
        status: Option<i32> = "answer_status",
        location: Option<String> = "answer_location",
        data: Option<String> = "answer",
    }
}

impl AnswerRow {
    /// Returns the answer; `None` when none is stored.
    pub(crate) fn answer(self) -> Option<FirstAnswer> {
        let status = self.status.and_then(|status| u16::try_from(status).ok())?;
        Some(FirstAnswer { status, location: self.location, data: self.data? })
    }
}

row! {
    /// First use of an idempotency key.
    #[derive(Debug)]
    pub(crate) struct FirstUse {
        fingerprint: Vec<u8>,
        pub(crate) job_id: Option<String>,
        pub(crate) created_us: i64,
        pub(crate) answer: AnswerRow = flatten,
    }
}

/// Stores the key of this request, or returns its first use. A use that is older than
/// [`IDEMPOTENCY_KEY_LIFETIME`] does not count, though retention may not have removed it yet.
///
/// # Errors
/// `Conflict` with `IDEMPOTENCY_KEY_REUSED` when the key was used for another request.
pub(crate) async fn take(
    tx: &mut Tx,
    key: &IdempotencyKey,
    job_id: Option<&str>,
    now: Timestamp,
) -> Result<Option<FirstUse>> {
    let taken = execute!(
        &mut *tx,
        "INSERT INTO idempotency_keys (key_id, value, fingerprint, job_id, created_us)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (key_id, value) DO UPDATE SET fingerprint = excluded.fingerprint, job_id = excluded.job_id,
                                                   created_us = excluded.created_us, answer_status = NULL,
                                                   answer_location = NULL, answer = NULL
         WHERE idempotency_keys.created_us < $6",
        key.key.as_str(),
        &key.value,
        &key.fingerprint[..],
        job_id,
        now.as_micros(),
        now.as_micros() - as_micros(IDEMPOTENCY_KEY_LIFETIME),
    )?;
    if taken == 1 {
        return Ok(None);
    }
    let first = run!(tx, fetch_one, query_as<FirstUse>, FIRST_USE, key.key.as_str(), &key.value)?;
    first.of(key).map(Some)
}

/// Has a key that was taken in this transaction lead to another job: the one that the request has joined.
pub(crate) async fn lead_to(tx: &mut Tx, key: &IdempotencyKey, job_id: &str) -> Result<()> {
    execute!(
        tx,
        "UPDATE idempotency_keys SET job_id = $1 WHERE key_id = $2 AND value = $3",
        job_id,
        key.key.as_str(),
        &key.value,
    )
    .map(|_| ())
}

const FIRST_USE: &str =
    "SELECT fingerprint, job_id, created_us, answer_status, answer_location, answer FROM idempotency_keys
     WHERE key_id = $1 AND value = $2";

impl FirstUse {
    /// Checks that this is the first use of a key for the same request.
    fn of(self, key: &IdempotencyKey) -> Result<Self> {
        if self.fingerprint != key.fingerprint {
            let message = format!("Idempotency-Key {:?} was used for another request", key.value);
            return Err(Error::conflict(Conflict::IdempotencyKeyReused, message));
        }
        Ok(self)
    }
}

/// Returns the first use of a key, and stores nothing.
///
/// # Errors
/// `Conflict` with `IDEMPOTENCY_KEY_REUSED` when the key was used for another request.
pub(crate) async fn first_use(db: &Db, key: &IdempotencyKey, now: Timestamp) -> Result<Option<FirstUse>> {
    let first = read!(db, fetch_optional, query_as<FirstUse>, FIRST_USE, key.key.as_str(), &key.value)?;
    let lives_from = now.as_micros() - as_micros(IDEMPOTENCY_KEY_LIFETIME);
    first.filter(|first| first.created_us >= lives_from).map(|first| first.of(key)).transpose()
}

/// Stores the key of a request that makes no job, in the transaction that carries the request out. `job` is the job that
/// the request is about: the key is removed with the job's project.
pub(crate) async fn asked(
    tx: &mut Tx,
    key: Option<&IdempotencyKey>,
    job: Option<&JobId>,
    now: Timestamp,
) -> Result<Occurrence> {
    let Some(key) = key else { return Ok(Occurrence::First) };
    let first = take(tx, key, job.map(JobId::as_str), now).await?;
    Ok(if first.is_some() { Occurrence::Repeated } else { Occurrence::First })
}
