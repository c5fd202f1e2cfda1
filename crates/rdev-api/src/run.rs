//! The actions of the program, once its configuration is read. They are here and not in main.rs, which would compile all
//! that the server awaits a second time.

use std::process::ExitCode;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::config::{Action, Config};
use crate::process::Inherited;
use crate::{backup, doctor, greeting, migrate, router, server, wire};

/// Longest time that blocking calls have to return at the end; one that hangs keeps no process alive.
const RUNTIME_END_TIMEOUT: Duration = Duration::from_secs(1);

/// Performs the action of the configuration; without one, serves until a signal stops it.
///
/// # Errors
/// Any failure of the action; of a start, what could not be opened or wired.
pub fn perform(config: Config, inherited: Inherited) -> anyhow::Result<ExitCode> {
    match &config.command {
        Some(Action::Openapi) => router::print_document().map(|()| ExitCode::SUCCESS),
        Some(Action::Doctor) => doctor::run(&config, inherited),
        Some(Action::Migrate { check }) => migrate::run(&config.store, *check),
        Some(Action::Backup { file }) => backup::back_up(&config.store, file),
        Some(Action::Restore { file }) => backup::restore(&config.store, file),
        None => serve(config, inherited).map(|()| ExitCode::SUCCESS),
    }
}

fn serve(config: Config, inherited: Inherited) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve_until_stopped(config, inherited));
    runtime.shutdown_timeout(RUNTIME_END_TIMEOUT);
    served
}

async fn serve_until_stopped(config: Config, inherited: Inherited) -> anyhow::Result<()> {
    greeting::warn_of_unknown_variables();
    let stop = server::stop_on_signal()?;
    let listeners = server::Listeners::open(&config)?;
    // A database may let a start wait for minutes; a start that is cut off is continued by the next one.
    let wired = stop.run_until_cancelled(wire::wire(&config, inherited)).await;
    let Some(rdev) = wired.transpose()? else { return Ok(()) };
    let format = config.log_format();
    // The configuration holds the keys in plain text.
    drop(config);
    greeting::greet(&listeners, &rdev, format)?;
    if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
        // Who inherited the variable of another service starts all the same; systemd itself stops a start that says nothing.
        tracing::warn!(%error, "systemd was not told of the start (NOTIFY_SOCKET)");
    }
    rdev.serve(listeners, stop).await?;
    tracing::info!("stopped");
    Ok(())
}
