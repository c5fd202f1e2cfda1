//! Measures rdev beside its baselines and its peers, in one run on one machine, and prints each figure as a ratio.
//!
//! `run` measures the server over its sockets, `queue` its stores beside other queues, `growth` both with much data. One thread
//! generates the load of a server and checks the answers: every axis counts the distinct events or lines that each client
//! received. The servers are started here, on free ports and in a folder of their own. To add an axis: write a module in
//! `axes/` that returns rows, and add its name to [`axes::Axis`].

mod axes;
mod card;
mod common;
mod growth;
mod http;
mod loopback;
mod postgres;
mod queue;
mod servers;
mod sse;
mod stats;
mod table;
mod ws;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Measures the server.
    Run(axes::Options),
    /// Measures the queue.
    Queue(queue::Options),
    /// Measures a grown rdev beside an empty one.
    Growth(growth::Options),
    /// Serves one empty route, the baseline for requests.
    EmptyRoute {
        /// Its port
        #[arg(long)]
        port: u16,
    },
    /// Serves recorded events, the floor of a stream.
    Loopback {
        /// Its port
        #[arg(long)]
        port: u16,
        /// The events
        #[arg(long)]
        file: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Mode::Run(options) => options.run(),
        Mode::Queue(options) => options.run(),
        Mode::Growth(options) => options.run(),
        Mode::EmptyRoute { port } => servers::empty_route(port),
        Mode::Loopback { port, file } => loopback::serve(port, &file),
    }
}
