//! Measures rdev's queue beside its peers, on one Postgres server in one run; scripts/bench-queue.sh says what is measured and how to
//! read it.
//!
//! To add a peer: a variant of [`peers::Peer`] and its program, and its place in `Setup::contenders`.

mod axes;
mod contender;
mod peers;
mod rdev;

use std::path::PathBuf;

pub(crate) use self::rdev::{claim, now, numbered, work};

use self::axes::{Axis, Setup};
use crate::common::{Common, runtime};

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
        let run = self.common.begin("queue", &runtime, self.only)?;
        let (size, server, folder) = (self.common.size(), self.common.server(), self.common.folder);
        let peers = self.graphile.zip(self.modules).map(|(graphile, modules)| Peers { graphile, modules });
        let setup = Setup { server, peers, folder, size };
        run.measure(&Axis::ALL, |axis, report| runtime.block_on(axis.run(&setup, report)))
    }
}
