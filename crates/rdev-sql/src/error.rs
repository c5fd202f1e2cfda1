use rdev_domain::Error;

/// What a database error means for the caller.
pub(crate) fn database(error: sqlx::Error) -> Error {
    match &error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Error::unavailable("database", error),
        // SQLite: busy, I/O error, full disk, file that cannot be opened. The disk may have room again later.
        sqlx::Error::Database(db)
            if db.code().is_some_and(|code| {
                matches!(code.parse::<i32>().map(|code| code & 0xff), Ok(5 | 10 | 13 | 14))
            }) =>
        {
            Error::unavailable("database", error)
        }
        _ => Error::Internal(error.into()),
    }
}

/// A stored value that this version cannot read.
pub(crate) fn unreadable(what: &str, value: &dyn std::fmt::Debug) -> Error {
    Error::Internal(anyhow::anyhow!("the database holds an unreadable {what}: {value:?}"))
}
