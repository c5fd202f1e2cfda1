//! What is measured, a module for each.

mod claim;
mod first_event;
mod idle;
mod latency;
mod throughput;

use std::path::PathBuf;

use clap::ValueEnum;

use crate::common::Size;
use crate::postgres::{Server, run};
use crate::queue::Peers;
use crate::queue::contender::Contender;
use crate::queue::peers::{Peer, Program};
use crate::queue::rdev::{Rdev, Sender};
use crate::table::Report;

/// The projects of an rdev that many share; with one, every log entry waits for the same lock.
const PROJECTS: u64 = 64;

/// What every axis needs.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) server: Server,
    /// `None` measures rdev alone.
    pub(crate) peers: Option<Peers>,
    pub(crate) folder: PathBuf,
    pub(crate) size: Size,
}

impl Setup {
    /// Returns one of three values: that of the full size, of the small one, or of the smoke test.
    pub(crate) fn size<T>(&self, values: [T; 3]) -> T {
        self.size.of(values)
    }

    /// rdev as it is used, and the peers, each with a database of its own.
    async fn contenders(&self, replica: bool) -> anyhow::Result<Vec<Box<dyn Contender>>> {
        let database = |name: &'static str| self.server.create(name);
        let second = if replica { (1, Sender::Replica) } else { (PROJECTS, Sender::Own) };
        let mut all: Vec<Box<dyn Contender>> = vec![
            Box::new(Rdev::open(database("rdev_one").await?, 1, Sender::Own).await?),
            Box::new(Rdev::open(database("rdev_two").await?, second.0, second.1).await?),
        ];
        all.extend(self.peer("graphile_rust", Peer::GraphileRust).await?);
        all.extend(self.peer("graphile_node", Peer::GraphileNode).await?);
        all.extend(self.peer("pg_boss", Peer::Boss).await?);
        Ok(all)
    }

    /// A peer with a database of this name, unless rdev is measured alone.
    async fn peer(&self, database: &str, peer: Peer) -> anyhow::Result<Option<Box<dyn Contender>>> {
        let Some(peers) = &self.peers else { return Ok(None) };
        let url = self.server.create(database).await?;
        Ok(Some(Box::new(Program::open(url, peer, peers).await?)))
    }
}

/// Empties the tables, so that every measurement finds the same.
async fn empty(contender: &dyn Contender) -> anyhow::Result<()> {
    run(contender.database(), &format!("TRUNCATE {} CASCADE", contender.tables())).await
}

/// Lets the planner know what is there, and starts the log of changes anew.
async fn settle(contender: &dyn Contender) -> anyhow::Result<()> {
    run(contender.database(), "ANALYZE").await?;
    run(contender.database(), "CHECKPOINT").await
}

/// One thing that is measured.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Axis {
    Throughput,
    Latency,
    Idle,
    Claim,
    FirstEvent,
}

impl Axis {
    pub(crate) const ALL: [Self; 5] =
        [Self::Throughput, Self::Latency, Self::Idle, Self::Claim, Self::FirstEvent];

    pub(crate) async fn run(self, setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
        match self {
            Self::Throughput => throughput::run(setup, report).await,
            Self::Latency => latency::run(setup, report).await,
            Self::Idle => idle::run(setup, report).await,
            Self::Claim => claim::run(setup, report).await,
            Self::FirstEvent => first_event::run(setup, report).await,
        }
    }
}
