//! Servers: started, killed, and cleaned up after.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use rdev_client::types::ProjectStatus;
use rdev_sql::testing::{PostgresDatabase, run_on_sqlite};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use super::cluster::Namespace;
use super::double::Double;
use super::fixture::{Fixture, Store};
use super::places::{self, Places};
use super::processes::{self, Memory};
use super::{Client, eventually, within};

/// End of a server's log that a failed test shows, in bytes.
const LOG_SHOWN: usize = 6_000;

/// A server that runs, or is down for a while; with everything it has started, gone when dropped.
pub(crate) struct Server {
    // Goes before the folder does in which its own may be.
    places: Places,
    fixture: Fixture,
    process: Option<Child>,
    client: Option<Client>,
}

impl Server {
    /// One that does not run yet.
    pub(super) fn at(places: Places, fixture: Fixture) -> Self {
        Self { places, fixture, process: None, client: None }
    }

    /// A server as a newcomer gets it, but for its port, its rate limit, and its project, which is empty.
    pub(crate) async fn start() -> Self {
        Fixture::new().start().await
    }

    /// The client with the administrator's key.
    pub(crate) fn client(&self) -> Client {
        self.client.clone().expect("the server runs")
    }

    /// Starts the server again after it has ended; it may have another address then.
    pub(crate) async fn restart(&mut self) {
        assert!(self.try_restart("/ready").await, "it has not started: {}", self.log());
    }

    /// As [`Server::restart`], as often as it takes: what keeps a server running does not ask why it refuses.
    /// Tells whether it is ready before somebody kills it, in whatever state it is then.
    pub(crate) async fn restarts_before(&mut self, kill: impl Future<Output = Option<()>>) -> bool {
        let starting = within("a start", async { while !self.try_restart("/ready").await {} });
        tokio::select! {
            () = starting => return true,
            // Where nobody will kill it, there is only the start to wait for.
            Some(()) = kill => {}
        }
        if self.process.is_some() {
            // It may have refused to start in this moment.
            processes::signal(self.pid(), Signal::KILL);
            self.wait().await;
        }
        false
    }

    /// Tells whether it has started, and answers this path with 200. One that refuses says why in its log.
    pub(crate) async fn try_restart(&mut self, ready: &str) -> bool {
        assert!(self.process.is_none(), "it runs already");
        let log = fs::OpenOptions::new().create(true).append(true).open(self.fixture.log_file());
        let mut process = self
            .fixture
            .program()
            .stdout(Stdio::piped())
            .stderr(log.expect("a log file"))
            .spawn()
            .expect("rdev-api can be run");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        self.process = Some(process);
        let line = within("the first line", lines.next_line()).await.expect("standard output can be read");
        let Some(line) = line else {
            self.wait().await;
            return false;
        };
        // What it says after that is for people; the pipe must stay open for it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let address = line
            .split_once("rdev listens on http://")
            .and_then(|(_, rest)| rest.split([' ', '"']).next())
            .and_then(|address| address.parse().ok())
            .unwrap_or_else(|| panic!("no address in {line:?}"));
        let client = Client::new(address, Some(&self.key()));
        // It listens before it knows the cluster's pods, and says so.
        let ready = async || (client.get(ready).send().await.status == 200).then_some(());
        eventually("readiness", ready).await;
        self.client = Some(client);
        true
    }

    /// The process ends in the middle of whatever it does.
    pub(crate) async fn kill9(&mut self) {
        processes::signal(self.pid(), Signal::KILL);
        let status = self.wait().await;
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "it has ended by itself: {}", self.log());
    }

    /// The server and all that it has started end at once, as their machine does. Whoever watches them ends, too.
    pub(crate) async fn lose_power(&mut self) {
        // Nobody has the time to notice that another is gone.
        self.pause();
        processes::end_all(&self.fixture.data_dir());
        self.kill9().await;
        let root = self.fixture.root.path();
        eventually("the last end", async || (processes::working_in(root) == 0).then_some(())).await;
    }

    /// From its next start on nothing is between it and the story.
    pub(crate) fn watched_no_more(&mut self) {
        self.fixture.started_by = None;
    }

    /// It does nothing from now on, and notices nothing.
    pub(crate) fn pause(&self) {
        processes::signal(self.pid(), Signal::STOP);
    }

    /// It goes on where it was.
    pub(crate) fn resume(&self) {
        processes::signal(self.pid(), Signal::CONT);
    }

    /// SIGTERM; what follows is seen with [`Server::wait`].
    pub(crate) fn terminate(&self) {
        processes::signal(self.pid(), Signal::TERM);
    }

    /// SIGHUP, as a terminal sends it that is closed.
    pub(crate) fn hang_up(&self) {
        processes::signal(self.pid(), Signal::HUP);
    }

    /// Waits for the process's end.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the server runs");
        self.client = None;
        within("the server's end", process.wait()).await.expect("it can be waited for")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().and_then(Child::id).expect("the server runs")
    }

    pub(crate) fn memory(&self) -> Memory {
        Memory::watch(self.pid())
    }

    pub(crate) fn fixture(&self) -> &Fixture {
        &self.fixture
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// Namespace of the projects, of a server whose projects are pods of a real cluster.
    pub(crate) fn namespace(&self) -> &Namespace {
        match &self.places {
            Places::Cluster(namespace) => namespace,
            Places::Local { .. } | Places::Double(_) | Places::Shared { .. } => {
                panic!("it has no namespace")
            }
        }
    }

    /// The double of a cluster that its projects are in.
    pub(crate) fn double(&self) -> &Double {
        match &self.places {
            Places::Double(double) => double,
            Places::Local { .. } | Places::Cluster(_) | Places::Shared { .. } => {
                panic!("its projects are in no double")
            }
        }
    }

    /// Cuts every connection to its Postgres, also those of others that use it.
    pub(crate) async fn cut_database(&self) {
        self.database().cut_connections().await;
    }

    /// Its Postgres database.
    pub(crate) fn database(&self) -> &PostgresDatabase {
        let Store::Postgres(database) = &self.fixture.store else { panic!("its store is a file") };
        database
    }

    /// Runs SQL in its store, behind its back.
    pub(crate) async fn sql(&self, sql: &str) {
        match &self.fixture.store {
            Store::Sqlite => run_on_sqlite(&self.fixture.data_dir().join("rdev.db"), sql).await,
            Store::Postgres(database) => database.run(sql).await,
            Store::NewPostgres => panic!("it has not started"),
        }
    }

    /// Makes another project, and waits until the server knows it.
    pub(crate) async fn add_project(&self, id: &str) {
        self.places.add_project(id).await;
        self.knows(id).await;
    }

    /// Waits until the server knows a project that was made, and can run commands there.
    pub(crate) async fn knows(&self, id: &str) {
        self.project_in(id, ProjectStatus::Ready).await;
    }

    /// Waits until a project has this status.
    pub(crate) async fn project_in(&self, id: &str, status: ProjectStatus) {
        let client = self.client();
        let there = async || (client.project(id).await?.status == status).then_some(());
        eventually(id, there).await;
    }

    /// Returns the content of a file of the project `demo`; `None` while there is no such file.
    pub(crate) async fn file(&self, name: &str) -> Option<String> {
        self.places.file(name).await
    }

    /// The file's content, once there is a whole line in it.
    pub(crate) async fn file_written(&self, name: &str) -> String {
        eventually(name, async || self.file(name).await.filter(|text| text.ends_with('\n'))).await
    }

    /// Makes an empty file in the project `demo`, as a sign for a command that waits for it.
    pub(crate) async fn touch(&self, name: &str) {
        self.places.touch(name).await;
    }

    /// Makes an empty file in the folder of a worker, `..` for its tasks, as a sign for one that waits for it.
    pub(crate) async fn touch_at(&self, worker: &str, name: &str) {
        self.places.touch_at(worker, name).await;
    }

    /// Returns the content of a file there; `None` while there is no such file.
    pub(crate) async fn file_at(&self, worker: &str, name: &str) -> Option<String> {
        self.places.file_at(worker, name).await
    }

    /// Tells whether the process lives whose number a command has written to a file of `demo`.
    pub(crate) async fn lives(&self, pid_file: &str) -> bool {
        let pid = self.file(pid_file).await.unwrap_or_else(|| panic!("there is no {pid_file}"));
        self.places.lives(&pid).await
    }

    /// Tells whether a process works in the workspace of `demo`.
    pub(crate) async fn busy(&self) -> bool {
        self.places.busy().await
    }

    /// Waits until no process works in the workspace of `demo`.
    pub(crate) async fn nothing_left(&self) {
        eventually("the last process's end", async || (!self.busy().await).then_some(())).await;
    }

    /// Waits until no process is left of those that it has started in folders of this machine.
    pub(crate) async fn left_nothing(&self) {
        let data_dir = self.fixture.data_dir();
        eventually("the last process's end", async || {
            processes::of_data_dir(&data_dir).is_empty().then_some(())
        })
        .await;
    }

    /// The folder of `demo`, of a server with the local runtime.
    pub(crate) fn workspace(&self) -> PathBuf {
        places::workspace(&self.fixture.data_dir(), places::DEMO)
    }

    /// Everything that the server has logged. Lines are written by a thread of their own: only the log of a server
    /// that has ended is whole, see [`Self::logged`].
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.fixture.log_file()).unwrap_or_default()
    }

    /// The first line of the log that contains all of `words`, as soon as it is written.
    pub(crate) async fn logged(&self, words: &[&str]) -> String {
        let is_it = |line: &&str| words.iter().all(|word| line.contains(word));
        let line = async || self.log().lines().find(is_it).map(str::to_owned);
        eventually(&format!("{words:?} in the log"), line).await
    }

    /// Stops the server, and gives everything that it has logged.
    pub(crate) async fn whole_log(&mut self) -> String {
        self.terminate();
        let status = self.wait().await;
        let log = self.log();
        assert!(status.success(), "{status}: {log}");
        log
    }

    fn key(&self) -> String {
        let configured = |variable| self.fixture.env.iter().find(|(name, _)| name == variable);
        if let Some((_, key)) = configured("RDEV_ADMIN_KEY") {
            return first_of(key);
        }
        let file = configured("RDEV_ADMIN_KEY_FILE").map(|(_, file)| PathBuf::from(file));
        let key = fs::read_to_string(file.unwrap_or_else(|| self.fixture.data_dir().join("admin.key")));
        first_of(&key.expect("the first start writes a key"))
    }
}

/// Returns the first of the keys with commas between.
fn first_of(keys: &str) -> String {
    keys.trim().split(',').next().expect("a text has a first part").to_owned()
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = self.process.as_ref().and_then(Child::id) {
            processes::signal(pid, Signal::KILL);
        }
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(LOG_SHOWN);
            let from = (from..=log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(0);
            #[expect(clippy::print_stdout, reason = "a failed test shows what its server has logged")]
            {
                println!("--- the server's log\n{}", &log[from..]);
            }
        }
    }
}
