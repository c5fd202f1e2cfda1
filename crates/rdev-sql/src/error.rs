use rdev_domain::Error;

const SQLITE_BUSY: i32 = 5;

/// What a database error means for the caller.
pub(crate) fn database(error: sqlx::Error) -> Error {
    match &error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Error::unavailable("database", error),
        // SQLite: busy, I/O error, full disk, file that cannot be opened. The disk may have room again later.
        _ if matches!(sqlite_code(&error), Some(SQLITE_BUSY | 10 | 13 | 14)) => {
            Error::unavailable("database", error)
        }
        _ => Error::Internal(error.into()),
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
    Error::Internal(anyhow::anyhow!(
        "the database holds an unreadable {what}: {value:?}"
    ))
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
