//! The measured axes, a module each.

mod fanout;
mod first_event;
mod lines;
mod peer;
mod renderings;
mod requests;
mod run;
mod startup;

use std::path::PathBuf;

use clap::ValueEnum;

use crate::table::Report;

/// Setup of every axis.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) rdev: PathBuf,
    pub(crate) sandbox_agent: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) quick: bool,
}

impl Setup {
    /// Returns the full size, or a small one for a smoke test.
    pub(crate) fn size<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// A measured axis.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Axis {
    Lines,
    FirstEvent,
    Fanout,
    Requests,
    Startup,
    Peer,
}

impl Axis {
    pub(crate) const ALL: [Self; 6] =
        [Self::Lines, Self::FirstEvent, Self::Fanout, Self::Requests, Self::Startup, Self::Peer];

    pub(crate) async fn run(self, setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
        match self {
            Self::Lines => lines::run(setup, report).await,
            Self::FirstEvent => first_event::run(setup, report).await,
            Self::Fanout => fanout::run(setup, report).await,
            Self::Requests => requests::run(setup, report).await,
            Self::Startup => startup::run(setup, report).await,
            Self::Peer => peer::run(setup, report).await,
        }
    }
}
