//! An rdev with much data: jobs that a server has run, and copies of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use rdev_client::types::{ShellBody, TaskBody};
use rdev_sql::SqlStore;
use serde_json::json;

use super::copies::Database;
use crate::servers::{PROJECT, Rdev};
use crate::table::short;

/// Jobs that one statement makes.
const COPIES: u64 = 5_000;
/// The same for jobs with much output.
const LARGE_COPIES: u64 = 4;
/// Lines of the oldest stream.
pub(crate) const OLDEST_LINES: u64 = 10_000;
/// Prints 8 MB that no database compresses to less than three quarters.
const LARGE: &str = "head -c 6000000 /dev/urandom | base64 -w 120";
/// Time for a job to end.
const JOB_SECONDS: u32 = 60;

/// Amount of data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Amount {
    /// Half of them are commands, half of them tasks.
    pub(crate) jobs: u64,
    pub(crate) projects: u64,
    /// Least size of the database.
    pub(crate) bytes: u64,
}

/// A filled database, with the folder of its server.
#[derive(Debug)]
pub(crate) struct Filled {
    data: PathBuf,
    /// URL of a Postgres database; `None` for the SQLite file in the folder.
    url: Option<String>,
    /// Path of the oldest stream's events.
    pub(crate) oldest: String,
}

impl Filled {
    /// Fills a new database. Returns it with a line about its contents.
    pub(crate) async fn new(
        program: &Path,
        data: PathBuf,
        url: Option<String>,
        amount: Amount,
    ) -> anyhow::Result<(Self, String)> {
        let began = Instant::now();
        let mut filled = Self { data, url, oldest: String::new() };
        let seeds = filled.seed(program).await?;
        let workspaces = filled.data.join("workspaces");
        for number in 0..amount.projects {
            fs::create_dir(workspaces.join(format!("p{number}")))?;
        }
        let mut database = filled.database().await?;
        for job in [&seeds.command, &seeds.task] {
            for first in (1..=amount.jobs / 2).step_by(COPIES as usize) {
                let numbers = first..(first + COPIES).min(amount.jobs / 2 + 1);
                database.copy(job, numbers, amount.projects).await?;
            }
        }
        let (mut large, mut bytes) = (1, database.bytes().await?);
        while bytes < amount.bytes {
            database.copy(&seeds.large, large..large + LARGE_COPIES, amount.projects).await?;
            large += LARGE_COPIES;
            bytes = database.bytes().await?;
        }
        database.settle().await?;
        let told = format!(
            "{} projects, {} jobs, {} entries, {:.2} GB, filled in {:.0} s",
            amount.projects,
            short((amount.jobs + large) as f64),
            short(database.entries().await? as f64),
            database.bytes().await? as f64 / 1e9,
            began.elapsed().as_secs_f64()
        );
        Ok((filled, told))
    }

    /// Has a server run the jobs that are copied.
    async fn seed(&mut self, program: &Path) -> anyhow::Result<Seeds> {
        let rdev = self.server(program).await?;
        let client = rdev.client()?;
        let mut ran = Vec::new();
        for command in [&format!("seq 1 {OLDEST_LINES}"), "echo hello", LARGE] {
            let accepted = client.run_shell(PROJECT, &ShellBody::new(command)).await?;
            let command = client.await_command(PROJECT, &accepted.id, JOB_SECONDS).await?;
            anyhow::ensure!(command.progress.exit_code == Some(0), "{command:?}");
            ran.push(accepted);
        }
        let [oldest, command, large] = ran.try_into().ok().context("three commands ran")?;
        let body: TaskBody = serde_json::from_value(json!({ "type": "shell", "steps": ["echo hello"] }))?;
        let task = client.add_task(&body).await?.id;
        let ended = client.await_task(&task, JOB_SECONDS).await?;
        anyhow::ensure!(ended.progress.exit_code == Some(0), "{ended:?}");
        self.oldest = oldest.stream_url;
        Ok(Seeds { command: command.id, task, large: large.id })
    }

    /// Starts a server, which removes nothing.
    pub(crate) async fn server(&self, program: &Path) -> anyhow::Result<Rdev> {
        let mut settings = vec![("RDEV_RETENTION_DAYS", "0"), ("RDEV_RETENTION_LOG_MB", "0")];
        settings.extend(self.url.as_deref().map(|url| ("RDEV_DATABASE_URL", url)));
        Rdev::start_with(program, &self.data, &settings).await
    }

    /// Opens the stores, while no server runs.
    pub(crate) async fn store(&self) -> anyhow::Result<SqlStore> {
        let store = match &self.url {
            Some(url) => SqlStore::postgres(url).await,
            None => SqlStore::sqlite(&self.file()).await,
        };
        store.map_err(Into::into)
    }

    /// Opens the database beside the stores.
    pub(crate) async fn database(&self) -> anyhow::Result<Database> {
        Database::open(&self.file(), self.url.as_deref()).await
    }

    fn file(&self) -> PathBuf {
        self.data.join("rdev.db")
    }

    /// Removes the folder; the disk may be full of it.
    pub(crate) fn remove(self) -> anyhow::Result<()> {
        fs::remove_dir_all(self.data).map_err(Into::into)
    }
}

/// Ids of the jobs that are copied.
struct Seeds {
    command: String,
    task: String,
    large: String,
}
