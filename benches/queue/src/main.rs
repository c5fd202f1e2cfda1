//! Measures rdev's queue beside its peers, on one Postgres server in one run; scripts/bench-queue.sh says what
//! is measured and how to read it.
//!
//! To add a peer: an implementation of [`contender::Contender`], and its place in `Setup::contenders`.

mod axes;
mod contender;
mod graphile;
mod node;
mod postgres;
mod rdev;
#[path = "../../../crates/rdev-bench/src/stats.rs"]
mod stats;
#[path = "../../../crates/rdev-bench/src/table.rs"]
mod table;

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;

use crate::axes::{Axis, Setup};
use crate::postgres::Server;
use crate::table::Report;

#[derive(Parser)]
struct Args {
    /// URL of the server, on which databases are made
    #[arg(long)]
    postgres: String,
    /// The folder that holds the peers' node_modules
    #[arg(long)]
    modules: PathBuf,
    /// An empty folder for everything that is written
    #[arg(long)]
    folder: PathBuf,
    /// Small sizes, two to three minutes
    #[arg(long)]
    small: bool,
    /// Only these axes
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Axis>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let server = Server(args.postgres);
    let mut report = Report::default();
    report.fact(server.check().await?);
    let setup = Setup { server, modules: args.modules, folder: args.folder, small: args.small };
    let axes = if args.only.is_empty() { Axis::ALL.to_vec() } else { args.only };
    for axis in axes {
        if let Err(error) = axis.run(&setup, &mut report).await {
            report.print()?;
            return Err(error).with_context(|| format!("the axis {axis:?}"));
        }
    }
    report.print()
}
