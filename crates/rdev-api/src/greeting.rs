//! The greeting on standard output: the address, and a command that works when pasted.

use std::io::Write;
use std::thread;

use anyhow::Context;

use crate::server::Listeners;
use crate::wire::Rdev;

/// Prints the greeting. The server works the same where nobody reads standard output.
///
/// # Errors
/// When the listeners have no address, or there is no thread to be had.
pub(crate) fn greet(listeners: &Listeners, rdev: &Rdev) -> anyhow::Result<()> {
    let (address, key) = (listeners.api.local_addr()?, rdev.key_place());
    let greeting = format!(
        "rdev listens on http://{address}  (reference: http://{address}/docs)\n\
         The admin key is {key}. Run a command and watch it:\n\n  \
         curl -N http://{address}/projects/demo/shell -H \"Authorization: Bearer {}\" \
         -H 'Accept: text/event-stream' -H 'Content-Type: application/json' \
         -d '{{\"command\":\"for i in 1 2 3 4 5; do echo line $i; sleep 1; done\"}}'\n\n",
        rdev.key_command(),
    );
    if let Some(probes) = &listeners.probes {
        tracing::info!(address = %probes.local_addr()?, "probes and metrics are answered");
    }
    let write = move || {
        if let Err(error) = std::io::stdout().write_all(greeting.as_bytes()) {
            tracing::warn!(%error, %address, "the greeting could not be written to standard output");
        }
    };
    // Standard output may be a full pipe: then this thread waits, and nothing waits for it, as the runtime would for one
    // of its own.
    thread::Builder::new().name("greeting".to_owned()).spawn(write).context("a thread for the greeting")?;
    Ok(())
}
