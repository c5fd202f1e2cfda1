//! The rdev server.

use std::process::ExitCode;

use clap::Parser;
use rdev_api::config::{Action, Config};
use rdev_api::process::Inherited;
use rdev_api::{app, doctor, migrate, process, server, telemetry, wire};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let config = match Config::try_parse() {
        Ok(config) => config,
        Err(error) => return config_error(&error),
    };
    let _log = telemetry::init(&config);
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

#[tokio::main]
async fn serve(config: Config, inherited: Inherited) -> anyhow::Result<()> {
    let stop = server::stop_on_signal()?;
    let listeners = server::Listeners::open(&config)?;
    let rdev = wire::wire(&config, inherited).await?;
    // With it the keys in plain text.
    drop(config);
    server::greet(&listeners, &rdev)?;
    rdev.serve(listeners, stop).await
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
