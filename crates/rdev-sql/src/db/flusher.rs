//! Flushes of a SQLite file: one serves every commit that was made before it, and the connection that writes goes on
//! meanwhile.
//!
//! Commits are made with `synchronous = NORMAL`, which writes them to the write-ahead log. Flushing that file makes them
//! survive the death of the machine, exactly as the flush of a commit with `synchronous = FULL` does.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rdev_domain::{Error, Result};
use sqlx::sqlite::SqlitePool;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::file::with_suffix;
use super::transaction::Transaction;
use crate::error::database;

/// Flushes of one file; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Flusher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The write-ahead log.
    log: PathBuf,
    write: SqlitePool,
    /// Number of flushes that were asked for.
    asked: AtomicU64,
    flushed: Arc<Mutex<Flushed>>,
}

#[derive(Debug, Default)]
struct Flushed {
    /// The last request that was served, with all before it.
    to: u64,
    /// A flush failed: the system may have dropped the pages, and another flush of the same file would prove nothing.
    is_suspect: bool,
}

impl Flusher {
    pub(super) fn of(file: &Path, write: &SqlitePool) -> Self {
        Self(Arc::new(Inner {
            log: with_suffix(file, "-wal"),
            write: write.clone(),
            asked: AtomicU64::new(0),
            flushed: Arc::default(),
        }))
    }

    /// Waits until everything that was committed before this call survives the death of the machine.
    ///
    /// # Errors
    /// `Unavailable` when the disk fails.
    pub(crate) async fn flush(&self) -> Result<()> {
        let request = self.0.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.serve(request).await
    }

    /// Asks for a flush of everything that was committed before this call, and does not wait for it.
    pub(crate) fn begin(&self) {
        let (flusher, request) = (self.clone(), self.0.asked.fetch_add(1, Ordering::SeqCst) + 1);
        tokio::spawn(async move {
            // Those who wait for it get the error, too.
            if let Err(error) = flusher.serve(request).await {
                tracing::debug!(?error, "flush failed");
            }
        });
    }

    /// Waits for the flushes that were asked for before this call, and asks for none.
    ///
    /// # Errors
    /// `Unavailable` when the disk fails.
    pub(crate) async fn settled(&self) -> Result<()> {
        self.serve(self.0.asked.load(Ordering::SeqCst)).await
    }

    async fn serve(&self, request: u64) -> Result<()> {
        let flushed = self.0.flushed.clone().lock_owned().await;
        if flushed.to >= request {
            return Ok(());
        }
        // A task of its own: a caller that goes away takes no flush with it, whose failure nobody would see.
        let flushing = tokio::spawn(self.clone().flush_all(flushed));
        flushing.await.map_err(|error| Error::Internal(error.into()))?
    }

    async fn flush_all(self, mut flushed: OwnedMutexGuard<Flushed>) -> Result<()> {
        let to = self.0.asked.load(Ordering::SeqCst);
        if flushed.is_suspect {
            self.copy_into_file().await?;
        } else if let Err(error) = self.flush_log().await {
            flushed.is_suspect = true;
            return Err(Error::unavailable("database", error));
        }
        *flushed = Flushed { to, is_suspect: false };
        Ok(())
    }

    /// Flushes the write-ahead log. SQLite removes the file only after everything in it is on the disk elsewhere.
    async fn flush_log(&self) -> io::Result<()> {
        let log = self.0.log.clone();
        let flush = move || match File::open(log) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            opened => opened?.sync_data(),
        };
        tokio::task::spawn_blocking(flush).await.map_err(io::Error::other)?
    }

    /// Writes the pages of the log to the file itself, which SQLite then flushes.
    ///
    /// # Errors
    /// `Unavailable` when readers do not end within the busy timeout, or the disk fails.
    pub(super) async fn copy_into_file(&self) -> Result<()> {
        let mut transaction = Transaction::reading(&self.0.write).await?;
        let copied = sqlx::query_scalar::<_, i64>("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_one(transaction.connection()?)
            .await
            .map_err(database);
        match transaction.end(copied).await? {
            0 => Ok(()),
            _ => {
                Err(Error::unavailable("database", anyhow::anyhow!("readers keep the log from being copied")))
            }
        }
    }
}
