//! Which requests came before.

use rdev_domain::{Error, IdempotencyKey, Result, Timestamp};
use rdev_ports::{IDEMPOTENCY_KEY_LIFETIME, Occurrence};

use crate::db::{Tx, execute, run};
use crate::rows::as_micros;

/// What was stored under an idempotency key before.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct FirstUse {
    fingerprint: Vec<u8>,
    pub(crate) task_id: Option<String>,
    pub(crate) created_us: i64,
}

/// Takes the key for this request, or finds the request that took it before. One that is older than keys live
/// counts no more, though retention has not removed it yet.
pub(crate) async fn take(
    tx: &mut Tx,
    key: &IdempotencyKey,
    task_id: Option<&str>,
    now: Timestamp,
) -> Result<Option<FirstUse>> {
    let taken = execute!(
        &mut *tx,
        "INSERT INTO idempotency_keys (key_id, value, fingerprint, task_id, created_us)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (key_id, value) DO UPDATE SET fingerprint = excluded.fingerprint, task_id = excluded.task_id,
                                                   created_us = excluded.created_us
         WHERE idempotency_keys.created_us < $6",
        key.key.as_str(),
        &key.value,
        &key.fingerprint[..],
        task_id,
        now.as_micros(),
        now.as_micros() - as_micros(IDEMPOTENCY_KEY_LIFETIME),
    )?;
    if taken == 1 {
        return Ok(None);
    }
    let first = run!(
        tx,
        fetch_one,
        query_as<FirstUse>,
        "SELECT fingerprint, task_id, created_us FROM idempotency_keys WHERE key_id = $1 AND value = $2",
        key.key.as_str(),
        &key.value,
    )?;
    if first.fingerprint != key.fingerprint {
        return Err(Error::Conflict {
            conflict: rdev_domain::Conflict::IdempotencyKeyReused,
            message: format!("Idempotency-Key {:?} was used for another request", key.value),
        });
    }
    Ok(Some(first))
}

/// Takes the key of a request that stores nothing else under it, in the transaction in which it is done.
pub(crate) async fn asked(tx: &mut Tx, key: Option<&IdempotencyKey>, now: Timestamp) -> Result<Occurrence> {
    let Some(key) = key else { return Ok(Occurrence::First) };
    let first = take(tx, key, None, now).await?;
    Ok(if first.is_some() { Occurrence::Repeated } else { Occurrence::First })
}
