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
use rdev_ports::IdempotentAnswers;
use rdev_sql::SqlStore;
use sd_notify::NotifyState;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) use self::runtime::diagnose_runtime;
use self::services::Services;
pub(crate) use self::stores::{diagnose_database, migrate, pending_migrations};
use crate::config::{Config, Runtime, StoreConfig};
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
    facts: Facts,
    /// Held as long as the process lives: of the data folder, in which a second process would use the same keys,
    /// workspaces and runs, and of a SQLite file, whose leases a second process would take.
    _locks: (File, Option<File>),
}

/// Facts about a server that an operator asks for first.
pub(crate) struct Facts {
    /// Name of the runtime.
    pub(crate) runtime: &'static str,
    /// Namespace of the pods, if commands run in pods.
    pub(crate) namespace: Option<String>,
    /// Folder of this server's data.
    pub(crate) data_dir: PathBuf,
    /// Place of the database, without user and password.
    pub(crate) database: String,
    /// Number of the newest migration of the database.
    pub(crate) schema: i64,
    /// As configured; 0: never.
    pub(crate) retention_days: u64,
    /// As configured, in MiB; 0: no limit.
    pub(crate) retention_log_mb: u64,
}

impl Facts {
    async fn of(config: &Config, store: &SqlStore) -> anyhow::Result<Self> {
        let (runtime, namespace) = match config.runtime.kind() {
            Runtime::Local => ("local", None),
            Runtime::Kubernetes => ("kubernetes", Some(config.runtime.namespace.clone())),
        };
        Ok(Self {
            runtime,
            namespace,
            data_dir: config.store.data_dir.clone(),
            database: store.place(),
            schema: store.schema_version().await?,
            retention_days: config.retention.retention_days,
            retention_log_mb: config.retention.retention_log_mb,
        })
    }
}

/// Opens the stores and the runtime, and wires services and routes.
///
/// # Errors
/// When a lock is held by another process, a key is missing, or the database or the runtime cannot be used.
pub(crate) async fn wire(config: &Config, inherited: Inherited) -> anyhow::Result<Rdev> {
    let folder = &config.store.data_dir;
    make_private(folder)?;
    let locks = lock_data(&config.store).await?;
    let (keys, tickets) = secrets(config)?;

    let local = runtime::local(config, inherited)?;
    // Beside each other: a first start migrates a new database, and runs git.
    let first_project = runtime::first_project(local.as_deref());
    let (store, ()) = tokio::try_join!(stores::open_to_serve(&config.store), first_project)?;
    let clock = stores::clock(&store).await?;
    let runtime = runtime::pods(config, local, clock.clone()).await?;
    let runtime_failed = runtime.failed.clone();
    let facts = Facts::of(config, &store).await?;
    let services = Services::new(config, &store, runtime, (clock.clone(), keys.clone()))?;

    let middleware = Middleware {
        clock,
        trusted_proxies: config.http.trusted_proxies.clone().into(),
        cors_origins: config.http.cors_origins.clone().into(),
    };
    let answers: Arc<dyn IdempotentAnswers> = Arc::new(store.clone());
    let (state, gate) = services.state(keys, tickets, config.http.rate_limit_per_minute);
    Ok(Rdev {
        routers: Routers::new(&state, &gate, &answers, &middleware, config.server.probe_bind.is_some()),
        trusted_proxies: middleware.trusted_proxies,
        services,
        store,
        runtime_failed,
        key_file: key_file(config)?,
        facts,
        _locks: locks,
    })
}

/// Locks the data folder and a SQLite database, until the files are closed.
///
/// # Errors
/// When another process holds a lock for 2 s, or a file cannot be written.
pub(crate) async fn lock_data(config: &StoreConfig) -> anyhow::Result<(File, Option<File>)> {
    Ok((lock::data_folder(&config.data_dir).await?, lock::database(config).await?))
}

/// Returns keys and tickets, made of the configured keys, or of those that the first start has generated.
fn secrets(config: &Config) -> anyhow::Result<(Keys, Tickets)> {
    let folder = &config.store.data_dir;
    let keys = Keys::admin(config.keys.admin_keys(), &folder.join("admin.key"))?;
    if config.runtime.kind() == Runtime::Kubernetes {
        anyhow::ensure!(config.keys.master_key().is_some(), keys::MASTER_KEY_NEEDED);
    }
    let master_key = keys::master_key(config.keys.master_key(), &folder.join("master.key"))?;
    Ok((keys, Tickets::new(&master_key)))
}

/// Returns the file that holds the admin key, if there is one; absolute, so that the printed line works wherever it is
/// pasted.
fn key_file(config: &Config) -> anyhow::Result<Option<PathBuf>> {
    let generated = config.store.data_dir.join("admin.key");
    let file =
        config.keys.admin_key_file().or_else(|| config.keys.admin_keys().is_none().then_some(&generated));
    Ok(file.map(std::path::absolute).transpose()?)
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
            if let Err(error) = sd_notify::notify(&[NotifyState::Stopping]) {
                tracing::warn!(%error, "systemd was not told of the stop");
            }
            drain.cancel();
        });
        let ended = parts.run().await;
        if timeout(CLOSE_TIMEOUT, self.store.close()).await.is_err() {
            tracing::warn!(timeout = ?CLOSE_TIMEOUT, "the database was not closed in time");
        }
        Ok(ended?)
    }

    /// Returns the facts about this server.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
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
            Some(file) => format!("$(cut -d, -f1 '{}')", file.display()),
            None => "${RDEV_ADMIN_KEY%%,*}".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::Parser;
    use rdev_ports::spawn_for_good;

    use super::*;
    use crate::config::Bind;

    #[tokio::test]
    async fn a_server_ends_and_says_why_when_a_task_of_an_adapter_has_died() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let of =
            ["rdev-api", "--bind", "127.0.0.1:0", "--runtime", "local", "--data-dir"].map(OsString::from);
        let config = Config::try_parse_from(of.into_iter().chain([data.into()])).unwrap();
        let rdev = wire(&config, Inherited { umask: 0o022, open_files: None }).await.unwrap();
        let (listeners, stop) = (Listeners::open(&config).unwrap(), CancellationToken::new());
        let Bind::Tcp(address) = listeners.api.address().unwrap() else { panic!("it is a port") };
        spawn_for_good(&rdev.runtime_failed, async { panic!("as it happens") });
        let ended = timeout(Duration::from_secs(30), rdev.serve(listeners, stop.clone())).await.unwrap();
        let error = ended.unwrap_err().to_string();
        assert!(error.starts_with("the watch of the cluster's pods has ended"), "{error}");
        assert!(stop.is_cancelled() && std::net::TcpStream::connect(address).is_err());
    }
}
