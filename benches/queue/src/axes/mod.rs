//! What is measured, a module for each.

mod claim;
mod first_event;
mod idle;
mod latency;
mod throughput;

use std::path::PathBuf;

use clap::ValueEnum;

use crate::contender::Contender;
use crate::node::{Node, Peer};
use crate::postgres::{Server, run};
use crate::rdev::{Rdev, Sender};
use crate::table::Report;

/// The projects of an rdev that many share; with one, every log entry waits for the same lock.
const PROJECTS: u64 = 64;

/// What every axis needs.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) server: Server,
    pub(crate) modules: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) small: bool,
}

impl Setup {
    /// The full size, or a small one.
    pub(crate) fn size<T>(&self, full: T, small: T) -> T {
        if self.small { small } else { full }
    }

    /// rdev as it is used, and the peers, each with a database of its own.
    async fn contenders(&self, replica: bool) -> anyhow::Result<Vec<Box<dyn Contender>>> {
        let database = |name: &'static str| self.server.create(name);
        let second = if replica { (1, Sender::Replica) } else { (PROJECTS, Sender::Own) };
        Ok(vec![
            Box::new(Rdev::open(database("rdev_one").await?, 1, Sender::Own).await?),
            Box::new(Rdev::open(database("rdev_two").await?, second.0, second.1).await?),
            Box::new(crate::graphile::Graphile::open(database("graphile_rust").await?, true).await?),
            Box::new(Node::open(database("graphile_node").await?, Peer::Graphile, &self.modules).await?),
            Box::new(Node::open(database("pg_boss").await?, Peer::Boss, &self.modules).await?),
        ])
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
