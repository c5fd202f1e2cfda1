//! Answers to requests under idempotency keys, in the rows of the keys.

use async_trait::async_trait;
use rdev_domain::{IdempotencyKey, Result, Timestamp};
use rdev_ports::{FirstAnswer, IdempotentAnswers};

use crate::db::{run, write_once};
use crate::queue::idempotency::{AnswerRow, first_use};
use crate::store::SqlStore;

#[async_trait]
impl IdempotentAnswers for SqlStore {
    async fn answer(&self, key: &IdempotencyKey, now: Timestamp) -> Result<Option<FirstAnswer>> {
        Ok(first_use(&self.db, key, now).await?.and_then(|first| first.answer.answer()))
    }

    async fn store_answer(&self, key: &IdempotencyKey, answer: &FirstAnswer) -> Result<Option<FirstAnswer>> {
        let row = write_once!(&self.db, |tx| {
            run!(
                &mut tx,
                fetch_optional,
                query_as<AnswerRow>,
                "UPDATE idempotency_keys
                 SET answer_status = COALESCE(answer_status, $4), answer = COALESCE(answer, $6),
                     answer_location = CASE WHEN answer IS NULL THEN $5 ELSE answer_location END
                 WHERE key_id = $1 AND value = $2 AND fingerprint = $3
                 RETURNING answer_status, answer_location, answer",
                key.key.as_str(),
                &key.value,
                &key.fingerprint[..],
                i32::from(answer.status),
                &answer.location,
                &answer.data,
            )
        })?;
        Ok(row.and_then(AnswerRow::answer))
    }
}
