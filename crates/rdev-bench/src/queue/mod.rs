//! Measures rdev's queue beside its peers, on one Postgres server in one run; scripts/bench-queue.sh says what is measured and how to
//! read it.
//!
//! To add a peer: a variant of [`peers::Peer`] and its program, and its place in `Setup::contenders`.

mod axes;
mod contender;
mod peers;
mod postgres;
mod rdev;

use std::path::PathBuf;

use anyhow::Context;

pub(crate) use self::postgres::Server;
pub(crate) use self::rdev::{claim, now, numbered, work};

use self::axes::{Axis, Setup};
use crate::common::{Common, runtime};
use crate::table::Report;

/// The peers' programs.
#[derive(Debug)]
pub(crate) struct Peers {
    /// That of benches/graphile.
    pub(crate) graphile: PathBuf,
    /// The folder that holds node_modules.
    pub(crate) modules: PathBuf,
}

/// Options of `rdev-bench queue`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// URL of the server, on which databases are made
    #[arg(long)]
    postgres: String,
    /// The program of benches/graphile; without it there are no peers
    #[arg(long, requires = "modules")]
    graphile: Option<PathBuf>,
    /// The folder that holds the peers' node_modules
    #[arg(long, requires = "graphile")]
    modules: Option<PathBuf>,
    /// Only these axes
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Axis>,
}

impl Options {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let runtime = runtime()?;
        let server = Server(self.postgres);
        let version = runtime.block_on(server.check())?;
        let run = self.common.begin("queue", Some(version), !self.only.is_empty())?;
        let size = self.common.size();
        let peers = self.graphile.zip(self.modules).map(|(graphile, modules)| Peers { graphile, modules });
        let setup = Setup { server, peers, folder: self.common.folder.clone(), size };
        let axes = if self.only.is_empty() { Axis::ALL.to_vec() } else { self.only };
        let mut report = Report::default();
        let measure = |axis: Axis| {
            let measured = report.axis(|report| runtime.block_on(axis.run(&setup, report)));
            measured.with_context(|| format!("the axis {axis:?}"))
        };
        let measured = axes.into_iter().try_for_each(measure);
        run.end(&report, measured)
    }
}
