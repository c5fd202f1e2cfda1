//! The rdev server.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use rdev_api::config::Config;
use rdev_api::{process, run, telemetry};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let config = match Config::try_parse() {
        Ok(config) => config,
        Err(error) => return config_error(&error),
    };
    let _log = match telemetry::init(&config) {
        Ok(log) => log,
        Err(error) => return failed(&error),
    };
    match process::close().and_then(|inherited| run::perform(config, inherited)) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Before there is a log. Standard error may be closed; the exit code still tells.
fn failed(error: &anyhow::Error) -> ExitCode {
    drop(writeln!(std::io::stderr(), "rdev-api: {error:#}"));
    ExitCode::FAILURE
}

/// clap's own text, but one line for a wrong value: a service's log shows lines.
fn config_error(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
    if matches!(error.kind(), DisplayHelp | DisplayVersion) {
        error.exit();
    }
    rdev_api::config::complain(error);
    ExitCode::from(2)
}
