//! Figures of the database, for its operators.

use std::io;
use std::path::Path;

use async_trait::async_trait;
use rdev_domain::{Error, Result, Timestamp};
use rdev_ports::StoreFigures;

use crate::db::file::with_suffix;
use crate::db::{Db, read};
use crate::log::rows::is_end;
use crate::store::SqlStore;

/// Selects the first entry of an end: entries lie in the order of their times.
pub(crate) const FIRST_END: &str =
    concat!("SELECT at_us FROM entries WHERE ", is_end!(), " ORDER BY position LIMIT 1");

#[async_trait]
impl StoreFigures for SqlStore {
    async fn database_bytes(&self) -> Result<u64> {
        match &self.db {
            Db::Sqlite { write, .. } => {
                let options = write.connect_options();
                sqlite_bytes(options.get_filename())
                    .await
                    .map_err(|error| Error::unavailable("database", error))
            }
            db @ Db::Postgres(_) => {
                let bytes = "SELECT pg_database_size(current_database())";
                Ok(read!(db, fetch_one, query_scalar<i64>, bytes)?.unsigned_abs())
            }
        }
    }

    async fn first_end(&self) -> Result<Option<Timestamp>> {
        let ended_us = read!(&self.db, fetch_optional, query_scalar<i64>, FIRST_END)?;
        Ok(ended_us.map(Timestamp::from_micros))
    }
}

/// Returns the length of a file and of its write-ahead log, which is missing where nothing was written yet.
async fn sqlite_bytes(file: &Path) -> io::Result<u64> {
    let database = tokio::fs::metadata(file).await?.len();
    match tokio::fs::metadata(with_suffix(file, "-wal")).await {
        Ok(log) => Ok(database + log.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(database),
        Err(error) => Err(error),
    }
}
