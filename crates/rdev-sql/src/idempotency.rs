use rdev_domain::{Error, IdempotencyKey, Result, Timestamp};
use rdev_ports::IDEMPOTENCY_KEY_LIFETIME;
use sqlx::SqliteConnection;

use crate::error::database;
use crate::rows::as_micros;

/// What was stored under an idempotency key before.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct FirstUse {
    fingerprint: Vec<u8>,
    pub(crate) task_id: Option<String>,
    pub(crate) created_us: i64,
}

/// Takes the key for this request, or finds the request that took it before.
pub(crate) async fn take(
    tx: &mut SqliteConnection,
    key: &IdempotencyKey,
    task_id: Option<&str>,
    now: Timestamp,
) -> Result<Option<FirstUse>> {
    sqlx::query("DELETE FROM idempotency_keys WHERE created_us < $1")
        .bind(now.as_micros() - as_micros(IDEMPOTENCY_KEY_LIFETIME))
        .execute(&mut *tx)
        .await
        .map_err(database)?;
    let inserted = sqlx::query(
        "INSERT INTO idempotency_keys (key_id, value, fingerprint, task_id, created_us)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    )
    .bind(key.key.as_str())
    .bind(&key.value)
    .bind(&key.fingerprint[..])
    .bind(task_id)
    .bind(now.as_micros())
    .execute(&mut *tx)
    .await
    .map_err(database)?;
    if inserted.rows_affected() == 1 {
        return Ok(None);
    }
    let first: FirstUse = sqlx::query_as(
        "SELECT fingerprint, task_id, created_us FROM idempotency_keys WHERE key_id = $1 AND value = $2",
    )
    .bind(key.key.as_str())
    .bind(&key.value)
    .fetch_one(&mut *tx)
    .await
    .map_err(database)?;
    if first.fingerprint != key.fingerprint {
        return Err(Error::Conflict {
            code: "IDEMPOTENCY_KEY_REUSED",
            message: format!("Idempotency-Key {:?} was used for another request", key.value),
        });
    }
    Ok(Some(first))
}
