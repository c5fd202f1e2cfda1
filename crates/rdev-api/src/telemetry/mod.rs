//! The log, and what is said of panics.

mod lines;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use self::lines::Lines;
use crate::config::{Config, LogFormat};

/// How long the end of the process waits for the last lines to be written.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

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
/// When there is no thread to be had for it.
pub fn init(config: &Config) -> anyhow::Result<Log> {
    let write =
        || LINES.write_to(std::io::stderr(), |lines| tracing::warn!(lines, "this log has lost lines"));
    thread::Builder::new().name("log".to_owned()).spawn(write).context("a thread for the log")?;
    // The cluster's client tells of every failed request as an error of its own; here who asked tells.
    let filter = EnvFilter::new(format!("kube_client::client::builder=off,{}", config.log));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would tell of what goes wrong by `eprintln!`, which panics where that goes wrong as well.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(|| &LINES);
    match config.log_format() {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    std::panic::set_hook(Box::new(tell_of_panic));
    Ok(Log(()))
}

/// Lines of the log that were lost so far: there was no room for them, or they could not be written.
pub(crate) fn lines_lost() -> u64 {
    LINES.lost()
}

/// Panics of this process so far.
pub(crate) fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// The standard library's own hook waits for standard error.
fn tell_of_panic(panic: &PanicHookInfo<'_>) {
    PANICS.fetch_add(1, Ordering::Relaxed);
    let message = panic.payload_as_str().unwrap_or("of an unknown kind");
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => tracing::error!(at, %backtrace, "panicked: {message}"),
        _ => tracing::error!(at, "panicked: {message}"),
    }
}
