//! The log: lines to standard error, which never hold up, and never end, who writes them.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// Lines that wait to be written; with more than that, new ones are dropped.
const LINES_WAITING_MAX: usize = 8 * 1024;

/// Lines that found no room.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();
/// Writes that standard error did not take.
static UNWRITTEN: AtomicU64 = AtomicU64::new(0);

/// Begins to log to standard error as configured. What waits is written when this is dropped, within a second.
pub fn init(config: &Config) -> WorkerGuard {
    // The cluster's client tells of every failed request as an error of its own; here who asked tells.
    let filter = EnvFilter::new(format!("kube_client::client::builder=off,{}", config.log));
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_WAITING_MAX);
    let (writer, guard) = builder.finish(Stderr);
    DROPPED.get_or_init(|| writer.error_counter());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        // It would tell of a line that cannot be written by `eprintln!`, which panics.
        .log_internal_errors(false)
        .with_writer(writer);
    match config.log_format() {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    guard
}

/// Lines of the log that were lost: whoever reads it was too slow, or is gone.
pub(crate) fn lines_lost() -> u64 {
    let dropped = DROPPED.get().map_or(0, ErrorCounter::dropped_lines);
    UNWRITTEN.load(Ordering::Relaxed).saturating_add(dropped as u64)
}

/// Standard error, which may be a pipe without a reader or a file on a full disk: what it does not take is counted.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if io::stderr().write_all(line).is_err() {
            UNWRITTEN.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
