//! The store on SQLite: the contract of the ports, and what only a file can show.

mod dropped;
mod file;
mod processes;
mod unreadable;
mod values;

use rdev_sql::SqlStore;
use tempfile::TempDir;

rdev_ports::store_contract!(fresh);

/// A new store, in a directory that lives as long as the guard.
async fn fresh() -> (SqlStore, TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = SqlStore::sqlite(&dir.path().join("rdev.db")).await.expect("a new database");
    (store, dir)
}
