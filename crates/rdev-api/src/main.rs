//! The rdev server.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rdev_api::config::{Action, Config};
use rdev_api::process::Inherited;
use rdev_api::{app, doctor, migrate, process, server, telemetry, wire};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// After everything else has ended, calls of the system have so long to come back.
const RUNTIME_END_TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let config = match Config::try_parse() {
        Ok(config) => config,
        Err(error) => return config_error(&error),
    };
    let _log = match telemetry::init(&config) {
        Ok(log) => log,
        Err(error) => return failed(&error),
    };
    match process::close().and_then(|inherited| perform(config, inherited)) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(config: Config, inherited: Inherited) -> anyhow::Result<ExitCode> {
    match config.command {
        Some(Action::Openapi) => app::print_document().map(|()| ExitCode::SUCCESS),
        Some(Action::Doctor) => doctor::run(&config, inherited),
        Some(Action::Migrate { check }) => migrate::run(&config, check),
        None => serve(config, inherited).map(|()| ExitCode::SUCCESS),
    }
}

fn serve(config: Config, inherited: Inherited) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve_until_stopped(config, inherited));
    // What hangs in a call of the system keeps no process alive.
    runtime.shutdown_timeout(RUNTIME_END_TIMEOUT);
    served
}

async fn serve_until_stopped(config: Config, inherited: Inherited) -> anyhow::Result<()> {
    let stop = server::stop_on_signal()?;
    let listeners = server::Listeners::open(&config)?;
    // A database may let a start wait for minutes, and whatever a start is cut off in, the next one goes on.
    let wired = stop.run_until_cancelled(wire::wire(&config, inherited)).await;
    let Some(rdev) = wired.transpose()? else { return Ok(()) };
    // With it the keys in plain text.
    drop(config);
    server::greet(&listeners, &rdev)?;
    rdev.serve(listeners, stop).await
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
