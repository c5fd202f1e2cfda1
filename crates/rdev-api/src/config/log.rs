//! The log of this process.

use clap::{Args, ValueEnum};

/// Log of this process.
#[derive(Debug, Clone, Args)]
pub struct LogConfig {
    /// Filter of the log, as tracing writes it: `info`, `rdev_engine=debug,warn`
    #[arg(long = "log", env = "RDEV_LOG", default_value = "info", value_parser = log_filter, value_name = "LOG")]
    pub filter: String,

    /// Form of the log: text, or one JSON object a line; json inside a pod
    #[arg(long, env = "RDEV_LOG_FORMAT")]
    pub(super) log_format: Option<LogFormat>,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors.
    Json,
}

fn log_filter(text: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|_| "accepted is a filter such as info or rdev_engine=debug,warn".to_owned())
}
