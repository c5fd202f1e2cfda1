//! The rdev server.

use std::process::ExitCode;

use clap::Parser;
use rdev_api::config::{Action, Config};
use rdev_api::{app, doctor, migrate, server, telemetry, wire};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config = match Config::try_parse() {
        Ok(config) => config,
        Err(error) => return config_error(&error),
    };
    let _log = telemetry::init(&config);
    let done = match config.command {
        Some(Action::Openapi) => app::print_document().map(|()| ExitCode::SUCCESS),
        Some(Action::Doctor) => doctor::run(&config),
        Some(Action::Migrate { check }) => migrate::run(&config, check),
        None => serve(config).map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve(config: Config) -> anyhow::Result<()> {
    let stop = server::stop_on_signal()?;
    let listener = server::listen(config.bind)?;
    let rdev = wire::wire(&config).await?;
    server::greet(&listener, &rdev)?;
    rdev.serve(listener, stop).await
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
