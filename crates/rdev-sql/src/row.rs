//! Rows as structs. In place of the library's derive, which has a build compile both drivers a second time, for itself.

/// Declares a struct that is read from a row of either database: each field from the column of its name, from the column
/// that it names (`token: i64 = "attempt"`), or from several columns (`event: EventRow = flatten`).
macro_rules! row {
    ($(#[$about:meta])* $of:vis struct $name:ident {
        $($(#[$about_field:meta])* $seen:vis $field:ident: $kind:ty $(= $column:tt)?,)*
    }) => {
        $(#[$about])*
        $of struct $name {
            $($(#[$about_field])* $seen $field: $kind,)*
        }

        $crate::row::row!(@from sqlx::sqlite::SqliteRow, $name, $($field $(= $column)?,)*);
        $crate::row::row!(@from sqlx::postgres::PgRow, $name, $($field $(= $column)?,)*);
    };
    (@from $row:ty, $name:ident, $($field:ident $(= $column:tt)?,)*) => {
        impl sqlx::FromRow<'_, $row> for $name {
            fn from_row(row: &$row) -> sqlx::Result<Self> {
                Ok(Self { $($field: $crate::row::row!(@field row, $field $(, $column)?),)* })
            }
        }
    };
    (@field $row:ident, $field:ident) => {
        sqlx::Row::try_get($row, stringify!($field))?
    };
    (@field $row:ident, $field:ident, flatten) => {
        sqlx::FromRow::from_row($row)?
    };
    (@field $row:ident, $field:ident, $column:literal) => {
        sqlx::Row::try_get($row, $column)?
    };
}
pub(crate) use row;
