//! Configuration, read once from the environment and the command line: one group of options a subsystem.
//!
//! To add an option: a field in the group of its subsystem, its line in docs/configuration.md. An option `--some-name`
//! belongs to the variable `RDEV_SOME_NAME`; messages about wrong values rely on that. A new subsystem is a new file with
//! a group of its own, flattened into [`Config`]. The order of the groups is the order of `--help`.

mod http;
mod jobs;
mod keys;
mod local;
mod log;
mod parse;
mod pool;
mod read;
mod retention;
mod runtime;
mod secret;
mod server;
mod store;
mod streams;
mod unknown;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::build;

pub use self::http::HttpConfig;
pub use self::jobs::JobsConfig;
pub use self::keys::{AdminKeys, KeysConfig};
pub use self::local::LocalConfig;
pub use self::log::{LogConfig, LogFormat};
pub use self::pool::PoolConfig;
pub use self::retention::RetentionConfig;
pub use self::runtime::{Runtime, RuntimeConfig};
pub use self::secret::{MasterKey, Secret};
pub use self::server::{Bind, ServerConfig};
pub use self::store::{DatabaseUrl, StoreConfig};
pub use self::streams::StreamsConfig;
pub use self::unknown::UnknownVariable;

/// Runs coding agents, shell commands and git, and streams what they write.
///
/// Everything is configured by environment variables; each has an option of the same meaning.
#[derive(Debug, Clone, Parser)]
#[command(name = "rdev-api", version = build::DESCRIPTION, max_term_width = 100)]
pub struct Config {
    /// Subcommand that replaces serving
    #[command(subcommand)]
    pub command: Option<Action>,

    /// Listen addresses.
    #[command(flatten)]
    pub server: ServerConfig,

    /// Data folder and database.
    #[command(flatten)]
    pub store: StoreConfig,

    /// Runtime of commands.
    #[command(flatten)]
    pub runtime: RuntimeConfig,

    /// Secrets of this server.
    #[command(flatten)]
    pub keys: KeysConfig,

    /// Number of jobs at once.
    #[command(flatten)]
    pub pool: PoolConfig,

    /// Event streams.
    #[command(flatten)]
    pub streams: StreamsConfig,

    /// Times of jobs.
    #[command(flatten)]
    pub jobs: JobsConfig,

    /// Retention limits.
    #[command(flatten)]
    pub retention: RetentionConfig,

    /// Limits and trust at the HTTP boundary.
    #[command(flatten)]
    pub http: HttpConfig,

    /// Local runtime.
    #[command(flatten)]
    pub local: LocalConfig,

    /// Log of this process.
    #[command(flatten)]
    pub log: LogConfig,
}

/// Subcommand that replaces serving.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Action {
    /// Print the OpenAPI document of this version
    Openapi,
    /// Look at everything that rdev needs, and say how to mend what is wrong
    Doctor,
    /// Bring the database's schema up to date, as every start does
    Migrate {
        /// Change nothing: list what is pending, with exit code 1 when something is
        #[arg(long)]
        check: bool,
    },
    /// Back up the SQLite database to a new file, also while a server uses it; keys are not in it
    Backup {
        /// New file; `-` for standard output
        file: PathBuf,
    },
    /// Replace the SQLite database by that of a backup, while no server uses it; the one of before is set aside
    Restore {
        /// File that `backup` has made; `-` for standard input
        file: PathBuf,
    },
}

impl Config {
    /// Returns the form of the log: as configured, else JSON inside a pod and text elsewhere.
    pub fn log_format(&self) -> LogFormat {
        let default = if self.runtime.is_in_pod() { LogFormat::Json } else { LogFormat::Text };
        self.log.log_format.unwrap_or(default)
    }
}
