//! What the program does once its configuration is read. It is here and not in main.rs, which would compile all that the
//! server awaits a second time.

use std::process::ExitCode;
use std::time::Duration;

use crate::config::{Action, Config};
use crate::process::Inherited;
use crate::{app, doctor, migrate, server, wire};

/// After everything else has ended, calls of the system have so long to come back.
const RUNTIME_END_TIMEOUT: Duration = Duration::from_secs(1);

/// Performs the action of the configuration; without one, serves until a signal stops it.
///
/// # Errors
/// Any failure of the action; of a start, what could not be opened or wired.
pub fn perform(config: Config, inherited: Inherited) -> anyhow::Result<ExitCode> {
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
