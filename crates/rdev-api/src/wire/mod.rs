//! Wiring: the only place that names concrete adapters.
//!
//! To add an adapter: its construction in the file of its kind (`stores`, `runtime`), and the port to whoever needs it in
//! `services`.

mod lock;
mod runtime;
mod services;
mod stores;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rdev_sql::SqlStore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) use self::runtime::diagnose_runtime;
use self::services::Services;
pub(crate) use self::stores::{diagnose_database, migrate, pending_migrations};
use crate::config::{Config, Runtime};
use crate::data_folder::make_private;
use crate::keys::{self, Keys};
use crate::middleware::Middleware;
use crate::parts::Parts;
use crate::process::Inherited;
use crate::router::Routers;
use crate::server::{self, ConnectionLimit, Listeners};
use crate::tickets::Tickets;

/// Longest time that the database has to be closed after all parts have ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A server that is ready to serve.
pub(crate) struct Rdev {
    routers: Routers,
    trusted_proxies: Arc<[IpNet]>,
    services: Services,
    store: SqlStore,
    /// Cancelled when a task by which the runtime lives has ended.
    runtime_failed: CancellationToken,
    key_file: Option<PathBuf>,
    /// Held as long as the process lives: of the data folder, in which a second process would use the same keys,
    /// workspaces and runs, and of a SQLite file, whose leases a second process would take.
    _locks: (File, Option<File>),
}

/// Opens the stores and the runtime, and wires services and routes.
///
/// # Errors
/// When a lock is held by another process, a key is missing, or the database or the runtime cannot be used.
pub(crate) async fn wire(config: &Config, inherited: Inherited) -> anyhow::Result<Rdev> {
    let folder = &config.store.data_dir;
    make_private(folder)?;
    let locks = (lock::data_folder(folder).await?, lock::database(&config.store).await?);
    let (keys, tickets) = secrets(config)?;

    let store = stores::open_to_serve(&config.store).await?;
    let clock = stores::clock(&store).await?;
    let runtime = runtime::pods(config, inherited, clock.clone()).await?;
    let runtime_failed = runtime.failed.clone();
    let services = Services::new(config, &store, runtime, (clock.clone(), keys.clone()))?;

    let middleware = Middleware {
        clock,
        trusted_proxies: config.http.trusted_proxies.clone().into(),
        cors_origins: config.http.cors_origins.clone().into(),
    };
    let (state, gate) = services.state(keys, tickets, config.http.rate_limit_per_minute);
    Ok(Rdev {
        routers: Routers::new(&state, &gate, &middleware, config.server.probe_bind.is_some())?,
        trusted_proxies: middleware.trusted_proxies,
        services,
        store,
        runtime_failed,
        key_file: key_file(config)?,
        _locks: locks,
    })
}

/// Returns keys and tickets, made of the configured keys, or of those that the first start has generated.
fn secrets(config: &Config) -> anyhow::Result<(Keys, Tickets)> {
    let folder = &config.store.data_dir;
    let keys = Keys::admin(&config.keys.admin_key, &folder.join("admin.key"))?;
    if config.runtime.kind() == Runtime::Kubernetes {
        anyhow::ensure!(config.keys.master_key.is_some(), keys::MASTER_KEY_NEEDED);
    }
    let master_key = keys::master_key(config.keys.master_key, &folder.join("master.key"))?;
    Ok((keys, Tickets::new(&master_key)))
}

/// Returns the file of the generated admin key, if there is one; absolute, so that the printed line works wherever it is
/// pasted.
fn key_file(config: &Config) -> anyhow::Result<Option<PathBuf>> {
    let file = std::path::absolute(config.store.data_dir.join("admin.key"))?;
    Ok(config.keys.admin_key.is_empty().then_some(file))
}

impl Rdev {
    /// Serves and works until `stop`; then within 10 s accepts nothing more, tells streams to reconnect, and leaves
    /// running commands running.
    ///
    /// # Errors
    /// When a part of the server has ended while it was needed.
    pub(crate) async fn serve(self, listeners: Listeners, stop: CancellationToken) -> anyhow::Result<()> {
        let mut parts = Parts::until(stop.clone());
        let drain = self.services.start(&mut parts, &stop);
        parts.watch("the clock or the signals of the database", self.store.failed());
        parts.watch("the watch of the cluster's pods", self.runtime_failed);
        let limit = ConnectionLimit::new(server::connections_max(), self.trusted_proxies.clone());
        parts.start("the listener", server::serve(listeners.api, self.routers.api, limit, stop.clone()));
        if let (Some(listener), Some(router)) = (listeners.probes, self.routers.probes) {
            let limit = ConnectionLimit::new(server::PROBE_CONNECTIONS_MAX, self.trusted_proxies);
            parts.start("the listener of probes", server::serve(listener, router, limit, stop.clone()));
        }
        parts.start("the goodbye", async move {
            stop.cancelled().await;
            tracing::info!("stopping: running commands continue, event streams are told to reconnect");
            drain.cancel();
        });
        let ended = parts.run().await;
        if timeout(CLOSE_TIMEOUT, self.store.close()).await.is_err() {
            tracing::warn!(timeout = ?CLOSE_TIMEOUT, "the database was not closed in time");
        }
        Ok(ended?)
    }

    /// Names the place of the admin key, for people.
    pub(crate) fn key_place(&self) -> String {
        match &self.key_file {
            Some(file) => format!("in {}", file.display()),
            None => "the one given as RDEV_ADMIN_KEY".to_owned(),
        }
    }

    /// Returns a text that a shell expands to the admin key.
    pub(crate) fn key_command(&self) -> String {
        match &self.key_file {
            Some(file) => format!("$(cat '{}')", file.display()),
            None => "$RDEV_ADMIN_KEY".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::Parser;
    use rdev_ports::spawn_for_good;

    use super::*;

    #[tokio::test]
    async fn a_server_ends_and_says_why_when_a_task_of_an_adapter_has_died() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let of =
            ["rdev-api", "--bind", "127.0.0.1:0", "--runtime", "local", "--data-dir"].map(OsString::from);
        let config = Config::try_parse_from(of.into_iter().chain([data.into()])).unwrap();
        let rdev = wire(&config, Inherited { umask: 0o022, open_files: None }).await.unwrap();
        let (listeners, stop) = (Listeners::open(&config).unwrap(), CancellationToken::new());
        let address = listeners.api.local_addr().unwrap();
        spawn_for_good(&rdev.runtime_failed, async { panic!("as it happens") });
        let ended = timeout(Duration::from_secs(30), rdev.serve(listeners, stop.clone())).await.unwrap();
        let error = ended.unwrap_err().to_string();
        assert!(error.starts_with("the watch of the cluster's pods has ended"), "{error}");
        assert!(stop.is_cancelled() && std::net::TcpStream::connect(address).is_err());
    }
}
