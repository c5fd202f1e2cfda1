use rdev_domain::Error;

/// SQLite's primary result codes for what may be over soon: the disk may have room again later.
const SQLITE_BUSY: i32 = 5;
const SQLITE_IOERR: i32 = 10;
const SQLITE_FULL: i32 = 13;
const SQLITE_CANTOPEN: i32 = 14;

/// What a database error means for the caller.
pub(crate) fn database(error: sqlx::Error) -> Error {
    match &error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Error::unavailable("database", error),
        _ => match sqlite_code(&error) {
            Some(SQLITE_BUSY | SQLITE_IOERR | SQLITE_FULL | SQLITE_CANTOPEN) => {
                Error::unavailable("database", error)
            }
            _ => Error::Internal(error.into()),
        },
    }
}

/// Whether another connection is in the way.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    sqlite_code(error) == Some(SQLITE_BUSY)
}

/// SQLite's primary result code.
fn sqlite_code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// A stored value that this version cannot read.
pub(crate) fn unreadable(what: &str, value: &dyn std::fmt::Debug) -> Error {
    Error::Internal(anyhow::anyhow!("the database holds an unreadable {what}: {value:?}"))
}

/// Says in the part of an error that the log shows what it is about.
pub(crate) fn about(error: Error, what: impl std::fmt::Display) -> Error {
    let what = what.to_string();
    match error {
        Error::Internal(source) => Error::Internal(source.context(what)),
        Error::Unavailable { system, source } => Error::unavailable(system, source.context(what)),
        other => other,
    }
}
