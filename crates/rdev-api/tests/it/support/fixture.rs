//! Servers before their start: settings and folders.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::Arc;

use rdev_sql::testing::PostgresDatabase;
use tempfile::TempDir;
use tokio::process::Command;

use super::places::Places;
use super::server::Server;
use super::{Runtime, within};

/// Settings and folders with which a server is started.
pub(crate) struct Fixture {
    runtime: Runtime,
    pub(super) root: TempDir,
    pub(super) env: Vec<(String, String)>,
    for_commands: Vec<(String, String)>,
    without_projects: bool,
    workers: u32,
    pub(super) store: Store,
    /// A line of the shell that starts the server; the program is its `$0`.
    pub(super) started_by: Option<&'static str>,
}

/// Store in which a server keeps its commands.
pub(super) enum Store {
    /// A file in its folder.
    Sqlite,
    /// A database that is made when the server starts.
    NewPostgres,
    /// A database of its own, or of the server beside which it was started.
    Postgres(Arc<PostgresDatabase>),
}

/// Last words of a server that did not start.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// All that a program has written.
pub(crate) fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

impl Fixture {
    /// The embedded default, in a folder of its own.
    pub(crate) fn new() -> Self {
        Self::on(Runtime::Local)
    }

    /// SQLite in a folder of its own, and this runtime.
    pub(super) fn on(runtime: Runtime) -> Self {
        let root = tempfile::Builder::new().prefix("rdev-it-").tempdir().expect("a temporary folder");
        fs::create_dir(root.path().join("home")).expect("a home folder");
        let (env, for_commands, without_projects) = (Vec::new(), Vec::new(), false);
        let (workers, store, started_by) = (0, Store::Sqlite, None);
        Self { runtime, root, env, for_commands, without_projects, workers, store, started_by }
            .with("RDEV_BIND", "127.0.0.1:0")
            .with("RDEV_RATE_LIMIT_PER_MINUTE", "1000000")
    }

    /// Sets a variable of the server's environment.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Sets a variable of the environment of commands.
    pub(crate) fn for_commands(mut self, name: &str, value: impl Into<String>) -> Self {
        match self.runtime {
            // They get what the server has.
            Runtime::Local | Runtime::LocalOnPostgres => self.with(name, value),
            Runtime::Double | Runtime::Cluster => {
                self.for_commands.push((name.to_owned(), value.into()));
                self
            }
        }
    }

    /// A folder before the others on the PATH of commands.
    pub(crate) fn with_program(self, program: &Path) -> Self {
        let folder = program.parent().expect("a program is in a folder").display();
        let path = format!("{folder}:{}", super::tools::path());
        self.for_commands("PATH", path)
    }

    /// Stores in a Postgres database of its own. A server that was killed leaves leases there, which run out
    /// soon.
    pub(crate) fn with_postgres(mut self) -> Self {
        self.store = Store::NewPostgres;
        self.with("RDEV_LEASE_SECONDS", "3")
    }

    /// Stores in this database, as [`Self::with_postgres`] does in a new one.
    pub(crate) fn with_database(mut self, database: PostgresDatabase) -> Self {
        let url = database.url();
        self.store = Store::Postgres(Arc::new(database));
        self.with("RDEV_LEASE_SECONDS", "3").with("RDEV_DATABASE_URL", url)
    }

    /// Leaves it to the story to make the pods of projects, and to the server to make its first project.
    pub(crate) fn without_projects(mut self) -> Self {
        self.without_projects = true;
        self
    }

    /// Has so many workers in the pool, `slot-1` and on.
    pub(crate) fn with_workers(mut self, count: u32) -> Self {
        self.workers = count;
        self.with("RDEV_POOL_SLOTS", count.to_string())
    }

    /// Has the server started by a line of the shell, which is to end in `exec "$0"`.
    pub(crate) fn started_by(mut self, line: &'static str) -> Self {
        self.started_by = Some(line);
        self
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// The program with this fixture's environment, and nothing else of the test's own.
    pub(crate) fn program(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_rdev-api");
        let mut command = match self.started_by {
            None => Command::new(program),
            Some(line) => {
                let mut shell = Command::new("bash");
                shell.args(["-c", line, program]);
                shell
            }
        };
        command
            .env_clear()
            .env("PATH", super::tools::path())
            .env("HOME", self.root.path().join("home"))
            .env("RDEV_DATA_DIR", self.data_dir())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.root.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs a subcommand of the program to its end.
    pub(crate) async fn run(&self, args: &[&str]) -> Output {
        within("the program's end", self.program().args(args).output()).await.expect("rdev-api can be run")
    }

    /// Starts a server that must refuse to start.
    pub(crate) async fn refused(&self) -> Refusal {
        let output = within("the refusal", self.program().output()).await.expect("rdev-api can be run");
        assert!(!output.status.success(), "it has started");
        Refusal {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(crate) async fn start(mut self) -> Server {
        if matches!(self.store, Store::NewPostgres) {
            let database = PostgresDatabase::create().await;
            let url = database.url();
            self.store = Store::Postgres(Arc::new(database));
            self = self.with("RDEV_DATABASE_URL", url);
        }
        let env = std::mem::take(&mut self.for_commands);
        let places = Places::make(self.runtime, self.data_dir(), env).await;
        if !self.without_projects {
            places.add_first_project().await;
        }
        let workers: Vec<String> = (1..=self.workers).map(|n| format!("slot-{n}")).collect();
        for worker in &workers {
            places.add_worker(worker).await;
        }
        for (name, value) in places.server_env() {
            self = self.with(name, value);
        }
        let mut server = Server::at(places, self);
        server.restart().await;
        for worker in &workers {
            server.client().has_worker(worker).await;
        }
        server
    }

    /// Starts another server on the same store and the same places, with a folder of its own.
    pub(crate) async fn start_beside(mut self, server: &Server) -> Server {
        let Store::Postgres(database) = &server.fixture().store else { panic!("its store cannot be shared") };
        self.store = Store::Postgres(database.clone());
        self = self.with("RDEV_DATABASE_URL", database.url());
        let places = Places::Shared { env: server.places().server_env() };
        for (name, value) in places.server_env() {
            self = self.with(name, value);
        }
        let mut server = Server::at(places, self);
        server.restart().await;
        server
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.root.path().join("log")
    }
}
