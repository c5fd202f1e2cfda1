//! Errors of the databases, and what they mean for callers.

use std::fmt;
use std::sync::Arc;

use rdev_domain::Error;
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

/// SQLite's primary result code for a lock that another connection holds.
const SQLITE_BUSY: i32 = 5;
/// SQLite's primary result codes for what may pass soon: busy, out of memory, read only (a file system that was
/// remounted after an error), I/O error, malformed, a full disk, a file that cannot be opened, a race about locks.
/// Malformed is also what it calls a page that the disk fails to read.
const SQLITE_PASSING: [i32; 8] = [SQLITE_BUSY, 7, 8, 10, 11, 13, 14, 15];

/// Beginnings of Postgres' codes for what may pass soon: lost connections, passwords and databases that
/// somebody is changing, conflicts with other transactions, full resources, timeouts and locks, a server that
/// stops or starts, a standby that is to become the primary, faults of its system.
const POSTGRES_PASSING: [&str; 10] = ["08", "28", "3D", "40", "53", "55P03", "57", "25006", "25P03", "58"];

/// Converts a database error: `Unavailable` for one that may pass, else `Internal`.
pub(crate) fn database(error: sqlx::Error) -> Error {
    let passes = match &error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        // Error of a connection that was cut in the middle of an answer.
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Migrate(error) => match &**error {
            sqlx::migrate::MigrateError::Execute(error)
            | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => code_passes(error),
            _ => false,
        },
        error => code_passes(error),
    };
    if passes { Error::unavailable("database", error) } else { Error::Internal(error.into()) }
}

fn code_passes(error: &sqlx::Error) -> bool {
    if let Some(code) = sqlite_code(error) {
        return SQLITE_PASSING.contains(&code);
    }
    let code = postgres_code(error);
    code.is_some_and(|code| POSTGRES_PASSING.iter().any(|passing| code.starts_with(passing)))
}

/// Tells whether another connection is in the way.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    sqlite_code(error) == Some(SQLITE_BUSY)
}

/// Returns SQLite's primary result code.
fn sqlite_code(error: &sqlx::Error) -> Option<i32> {
    let error = error.as_database_error()?.try_downcast_ref::<SqliteError>()?;
    let code: i32 = sqlx::error::DatabaseError::code(error)?.parse().ok()?;
    Some(code & 0xff)
}

fn postgres_code(error: &sqlx::Error) -> Option<&str> {
    Some(error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?.code())
}

/// Makes the error for a stored value that this version cannot read.
pub(crate) fn unreadable(what: &str, value: &dyn std::fmt::Debug) -> Error {
    Error::Internal(anyhow::anyhow!("the database holds an unreadable {what}: {value:?}"))
}

/// Adds, to the part of an error that only the log shows, the thing that the error is about.
pub(crate) fn about(error: Error, what: impl std::fmt::Display) -> Error {
    let what = what.to_string();
    match error {
        Error::Internal(source) => Error::Internal(source.context(what)),
        Error::Unavailable { system, source } => Error::unavailable(system, source.context(what)),
        other => other,
    }
}

/// Tells whether a write violated a unique index: another transaction was first.
pub(crate) fn is_unique_violation(error: &Error) -> bool {
    let Error::Internal(source) = error else {
        return false;
    };
    let error = source.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
    error.is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// Tells whether one of several writes may be to blame, or their number: each may succeed alone.
pub(crate) fn may_go_alone(error: &Error) -> bool {
    match error {
        // Deadlocks and the like.
        Error::Unavailable { source, .. } => {
            source.downcast_ref().and_then(postgres_code).is_some_and(|code| code.starts_with("40"))
        }
        _ => true,
    }
}

/// One error for several callers.
#[derive(Debug, Clone)]
pub(crate) struct Shared(Arc<Error>);

impl Shared {
    pub(crate) fn new(error: Error) -> Self {
        Self(Arc::new(error))
    }

    /// Returns the error for one of them.
    pub(crate) fn error(&self) -> Error {
        match &*self.0 {
            Error::Unavailable { system, .. } => Error::unavailable(system, self.clone()),
            _ => Error::Internal(self.clone().into()),
        }
    }
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
