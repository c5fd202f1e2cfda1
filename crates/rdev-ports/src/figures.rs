//! Figures of a store, for those who operate it.

use async_trait::async_trait;
use rdev_domain::{Result, Timestamp};

/// Figures of a store.
#[async_trait]
pub trait StoreFigures: Send + Sync {
    /// Returns the bytes that the database takes on its disk, with what it has written and not yet taken into its tables, as
    /// far as that is beside them: of SQLite the file and its write-ahead log.
    ///
    /// # Errors
    /// `Unavailable` when the database does not answer, or its file cannot be found.
    async fn database_bytes(&self) -> Result<u64>;

    /// Returns the time of the end of the stored job that ended first; `None` when none has ended. A job that is running
    /// again has not ended.
    async fn first_end(&self) -> Result<Option<Timestamp>>;
}
