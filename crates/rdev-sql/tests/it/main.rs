//! The store on each database: the contract of the ports, and what only a database can show.

#![expect(clippy::unwrap_used, reason = "tests, also where the test itself only names them")]

mod clock;
mod disk;
mod dropped;
mod faults;
mod file;
mod followers;
mod migrations;
mod processes;
mod queue_split;
mod schema;
mod signals;
mod together;
mod unreadable;
mod values;

use rdev_sql::SqlStore;
use rdev_sql::testing::PostgresDatabase;
use tempfile::TempDir;

/// Makes the contract tests of every port for a database.
macro_rules! contracts {
    ($fresh:path) => {
        mod queue {
            rdev_ports::queue_contract!($fresh);
        }

        mod answers {
            rdev_ports::answers_contract!($fresh);
        }

        mod leases {
            rdev_ports::leases_contract!($fresh);
        }

        mod pool {
            rdev_ports::pool_contract!($fresh);
        }

        mod log {
            rdev_ports::log_contract!($fresh);
        }

        mod followers {
            rdev_ports::followers_contract!($fresh);
        }

        mod figures {
            rdev_ports::figures_contract!($fresh);
        }

        mod operations {
            rdev_ports::operations_contract!($fresh);
        }

        mod artefacts {
            rdev_ports::artefacts_contract!($fresh);
        }

        mod retention {
            rdev_ports::retention_contract!($fresh);
        }

        mod periodic {
            rdev_ports::periodic_contract!($fresh);
        }
    };
}

mod sqlite {
    contracts!(crate::on_sqlite);
}

mod postgres {
    contracts!(crate::on_postgres);
}

/// The databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Sqlite,
    Postgres,
}

/// What a store lies in; gone when dropped.
enum Place {
    Sqlite(TempDir),
    Postgres(PostgresDatabase),
}

impl On {
    fn empty_file() -> Place {
        Place::Sqlite(tempfile::tempdir().unwrap())
    }

    /// A place with nothing in it.
    async fn place(self) -> Place {
        match self {
            Self::Sqlite => Self::empty_file(),
            Self::Postgres => Place::Postgres(PostgresDatabase::create().await),
        }
    }

    /// A new store, and its place.
    async fn fresh(self) -> (SqlStore, Place) {
        let place = self.place().await;
        (place.open().await.unwrap(), place)
    }
}

impl Place {
    /// Opens what is there, as another process would.
    async fn open(&self) -> rdev_domain::Result<SqlStore> {
        match self {
            Self::Sqlite(dir) => SqlStore::sqlite(&dir.path().join("rdev.db")).await,
            Self::Postgres(database) => SqlStore::postgres(&database.url()).await,
        }
    }

    /// Runs SQL behind the store's back.
    async fn run(&self, sql: &str) {
        match self {
            Self::Sqlite(dir) => {
                let mut connection = sqlite_connection(dir).await;
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
                sqlx::Connection::close(connection).await.unwrap();
            }
            Self::Postgres(database) => database.run(sql).await,
        }
    }
}

async fn sqlite_connection(dir: &TempDir) -> sqlx::SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(dir.path().join("rdev.db"))
        .create_if_missing(true);
    sqlx::ConnectOptions::connect(&options).await.unwrap()
}

async fn on_sqlite() -> (SqlStore, Place) {
    On::Sqlite.fresh().await
}

async fn on_postgres() -> (SqlStore, Place) {
    On::Postgres.fresh().await
}

/// Makes a test of each function for each database. One that is not named is unused, which the compiler tells.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::On::Sqlite).await;
            })+
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::On::Postgres).await;
            })+
        }
    };
}

use on_both;
