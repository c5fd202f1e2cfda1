//! The first words of a server that is about to serve: a line in the log, and on standard output its address, with a command
//! that works when pasted.

use std::io::Write;
use std::thread;

use anyhow::Context;
use serde::Serialize;

use crate::build;
use crate::config::{Bind, LogFormat, UnknownVariable};
use crate::server::{Listener, Listeners};
use crate::telemetry::JsonLine;
use crate::wire::Rdev;

/// Warns of variables that look like settings and are none.
pub(crate) fn warn_of_unknown_variables() {
    for UnknownVariable { name, nearest } in UnknownVariable::all() {
        tracing::warn!("{name} is no setting of rdev-api and is ignored; the most similar one is {nearest}");
    }
}

/// Logs that the server is about to serve, and prints the greeting. The server works the same where nobody reads standard
/// output.
///
/// # Errors
/// When the listeners have no address, or there is no thread to be had.
pub(crate) fn greet(listeners: &Listeners, rdev: &Rdev, format: LogFormat) -> anyhow::Result<()> {
    let address = listeners.api.address()?;
    let probes = listeners.probes.as_ref().map(Listener::address).transpose()?;
    log_start(&address, probes.as_ref(), rdev);
    let greeting = match format {
        LogFormat::Text => for_people(&address, rdev),
        LogFormat::Json => for_collectors(&address, rdev),
    };
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

fn log_start(address: &Bind, probes: Option<&Bind>, rdev: &Rdev) {
    let facts = rdev.facts();
    tracing::info!(
        version = build::VERSION,
        commit = build::COMMIT,
        bind = %address,
        probe_bind = probes.map(tracing::field::display),
        runtime = facts.runtime,
        namespace = facts.namespace.as_deref(),
        data_dir = %facts.data_dir.display(),
        database = facts.database,
        schema = facts.schema,
        retention_days = facts.retention_days,
        retention_log_mb = facts.retention_log_mb,
        "rdev-api starts to serve"
    );
}

/// Returns the beginning of a URL of this server, and what curl needs beside it.
fn url(address: &Bind) -> (String, String) {
    match address {
        Bind::Tcp(address) => (format!("http://{address}"), String::new()),
        Bind::Unix(path) => ("http://localhost".to_owned(), format!("--unix-socket '{}' ", path.display())),
    }
}

/// Returns the address for people.
fn place(address: &Bind) -> String {
    match address {
        Bind::Tcp(address) => format!("http://{address}"),
        Bind::Unix(_) => address.to_string(),
    }
}

fn for_people(address: &Bind, rdev: &Rdev) -> String {
    let (url, socket) = url(address);
    format!(
        "rdev listens on {}  (reference: {url}/docs)\n\
         The admin key is {}. Run a command and watch it:\n\n  \
         curl -N {socket}{url}/projects/demo/shell -H \"Authorization: Bearer {}\" \
         -H 'Accept: text/event-stream' -H 'Content-Type: application/json' \
         -d '{{\"command\":\"for i in 1 2 3 4 5; do echo line $i; sleep 1; done\"}}'\n\n",
        place(address),
        rdev.key_place(),
        rdev.key_command(),
    )
}

/// Fields of the greeting beside its message.
#[derive(Serialize)]
struct GreetingFields {
    reference: String,
    admin_key: String,
}

fn for_collectors(address: &Bind, rdev: &Rdev) -> String {
    let (url, _) = url(address);
    let fields = GreetingFields { reference: format!("{url}/docs"), admin_key: rdev.key_place() };
    JsonLine::info(format!("rdev listens on {}", place(address)), fields).to_string() + "\n"
}
