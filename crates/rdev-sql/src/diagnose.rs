//! Diagnosis of a database, which changes nothing in it.

use std::path::Path;

use rdev_domain::{Error, Result, Timestamp, causes};
use rdev_ports::Diagnosis;
use sqlx::migrate::Migrator;
use sqlx::{ConnectOptions, PgConnection};

use crate::clock::SKEW_MAX;
use crate::db::{file, postgres as server};
use crate::error::database;
use crate::migrations::{self, Schema, newest};

const WHAT: &str = "database";

/// Diagnoses a SQLite file.
pub(crate) async fn sqlite(path: &Path) -> Diagnosis {
    let name = path.display();
    if !path.exists() {
        return Diagnosis::warning(
            WHAT,
            format!("{name} is not there yet"),
            "the first start of rdev-api makes it",
        );
    }
    match look(path).await {
        Ok((complaint, _)) if complaint != "ok" => {
            let fix = "stop rdev-api and restore a backup: see docs/kubernetes.md";
            Diagnosis::bad(WHAT, format!("{name} is damaged: {complaint}"), fix)
        }
        Ok((_, schema)) => of_schema(format!("SQLite {name}"), &schema, &migrations::SQLITE),
        Err(error) => {
            let fix = "check RDEV_DATABASE_URL or RDEV_DATA_DIR, and who may read the file";
            Diagnosis::bad(WHAT, format!("{name}: {error}"), fix)
        }
    }
}

/// Diagnoses whether this program can use a schema.
fn of_schema(place: String, schema: &Schema, known: &Migrator) -> Diagnosis {
    let (version, newest) = (schema.version(), newest(known));
    let seen = format!("{place}, schema {version}");
    if schema.check(known).is_err() {
        let fix = "start a version of rdev-api that is at least as new, or restore a backup from before";
        Diagnosis::bad(WHAT, format!("{seen} keeps out this older version, which knows {newest}"), fix)
    } else if schema.pending(known).next().is_some() {
        let fix = "the next start migrates it, or `rdev-api migrate` now";
        Diagnosis::warning(WHAT, format!("{seen}, this version has {newest}"), fix)
    } else {
        Diagnosis::good(WHAT, seen)
    }
}

/// Returns SQLite's check of the file's pages, and the schema.
async fn look(path: &Path) -> sqlx::Result<(String, Schema)> {
    let mut connection = file::present(path).connect().await?;
    let complaint = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut connection).await?;
    Ok((complaint, Schema::on_sqlite(&mut connection).await?))
}

/// Diagnoses the Postgres database of a URL.
pub(crate) async fn postgres(url: &str, now: Timestamp) -> Vec<Diagnosis> {
    let options = match server::options(url) {
        Ok(options) => options,
        Err(error) => {
            let fix = "correct RDEV_DATABASE_URL: postgres://USER:PASSWORD@HOST:PORT/DATABASE";
            return vec![Diagnosis::bad(WHAT, cause(error), fix)];
        }
    };
    let place = server::place(&options);
    let looking = async {
        let mut connection = server::connect(&options).await?;
        look_at_server(&mut connection, &place, now).await
    };
    match looking.await {
        Ok(findings) => findings,
        Err(error) => {
            let fix = "check RDEV_DATABASE_URL, and whether Postgres runs and may be reached from here";
            vec![Diagnosis::bad(WHAT, format!("{place}: {}", cause(error)), fix)]
        }
    }
}

async fn look_at_server(
    connection: &mut PgConnection,
    place: &str,
    now: Timestamp,
) -> Result<Vec<Diagnosis>> {
    let number = server::version(connection).await?;
    let name = format!("Postgres {}.{}, {place}", number / 10_000, number % 10_000);
    if number < server::VERSION_MIN {
        let fix = format!("use Postgres {} or later", server::VERSION_MIN / 10_000);
        return Ok(vec![Diagnosis::bad(WHAT, name, fix)]);
    }
    let schema = Schema::on_postgres(connection).await.map_err(database)?;
    let mut findings = vec![of_schema(name, &schema, &migrations::POSTGRES)];

    let (now_us, most, used, flushed): (i64, i32, i64, bool) = sqlx::query_as(
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT,
                current_setting('max_connections')::INTEGER
                    - current_setting('superuser_reserved_connections')::INTEGER,
                (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
                current_setting('synchronous_commit') <> 'off' AND current_setting('fsync') = 'on'",
    )
    .fetch_one(connection)
    .await
    .map_err(database)?;
    let skew = (now_us - now.as_micros()) / 1_000_000;
    let seen = format!("{skew} s from this machine's, and the one that counts");
    findings.push(if skew.unsigned_abs() <= SKEW_MAX.as_secs() {
        Diagnosis::good("database clock", seen)
    } else {
        Diagnosis::warning("database clock", seen, "let both machines keep their time by NTP")
    });
    let (free, needed) = (i64::from(most) - used, i64::from(server::CONNECTIONS) + 1);
    let seen = format!("{used} of {most} used, each rdev-api takes up to {needed}");
    findings.push(if free >= needed {
        Diagnosis::good("database connections", seen)
    } else {
        let fix = "raise max_connections of Postgres, or run fewer replicas";
        Diagnosis::warning("database connections", seen, fix)
    });
    if !flushed {
        let fix = "set fsync and synchronous_commit to on: what is accepted must survive a power cut";
        findings.push(Diagnosis::warning("database durability", "commits are not flushed to disk", fix));
    }
    Ok(findings)
}

/// Returns the causes of an error in one line.
fn cause(error: Error) -> String {
    match error {
        Error::Internal(source) | Error::Unavailable { source, .. } => causes(&source),
        other => other.to_string(),
    }
}
