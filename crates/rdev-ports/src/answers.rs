//! Answers to requests under idempotency keys.

use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{IdempotencyKey, Result, Timestamp};

/// Store of the answers to requests under idempotency keys.
///
/// The transaction of a request's effect takes the key ([`TaskQueue`](crate::TaskQueue),
/// [`PoolQueue`](crate::PoolQueue)). Its answer is stored afterwards: where a process died in between, a repetition has no
/// effect, and its own answer becomes the stored one.
#[async_trait]
pub trait IdempotentAnswers: Send + Sync {
    /// Returns the stored answer to the first request under this key. `None` when the key is free, or no answer is stored.
    ///
    /// # Errors
    /// `Conflict` with `IdempotencyKeyReused` when the key was used for another request.
    async fn answer(&self, key: &IdempotencyKey, now: Timestamp) -> Result<Option<FirstAnswer>>;

    /// Stores the answer to a request under its key, unless one is stored, and returns the stored one. `None` when the
    /// request has not taken the key.
    async fn store_answer(&self, key: &IdempotencyKey, answer: &FirstAnswer) -> Result<Option<FirstAnswer>>;
}

/// Answer to the first request under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstAnswer {
    /// HTTP status.
    pub status: u16,
    /// Header `Location`.
    pub location: Option<String>,
    /// Data of the body, as JSON, without the facts about the answer itself.
    pub data: String,
}

/// First or repeated use of an idempotency key. A request without a key is always the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occurrence {
    /// The request is the first, and was carried out.
    First,
    /// The same request came before, and nothing was done again.
    Repeated,
}

/// Time for which an idempotency key is remembered after its first use: 24 hours.
pub const IDEMPOTENCY_KEY_LIFETIME: Duration = Duration::from_secs(24 * 3600);
