//! The measured axes of the server, a module each.

mod commands;
mod fanout;
mod first_event;
mod lines;
mod peer;
mod renderings;
mod requests;
mod run;
mod startup;
mod subscribers;

use std::path::PathBuf;

use clap::ValueEnum;

use crate::common::{Common, Size, one_thread};
use crate::postgres::Server as Postgres;
use crate::table::Report;

/// Options of `rdev-bench run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// The server's program
    #[arg(long)]
    rdev: PathBuf,
    /// The program of sandbox-agent; without it no peer is measured, wrk, websocketd and nchan neither
    #[arg(long)]
    sandbox_agent: Option<PathBuf>,
    /// Only these axes
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Axis>,
}

impl Options {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let runtime = one_thread()?;
        let run = self.common.begin("server", &runtime, self.only)?;
        let (size, postgres, folder) = (self.common.size(), self.common.server(), self.common.folder);
        let setup = Setup { rdev: self.rdev, sandbox_agent: self.sandbox_agent, postgres, folder, size };
        run.measure(&Axis::ALL, |axis, report| runtime.block_on(axis.run(&setup, report)))
    }
}

/// Setup of every axis.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) rdev: PathBuf,
    /// `None` measures no peer.
    pub(crate) sandbox_agent: Option<PathBuf>,
    pub(crate) postgres: Postgres,
    pub(crate) folder: PathBuf,
    pub(crate) size: Size,
}

impl Setup {
    /// Returns one of three values: that of the full size, of the small one, or of the smoke test.
    pub(crate) fn size<T>(&self, values: [T; 3]) -> T {
        self.size.of(values)
    }

    pub(crate) fn has_peers(&self) -> bool {
        self.sandbox_agent.is_some()
    }
}

/// A measured axis.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Axis {
    Lines,
    FirstEvent,
    Fanout,
    Subscribers,
    Commands,
    Requests,
    Startup,
    Peer,
}

impl Axis {
    pub(crate) const ALL: [Self; 8] = [
        Self::Lines,
        Self::FirstEvent,
        Self::Fanout,
        Self::Subscribers,
        Self::Commands,
        Self::Requests,
        Self::Startup,
        Self::Peer,
    ];

    pub(crate) async fn run(self, setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
        match self {
            Self::Lines => lines::run(setup, report).await,
            Self::FirstEvent => first_event::run(setup, report).await,
            Self::Fanout => fanout::run(setup, report).await,
            Self::Subscribers => subscribers::run(setup, report).await,
            Self::Commands => commands::run(setup, report).await,
            Self::Requests => requests::run(setup, report).await,
            Self::Startup => startup::run(setup, report).await,
            Self::Peer => peer::run(setup, report).await,
        }
    }
}
