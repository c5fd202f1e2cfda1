//! The schemas of both databases are one, but for the names of types.

use std::collections::BTreeMap;

use sqlx::{PgConnection, SqliteConnection};

use crate::{On, Place, sqlite_connection};

/// Table and name, with what is known of it.
type Parts = BTreeMap<(String, String), Part>;

/// Table, name, type, NOT NULL, default, place in the primary key, computed or not, text of the table.
type SqliteColumn = (String, String, String, bool, Option<String>, i64, bool, String);

/// Table, name, type, NOT NULL, default, computation, identity or not, collation.
type PostgresColumn = (String, String, String, bool, Option<String>, Option<String>, bool, Option<String>);

/// Table, name, unique or not, primary key or not, condition, columns.
type PostgresIndex = (String, String, bool, bool, Option<String>, Vec<String>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Column { kind: String, not_null: bool, default: Option<String>, counts_up: bool },
    Index { unique: bool, columns: Vec<String>, only: Option<String> },
    Key { columns: Vec<String> },
    Reference { table: String, column: String },
}

/// A condition without what the two write differently.
fn condition(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '(' | ')')).collect();
    text.to_lowercase().replace("::text", "").replace("=anyarray[", "in").replace(']', "")
}

/// What a column is computed from, in the text that made its table.
fn computation(table: &str, column: &str) -> Option<String> {
    let (_, column) = table.split_once(&format!(" {column} "))?;
    let (_, from) = column.split_once("GENERATED ALWAYS AS")?;
    from.split_once("VIRTUAL").map(|(from, _)| condition(from))
}

async fn of_sqlite(connection: &mut SqliteConnection) -> Parts {
    let mut parts = Parts::new();
    let columns: Vec<SqliteColumn> = sqlx::query_as(
        "SELECT m.name AS \"of\", c.name AS name, c.type AS kind, c.\"notnull\" AS not_null, c.dflt_value AS default_text,
                c.pk AS place_in_key, c.hidden > 0 AS computed, m.sql AS \"text\"
         FROM sqlite_master m JOIN pragma_table_xinfo(m.name) c
         WHERE m.type = 'table' AND m.name NOT LIKE '\\_%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite%'
         ORDER BY m.name, c.pk, c.cid",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    for column in columns {
        let (table, name, kind, not_null, default_text, place_in_key, computed, text) = column;
        let counts_up = place_in_key == 1 && text.contains("AUTOINCREMENT");
        let kind = match kind.as_str() {
            "INTEGER" if counts_up => "bigint",
            "BLOB" => "bytea",
            other => &other.to_lowercase(),
        };
        if place_in_key > 0 {
            let key = parts.entry((table.clone(), "primary key".to_owned()));
            let Part::Key { columns } = key.or_insert_with(|| Part::Key { columns: Vec::new() }) else {
                unreachable!("the name is of a key");
            };
            columns.push(name.clone());
        }
        let default = if computed { computation(&text, &name) } else { default_text };
        let default = default.map(|default| default.to_lowercase());
        let column = Part::Column { kind: kind.to_owned(), not_null, default, counts_up };
        parts.insert((table, name), column);
    }
    let indexes: Vec<(String, String, bool, String, String)> = sqlx::query_as(
        "SELECT m.tbl_name, m.name, l.\"unique\", m.sql,
                (SELECT group_concat(name) FROM (SELECT name FROM pragma_index_info(m.name) ORDER BY seqno))
         FROM sqlite_master m JOIN pragma_index_list(m.tbl_name) l ON l.name = m.name
         WHERE m.type = 'index' AND m.sql IS NOT NULL",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    for (table, name, unique, sql, columns) in indexes {
        let only = sql.split_once("WHERE").map(|(_, only)| condition(only));
        let columns = columns.split(',').map(str::to_owned).collect();
        parts.insert((table, name), Part::Index { unique, columns, only });
    }
    let references: Vec<(String, String, String, String)> = sqlx::query_as(
        "SELECT m.name, f.\"from\", f.\"table\", f.\"to\"
         FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f WHERE m.type = 'table'",
    )
    .fetch_all(connection)
    .await
    .unwrap();
    for (from_table, from, table, column) in references {
        parts.insert((from_table, format!("{from} refers")), Part::Reference { table, column });
    }
    parts
}

async fn of_postgres(connection: &mut PgConnection) -> Parts {
    let mut parts = Parts::new();
    let columns: Vec<PostgresColumn> = sqlx::query_as(
        "SELECT table_name::TEXT AS \"of\", column_name::TEXT AS name, data_type::TEXT AS kind,
                is_nullable = 'NO' AS not_null, column_default::TEXT AS default_text,
                generation_expression::TEXT AS computation,
                is_identity = 'YES' AS counts_up, collation_name::TEXT AS collation
         FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_%'",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    for column in columns {
        let (table, name, kind, not_null, default_text, computation, counts_up, collation) = column;
        // It adds the type that a text has anyway.
        let default = default_text.map(|default| default.replace("::text", ""));
        let computed = computation.map(|from| condition(&from).replace("elsenull", ""));
        let default = computed.or(default);
        // In any other the order of ids would depend on where the database was made.
        assert_eq!(collation.as_deref(), (kind == "text").then_some("C"), "{table}.{name}");
        parts.insert((table, name), Part::Column { kind, not_null, default, counts_up });
    }
    let indexes: Vec<PostgresIndex> = sqlx::query_as(
        "SELECT t.relname::TEXT AS \"of\", c.relname::TEXT AS name, i.indisunique AS is_unique,
                i.indisprimary AS is_primary, pg_get_expr(i.indpred, i.indrelid) AS \"only\",
                (SELECT array_agg(replace(pg_get_indexdef(c.oid, n, FALSE), '\"', '') ORDER BY n)
                 FROM generate_series(1, i.indnkeyatts) n) AS \"columns\"
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
         WHERE t.relnamespace = 'public'::regnamespace AND t.relname NOT LIKE '\\_%'",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    for (table, name, is_unique, is_primary, only, columns) in indexes {
        let only = only.as_deref().map(condition);
        if is_primary {
            parts.insert((table, "primary key".to_owned()), Part::Key { columns });
        } else {
            parts.insert((table, name), Part::Index { unique: is_unique, columns, only });
        }
    }
    let references: Vec<(String, String, String, String)> = sqlx::query_as(
        "SELECT k.conrelid::regclass::TEXT, a.attname::TEXT, k.confrelid::regclass::TEXT, b.attname::TEXT
         FROM pg_constraint k
         JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
         JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[1]
         WHERE k.contype = 'f'",
    )
    .fetch_all(connection)
    .await
    .unwrap();
    for (from_table, from, table, column) in references {
        parts.insert((from_table, format!("{from} refers")), Part::Reference { table, column });
    }
    parts
}

#[tokio::test]
async fn both_databases_have_one_schema() {
    let (sqlite, postgres) = (On::Sqlite.fresh().await, On::Postgres.fresh().await);
    let (Place::Sqlite(dir), Place::Postgres(database)) = (&sqlite.1, &postgres.1) else {
        panic!("each store lies in its own place");
    };
    let in_sqlite = of_sqlite(&mut sqlite_connection(dir).await).await;
    let in_postgres = of_postgres(&mut database.connect().await).await;
    assert!(in_sqlite.len() > 40, "{in_sqlite:#?}");
    for (name, part) in &in_sqlite {
        assert_eq!(in_postgres.get(name), Some(part), "{name:?}, on Postgres and on SQLite");
    }
    let only_postgres: Vec<_> = in_postgres.keys().filter(|name| !in_sqlite.contains_key(*name)).collect();
    assert!(only_postgres.is_empty(), "{only_postgres:?}");
}
