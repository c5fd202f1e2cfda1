//! The rdev server.

use std::io::Write;
use std::process::ExitCode;

use rdev_api::config::Config;
use rdev_api::{process, run, telemetry};
use rdev_domain::causes;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let config = match Config::read() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let _log = match telemetry::init(&config) {
        Ok(log) => log,
        Err(error) => return failed(&error),
    };
    match process::close().and_then(|inherited| run::perform(config, inherited)) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{}", causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// Reports a failure before there is a log. Standard error may be closed; the exit code still tells.
fn failed(error: &anyhow::Error) -> ExitCode {
    drop(writeln!(std::io::stderr(), "rdev-api: {}", causes(error)));
    ExitCode::FAILURE
}
