//! Databases for tests, and a proxy that disturbs the way to them. Those of Postgres are on the server that
//! `RDEV_TEST_POSTGRES` names.

mod proxy;

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tempfile::TempDir;

pub use self::proxy::Proxy;
use crate::SqlStore;

/// Opens a store on a new SQLite file, which is removed with the folder.
///
/// # Panics
/// When the file cannot be created.
pub async fn sqlite() -> (SqlStore, TempDir) {
    let dir = tempfile::tempdir().expect("a folder can be created");
    let store = SqlStore::sqlite(&dir.path().join("rdev.db")).await.expect("the file can be opened");
    (store, dir)
}

/// Runs SQL in the SQLite file of a store, which may be in use.
pub async fn run_on_sqlite(file: &Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(file);
    let mut connection = options.connect().await.expect("the file is a database");
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.expect("the SQL is run");
    connection.close().await.expect("it can be closed");
}

/// A database of its own on the tests' server; dropped with this, whoever still uses it.
#[derive(Debug)]
pub struct PostgresDatabase {
    server: String,
    name: String,
}

/// A lock, given back with its connection.
#[derive(Debug)]
pub struct Locked(#[expect(dead_code, reason = "it is held until it is dropped")] PgConnection);

impl PostgresDatabase {
    /// Makes an empty one on the tests' server.
    ///
    /// # Panics
    /// Without a server.
    pub async fn create() -> Self {
        #[expect(clippy::disallowed_methods, reason = "tests are told by variables where their servers are")]
        let server = std::env::var("RDEV_TEST_POSTGRES").expect(
            "RDEV_TEST_POSTGRES is not set: run scripts/test.sh, which starts a private Postgres server, or set it \
             to the URL of one on which databases may be made, such as postgres://rdev@127.0.0.1:5432/postgres",
        );
        Self::create_on(server).await
    }

    /// Makes an empty one on the server of this URL.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn create_on(server: String) -> Self {
        let name = format!("it_{:016x}", RandomState::new().hash_one(std::process::id()));
        let database = Self { server, name };
        database.on_server(format!("CREATE DATABASE {}", database.name)).await;
        database
    }

    /// Its name on the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    pub fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').expect("the server's URL names a database");
        format!("{server}/{}", self.name)
    }

    /// Address of its server.
    pub fn address(&self) -> SocketAddr {
        let host = self.server.rsplit_once('@').map_or(self.server.as_str(), |(_, host)| host);
        let host = host.split('/').next().unwrap_or_default();
        host.parse().expect("the server's URL names IP:PORT")
    }

    /// Its address, behind something that listens there.
    pub fn url_at(&self, address: SocketAddr) -> String {
        self.url().replace(&self.address().to_string(), &address.to_string())
    }

    /// Runs SQL in it.
    pub async fn run(&self, sql: &str) {
        let mut connection = self.connect().await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.expect("the SQL is run");
    }

    /// A connection of the test's own.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.expect("the tests' server answers")
    }

    /// Keeps everybody from the queue, until what comes back is dropped.
    pub async fn lock_queue(&self) -> Locked {
        let mut connection = self.connect().await;
        let lock = "BEGIN; LOCK TABLE queue IN ACCESS EXCLUSIVE MODE";
        sqlx::raw_sql(lock).execute(&mut connection).await.expect("nobody holds it for long");
        Locked(connection)
    }

    /// Cuts every connection to it.
    pub async fn cut_connections(&self) {
        let name = &self.name;
        self.on_server(format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        ))
        .await;
    }

    async fn on_server(&self, sql: String) {
        let mut connection = PgConnection::connect(&self.server).await.expect("the tests' server answers");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("the SQL is run");
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        let (server, sql) = (self.server.clone(), format!("DROP DATABASE {} WITH (FORCE)", self.name));
        // Its own thread: a test's runtime cannot be waited for from inside.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&server).await?;
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await
            })
        });
        // A test that has failed says why by itself; what is left goes with the server.
        drop(dropping.join());
    }
}
