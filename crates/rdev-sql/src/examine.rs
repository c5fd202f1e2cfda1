//! A look at a database that changes nothing in it.

use std::path::Path;

use rdev_ports::Finding;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::db::sqlite::MIGRATIONS;

const WHAT: &str = "database";

pub(crate) async fn sqlite(file: &Path) -> Finding {
    let name = file.display();
    if !file.exists() {
        return Finding::warning(
            WHAT,
            format!("{name} is not there yet"),
            "the first start of rdev-api makes it",
        );
    }
    match look(file).await {
        Ok((complaint, _)) if complaint != "ok" => {
            let fix = "stop rdev-api and restore a backup: see docs/operations.md";
            Finding::bad(WHAT, format!("{name} is damaged: {complaint}"), fix)
        }
        Ok((_, version)) => {
            let newest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
            let seen = format!("SQLite {name}, schema {version}");
            match version {
                _ if version == newest => Finding::good(WHAT, seen),
                _ if version < newest => Finding::warning(
                    WHAT,
                    format!("{seen}, this version has {newest}"),
                    "the next start migrates it",
                ),
                _ => {
                    let fix = "start a version of rdev-api that is at least as new";
                    Finding::bad(WHAT, format!("{seen}, this older version knows {newest}"), fix)
                }
            }
        }
        Err(error) => {
            let fix = "check RDEV_DATABASE_URL or RDEV_DATA_DIR, and who may read the file";
            Finding::bad(WHAT, format!("{name}: {error}"), fix)
        }
    }
}

/// What SQLite says of the file's pages, and the version of the schema in it.
async fn look(file: &Path) -> sqlx::Result<(String, i64)> {
    let mut connection = SqliteConnectOptions::new().filename(file).read_only(true).connect().await?;
    let complaint = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut connection).await?;
    let version = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations WHERE success")
        .fetch_one(&mut connection)
        .await?;
    Ok((complaint, version))
}
