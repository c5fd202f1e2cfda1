//! Measures an rdev that has grown beside an empty one, on SQLite and on Postgres; scripts/bench-growth.sh says what is measured and how
//! to read it.

mod copies;
mod fill;
mod measure;

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use self::fill::{Amount, Filled};
use self::measure::Beside;
use crate::common::{Common, runtime};
use crate::postgres::Server;
use crate::table::Report;

/// Size of the grown database: 20 GB, or half of the free disk.
const BYTES_MAX: u64 = 20_000_000_000;

/// Options of `rdev-bench growth`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// The server's program
    #[arg(long)]
    rdev: PathBuf,
    /// Finished jobs [default: 1,000,000]
    #[arg(long)]
    jobs: Option<u64>,
    /// Projects [default: 10,000]
    #[arg(long)]
    projects: Option<u64>,
    /// Least size of the database, in GB of 10^9 bytes [default: 20, or half of the free disk]
    #[arg(long)]
    log_gb: Option<f64>,
    /// Only these databases
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
}

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Sqlite,
    Postgres,
}

impl Options {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let runtime = runtime()?;
        let run = self.common.begin("growth", &runtime, self.only.clone())?;
        let server = self.common.server();
        run.measure(&[Kind::Sqlite, Kind::Postgres], |kind, report| {
            runtime.block_on(self.measure(kind, &server, report))
        })
    }

    async fn measure(&self, kind: Kind, server: &Server, report: &mut Report) -> anyhow::Result<()> {
        let size = self.common.size();
        let folder = &self.common.folder;
        let (name, grown_url, empty_url) = match kind {
            Kind::Sqlite => ("SQLite", None, None),
            Kind::Postgres => {
                let (grown, empty) = (server.create("rdev_grown").await?, server.create("rdev_empty").await?);
                ("Postgres", Some(grown), Some(empty))
            }
        };
        // Enough for retention to remove, and for one full page of each list.
        let little = Amount { jobs: size.of([10_000, 4_000, 400]), projects: 100, bytes: 0 };
        let data = |of: &str| folder.join(format!("{of}-{name}"));
        let (empty, told) = Filled::new(&self.rdev, data("empty"), empty_url, little).await?;
        report.fact(format!("{name}, empty: {told}"));
        let (grown, told) = Filled::new(&self.rdev, data("grown"), grown_url, self.amount()?).await?;
        report.fact(format!("{name}, grown: {told}"));
        Beside { name, grown: &grown, empty: &empty, size }.all(&self.rdev, report).await?;
        empty.remove()?;
        grown.remove()
    }

    fn amount(&self) -> anyhow::Result<Amount> {
        let size = self.common.size();
        let bytes = match self.log_gb {
            Some(gb) => (gb * 1e9) as u64,
            None => size.of([BYTES_MAX, BYTES_MAX / 100, 0]).min(free_bytes(&self.common.folder)? / 2),
        };
        Ok(Amount {
            jobs: self.jobs.unwrap_or(size.of([1_000_000, 40_000, 800])),
            projects: self.projects.unwrap_or(size.of([10_000, 1_000, 200])),
            bytes,
        })
    }
}

/// Returns the free bytes of the file system that holds a folder.
fn free_bytes(folder: &Path) -> anyhow::Result<u64> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(found.f_bavail * found.f_frsize)
}
