//! The stores, all in one database.

use std::sync::Arc;

use rdev_ports::{Clock, Diagnosis, TaskLeases};
use rdev_sql::SqlStore;

use super::lock;
use crate::config::{DatabaseUrl, StoreConfig};
use crate::system::SystemClock;

/// Opens the store of a server that begins to serve.
pub(super) async fn open_to_serve(config: &StoreConfig) -> anyhow::Result<SqlStore> {
    let store = open(config).await?;
    if let DatabaseUrl::Sqlite(_) = config.database() {
        // This process alone uses the data, so the leases of an earlier one have no owner. On Postgres other replicas
        // work under theirs, and those of a dead replica expire.
        store.release_all().await?;
    }
    Ok(store)
}

/// Returns the clock that all replicas share, which is that of the database.
pub(super) async fn clock(store: &SqlStore) -> anyhow::Result<Arc<dyn Clock>> {
    store.clock(Arc::new(SystemClock)).await.map_err(with_cause)
}

/// Opens the store, which migrates its schema.
async fn open(config: &StoreConfig) -> anyhow::Result<SqlStore> {
    let store = match config.database() {
        DatabaseUrl::Sqlite(file) => SqlStore::sqlite(&file).await,
        DatabaseUrl::Postgres(url) => SqlStore::postgres(&url.0).await,
    };
    store.map_err(with_cause)
}

/// Migrates the schema to this version.
///
/// # Errors
/// When the database cannot be used.
pub(crate) async fn migrate(config: &StoreConfig) -> anyhow::Result<()> {
    let _lock = lock::database(config).await?;
    open(config).await?.close().await;
    Ok(())
}

/// Returns the migrations that the database has yet to apply; changes nothing.
///
/// # Errors
/// When the database cannot be used.
pub(crate) async fn pending_migrations(config: &StoreConfig) -> anyhow::Result<Vec<String>> {
    let pending = match config.database() {
        DatabaseUrl::Sqlite(file) => SqlStore::pending_sqlite(&file).await,
        DatabaseUrl::Postgres(url) => SqlStore::pending_postgres(&url.0).await,
    };
    pending.map_err(with_cause)
}

/// Diagnoses the database, for an operator; changes nothing.
pub(crate) async fn diagnose_database(config: &StoreConfig) -> Vec<Diagnosis> {
    match config.database() {
        DatabaseUrl::Sqlite(file) => vec![SqlStore::examine_sqlite(&file).await],
        DatabaseUrl::Postgres(url) => SqlStore::examine_postgres(&url.0, SystemClock.now()).await,
    }
}

/// Names the variable; the store's own message says where the database is.
fn with_cause(error: rdev_domain::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("cannot use the database (RDEV_DATABASE_URL)")
}
