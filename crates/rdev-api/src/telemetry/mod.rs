//! The log, and the report of panics.

mod json;
mod lines;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

pub(crate) use self::json::JsonLine;
use self::lines::Lines;
use crate::config::{Config, LogFormat};

/// Longest time that the end of the process waits for the last lines to be written.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// Filter of what is logged only where the configured filter names it: every failed request as an error of the cluster's
/// client, which the caller logs, and SQL.
const UNLESS_NAMED: &str = "kube_client::client::builder=off,sqlx=warn";

static LINES: Lines = Lines::new();
static PANICS: AtomicU64 = AtomicU64::new(0);

/// The log of this process. Its last lines are written when this is dropped.
#[must_use]
pub struct Log(());

impl Drop for Log {
    fn drop(&mut self) {
        LINES.flush(FLUSH_PATIENCE);
    }
}

/// Begins to log to standard error as configured. A log that cannot be written loses lines, and nothing else.
///
/// # Errors
/// When no thread can be started for the log.
pub fn init(config: &Config) -> anyhow::Result<Log> {
    let write =
        || LINES.write_to(std::io::stderr(), |lines| tracing::warn!(lines, "this log has lost lines"));
    thread::Builder::new().name("log".to_owned()).spawn(write).context("a thread for the log")?;
    let filter = EnvFilter::new(format!("{UNLESS_NAMED},{}", config.log.filter));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Internal errors would be written by `eprintln!`, which panics where standard error cannot be written.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(|| &LINES);
    match config.log_format() {
        LogFormat::Text => builder.compact().with_target(false).init(),
        LogFormat::Json => {
            // The current span is the only one, so a list of all would say the same twice.
            builder.json().flatten_event(true).with_span_list(false).init();
        }
    }
    std::panic::set_hook(Box::new(log_panic));
    Ok(Log(()))
}

/// Returns the number of log lines lost so far, for want of room or because they could not be written.
pub(crate) fn lines_lost() -> u64 {
    LINES.lost()
}

/// Returns the number of panics of this process so far.
pub(crate) fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Logs and counts a panic; the standard library's own hook blocks on standard error.
fn log_panic(panic: &PanicHookInfo<'_>) {
    PANICS.fetch_add(1, Ordering::Relaxed);
    let message = panic.payload_as_str().unwrap_or("of an unknown kind");
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => tracing::error!(at, %backtrace, "panicked: {message}"),
        _ => tracing::error!(at, "panicked: {message}"),
    }
}
