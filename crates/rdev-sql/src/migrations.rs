//! What a database has yet to see, without changing it.

use std::collections::BTreeSet;
use std::path::Path;

use rdev_domain::Result;
use sqlx::ConnectOptions;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;

use crate::db::{postgres, sqlite};
use crate::error::{about, database};

/// The migrations that were applied.
pub(crate) const APPLIED: &str = "SELECT version FROM _sqlx_migrations WHERE success";

pub(crate) async fn pending_sqlite(file: &Path) -> Result<Vec<String>> {
    let mut applied = Vec::new();
    if file.exists() {
        let looking = async {
            let mut connection = SqliteConnectOptions::new().filename(file).read_only(true).connect().await?;
            let known = "SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
            if sqlx::query_scalar::<_, i64>(known).fetch_one(&mut connection).await? > 0 {
                applied = sqlx::query_scalar(APPLIED).fetch_all(&mut connection).await?;
            }
            Ok(())
        };
        looking.await.map_err(|error| about(database(error), file.display()))?;
    }
    Ok(missing(&sqlite::MIGRATIONS, applied))
}

pub(crate) async fn pending_postgres(url: &str) -> Result<Vec<String>> {
    let options = postgres::options(url)?;
    let looking = async {
        let mut connection = postgres::connect(&options).await?;
        postgres::applied(&mut connection).await
    };
    let applied = looking.await.map_err(|error| about(error, postgres::place(&options)))?;
    Ok(missing(&postgres::MIGRATIONS, applied))
}

fn missing(all: &Migrator, applied: Vec<i64>) -> Vec<String> {
    let applied: BTreeSet<i64> = applied.into_iter().collect();
    let missing = all.iter().filter(|migration| !applied.contains(&migration.version));
    missing.map(|migration| format!("{:04} {}", migration.version, migration.description)).collect()
}
