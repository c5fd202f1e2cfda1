//! Measures rdev beside its peers, in one run on one machine, and prints each figure as a ratio.
//!
//! One thread generates all load over raw sockets and checks the answers: every axis counts the distinct
//! events or lines that each client received. The servers are started here, on free ports and in a folder
//! of their own. To add an axis: write a module in `axes/` that returns rows, and add its name to
//! [`axes::Axis`].

mod axes;
mod http;
mod servers;
mod sse;
mod stats;
mod table;
mod ws;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::axes::{Axis, Setup};
use crate::table::Report;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Measures.
    Run {
        /// The server's program
        #[arg(long)]
        rdev: PathBuf,
        /// The peer's program
        #[arg(long)]
        sandbox_agent: PathBuf,
        /// An empty folder for all output and data
        #[arg(long)]
        folder: PathBuf,
        /// Small sizes, for a smoke test
        #[arg(long)]
        quick: bool,
        /// Only these axes
        #[arg(long, value_enum, value_delimiter = ',')]
        only: Vec<Axis>,
    },
    /// Serves one empty route, the baseline for requests.
    EmptyRoute {
        /// Its port
        #[arg(long)]
        port: u16,
    },
}

fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Mode::EmptyRoute { port } => servers::empty_route(port),
        Mode::Run { rdev, sandbox_agent, folder, quick, only } => {
            let setup = Setup { rdev, sandbox_agent, folder, quick };
            let axes = if only.is_empty() { Axis::ALL.to_vec() } else { only };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let mut report = Report::default();
            let measure = |axis: Axis| {
                let measured = runtime.block_on(axis.run(&setup, &mut report));
                measured.with_context(|| format!("the axis {axis:?}"))
            };
            let measured = axes.into_iter().try_for_each(measure);
            report.print()?;
            measured
        }
    }
}
