//! Puts everything together: the only place that names concrete adapters.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ipnet::IpNet;
use rdev_kube::Kube;
use rdev_local::Local;
use rdev_ports::{Artefacts, Clock, EventLog, Finding, Ids, Pods, PoolQueue, TaskQueue};
use rdev_runner::frame::PROTOCOL_VERSION;
use rdev_services::{
    Chores, Commands, Events, Journals, Live, Pool, Projects, Prune, Replicas, TaskPorts, Tasks, Worker,
    WorkerConfig, WorkerPorts,
};
use rdev_sql::SqlStore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::access::Gate;
use crate::app::{AppState, Apps, Pieces, apps};
use crate::config::{Config, DatabaseUrl, MasterKey, Runtime};
use crate::data_folder::make_private;
use crate::keys::{self, Keys};
use crate::metrics::Metrics;
use crate::parts::Parts;
use crate::process::Inherited;
use crate::server::{self, Listeners, Places};
use crate::sse::Streams;
use crate::system::{SystemClock, UuidChance, UuidIds, random};
use crate::tickets::Tickets;

/// The runner for this machine, built by the build script.
static RUNNER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rdev-runner"));
const RUNNER_SHA256: &str = env!("RDEV_RUNNER_SHA256");

/// How long a start waits for the lock of the data folder, and how often it looks.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The project that the first start makes.
const FIRST_PROJECT: &str = "demo";

/// A server that is ready to serve.
pub struct Rdev {
    apps: Apps,
    trusted_proxies: Arc<[IpNet]>,
    worker: Worker,
    replicas: Replicas,
    chores: Chores,
    store: SqlStore,
    drain: CancellationToken,
    key_file: Option<PathBuf>,
    /// Held as long as the process lives: of the data folder, in which a second one would use the same keys,
    /// workspaces and runs, and of a SQLite file, whose leases it would take.
    _locks: (File, Option<File>),
}

/// Opens the stores, and wires services and routes.
pub async fn wire(config: &Config, inherited: Inherited) -> anyhow::Result<Rdev> {
    let folder = &config.data_dir;
    make_private(folder)?;
    let locks = (lock(&folder.join("lock"), folder, "RDEV_DATA_DIR").await?, lock_database(config).await?);
    let (keys, master_key) = secrets(config)?;

    let store = store_to_serve(config).await?;
    let (queue, log): (Arc<dyn TaskQueue>, Arc<dyn EventLog>) =
        (Arc::new(store.clone()), Arc::new(store.clone()));
    let clock = store.clock(Arc::new(SystemClock)).await.map_err(with_cause)?;
    let ids: Arc<dyn Ids> = Arc::new(UuidIds::new(clock.clone()));
    let pods = pods(config, inherited, clock.clone()).await?;
    let signals = store.signals();
    let (live, drain) = (Live::beside(signals.clone()), CancellationToken::new());
    let replicas = Replicas::new(live.clone(), log.clone(), signals);

    let projects = Projects::new(pods.clone());
    let events = Events::new(projects.clone(), queue.clone(), log.clone(), live.clone());
    let commands = Commands::new(
        projects.clone(),
        events.clone(),
        queue.clone(),
        clock.clone(),
        ids.clone(),
        live.clone(),
        config.command_timeout(),
    );
    let (pool_queue, artefacts): (Arc<dyn PoolQueue>, Arc<dyn Artefacts>) =
        (Arc::new(store.clone()), Arc::new(store.clone()));
    let task_ports = TaskPorts {
        pods: pods.clone(),
        queue: queue.clone(),
        pool: pool_queue.clone(),
        artefacts: artefacts.clone(),
        clock: clock.clone(),
        ids,
    };
    let tasks = Tasks::new(task_ports, events.clone(), live.clone(), config.command_timeout());
    let pool = Pool::new(pods.clone(), pool_queue.clone(), clock.clone(), live.clone());
    let worker_ports = WorkerPorts {
        pods: pods.clone(),
        queue: queue.clone(),
        pool: pool_queue,
        artefacts,
        log,
        clock: clock.clone(),
        chance: Arc::new(UuidChance),
    };
    let worker = Worker::new(worker_config(config)?, worker_ports, live);

    let chores = chores(config, &store, pods.clone(), clock.clone());

    let tickets = Tickets::new(&master_key);
    let trusted_proxies: Arc<[IpNet]> = config.trusted_proxies.clone().into();
    let state = AppState(Arc::new(Pieces {
        projects,
        commands,
        tasks,
        metrics: Metrics::begin(pool.clone(), clock.clone(), drain.clone())?,
        pool,
        events,
        streams: Streams::new(config.heartbeat(), drain.clone(), clock.clone()),
        gate: Gate::new(keys, tickets.clone(), config.rate_limit_per_minute),
        tickets,
        trusted_proxies: trusted_proxies.clone(),
        clock,
        pods,
        queue,
        worker: worker.pulse(),
    }));
    let apps = apps(&state, config.probe_bind.is_some())?;
    let key_file = key_file(config)?;
    Ok(Rdev { apps, trusted_proxies, worker, replicas, chores, store, drain, key_file, _locks: locks })
}

/// The keys of the configuration, or those that the first start has made.
fn secrets(config: &Config) -> anyhow::Result<(Keys, MasterKey)> {
    let keys = Keys::admin(config.admin_key.as_ref(), &config.data_dir.join("admin.key"))?;
    if config.runtime() == Runtime::Kubernetes {
        anyhow::ensure!(config.master_key.is_some(), keys::MASTER_KEY_NEEDED);
    }
    Ok((keys, keys::master_key(config.master_key, &config.data_dir.join("master.key"))?))
}

/// Where the administrator's key is that the first start has made; absolute, so that the line which is printed
/// works wherever it is pasted.
fn key_file(config: &Config) -> anyhow::Result<Option<PathBuf>> {
    let file = std::path::absolute(config.data_dir.join("admin.key"))?;
    Ok(config.admin_key.is_none().then_some(file))
}

/// What is done now and then, by one of the servers on a store.
fn chores(config: &Config, store: &SqlStore, pods: Arc<dyn Pods>, clock: Arc<dyn Clock>) -> Chores {
    let store = Arc::new(store.clone());
    let prune = Prune::new(store.clone(), config.keeping());
    let journals = Journals::new(pods, store.clone(), store.clone(), config.journal_search());
    Chores::new(store, clock, vec![Arc::new(prune), Arc::new(journals)])
}

fn worker_config(config: &Config) -> anyhow::Result<WorkerConfig> {
    let id = format!("worker-{}", uuid::Uuid::now_v7().simple());
    Ok(WorkerConfig {
        id: id.parse().context("worker id")?,
        concurrency: config.worker_concurrency,
        lease: config.lease(),
        place_patience: config.pod_wait(),
    })
}

async fn pods(config: &Config, inherited: Inherited, clock: Arc<dyn Clock>) -> anyhow::Result<Arc<dyn Pods>> {
    match config.runtime() {
        Runtime::Local => {
            let local = Local::open(rdev_local::Config {
                data_dir: config.data_dir.clone(),
                runner: RUNNER,
                runner_sha256: RUNNER_SHA256,
                env: std::env::vars_os().collect(),
                command_env: config.command_env.clone(),
                umask: inherited.umask,
                open_files: inherited.open_files,
                pool_slots: config.pool_slots,
                new_uid: hex(&random::<16>()?),
            })?;
            local.create_project(&FIRST_PROJECT.parse()?)?;
            Ok(Arc::new(local))
        }
        Runtime::Kubernetes => {
            let runner = rdev_kube::Bundled {
                program: RUNNER,
                sha256: RUNNER_SHA256,
                protocol: PROTOCOL_VERSION,
                machine: std::env::consts::ARCH,
            };
            let namespace = config.namespace.clone();
            let config = rdev_kube::Config { namespace, kubeconfig: None, runner, clock };
            Ok(Arc::new(Kube::open(config).await.context("RDEV_RUNTIME=kubernetes")?))
        }
    }
}

/// The store of a server that begins.
async fn store_to_serve(config: &Config) -> anyhow::Result<SqlStore> {
    let store = store(config).await?;
    if let DatabaseUrl::Sqlite(_) = config.database() {
        // This process alone uses the data, so leases of an earlier one are nobody's. On Postgres leases are of
        // whoever holds them: other replicas work, and those of a dead one run out.
        store.release_all().await?;
    }
    Ok(store)
}

/// Opens the store, which brings its schema up to date.
async fn store(config: &Config) -> anyhow::Result<SqlStore> {
    let store = match config.database() {
        DatabaseUrl::Sqlite(file) => SqlStore::sqlite(&file).await,
        DatabaseUrl::Postgres(url) => SqlStore::postgres(&url.0).await,
    };
    store.map_err(with_cause)
}

/// Brings the schema up to date.
pub(crate) async fn migrate(config: &Config) -> anyhow::Result<()> {
    let _lock = lock_database(config).await?;
    store(config).await?.close().await;
    Ok(())
}

/// The migrations that the database has yet to see; changes nothing.
pub(crate) async fn pending_migrations(config: &Config) -> anyhow::Result<Vec<String>> {
    let pending = match config.database() {
        DatabaseUrl::Sqlite(file) => SqlStore::pending_sqlite(&file).await,
        DatabaseUrl::Postgres(url) => SqlStore::pending_postgres(&url.0).await,
    };
    pending.map_err(with_cause)
}

/// A look at the store, for an operator; changes nothing.
pub(crate) async fn examine_database(config: &Config) -> Vec<Finding> {
    match config.database() {
        DatabaseUrl::Sqlite(file) => vec![SqlStore::examine_sqlite(&file).await],
        DatabaseUrl::Postgres(url) => SqlStore::examine_postgres(&url.0, SystemClock.now()).await,
    }
}

/// A look at the place where commands run; makes nothing that is not there.
pub(crate) async fn examine_runtime(config: &Config, inherited: Inherited) -> anyhow::Result<Vec<Finding>> {
    let folder = &config.data_dir;
    if config.runtime() == Runtime::Local && !folder.exists() {
        let seen = format!("{} is not there yet", folder.display());
        return Ok(vec![Finding::warning("data folder", seen, "the first start of rdev-api makes it")]);
    }
    Ok(pods(config, inherited, Arc::new(SystemClock)).await?.examine().await)
}

impl Rdev {
    /// Serves and works until `stop`; then within 10 s takes no more, says goodbye, and leaves what runs
    /// running.
    ///
    /// # Errors
    /// When a part of it has ended while it was needed.
    pub async fn serve(self, listeners: Listeners, stop: CancellationToken) -> anyhow::Result<()> {
        let mut parts = Parts::until(stop.clone());
        parts.start("the worker", self.worker.run(stop.clone()));
        parts.start("the exchange with other servers", self.replicas.run(stop.clone()));
        parts.start("periodic work", self.chores.run(stop.clone()));
        let places = Places::new(server::connections_max(), self.trusted_proxies.clone());
        parts.start("the listener", server::serve(listeners.api, self.apps.api, places, stop.clone()));
        if let (Some(listener), Some(app)) = (listeners.probes, self.apps.probes) {
            let places = Places::new(server::PROBE_CONNECTIONS_MAX, self.trusted_proxies);
            parts.start("the listener of probes", server::serve(listener, app, places, stop.clone()));
        }
        let drain = self.drain;
        parts.start("the goodbye", async move {
            stop.cancelled().await;
            tracing::info!("stopping: commands go on, streams are told to connect again");
            drain.cancel();
        });
        let ended = parts.run().await;
        self.store.close().await;
        Ok(ended?)
    }

    /// For people: where the administrator's key is.
    pub fn key_place(&self) -> String {
        match &self.key_file {
            Some(file) => format!("in {}", file.display()),
            None => "the one given as RDEV_ADMIN_KEY".to_owned(),
        }
    }

    /// For a shell: a text that becomes the administrator's key.
    pub fn key_command(&self) -> String {
        match &self.key_file {
            Some(file) => format!("$(cat '{}')", file.display()),
            None => "$RDEV_ADMIN_KEY".to_owned(),
        }
    }
}

/// Holds what one process alone may use, for as long as the file is open.
async fn lock(path: &Path, of: &Path, variable: &str) -> anyhow::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    // A server that was killed while it started a program lives on in the child until that has its own image.
    let until = Instant::now() + LOCK_PATIENCE;
    while file.try_lock().is_err() && Instant::now() < until {
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    file.try_lock().with_context(|| {
        format!("another rdev-api uses {} ({variable}): stop it, or name another one", of.display())
    })?;
    Ok(file)
}

/// The lock of a SQLite file lies beside it, wherever that is named from: a second server would free the leases of the
/// first, and end its commands.
async fn lock_database(config: &Config) -> anyhow::Result<Option<File>> {
    let DatabaseUrl::Sqlite(file) = config.database() else { return Ok(None) };
    let named = || format!("cannot open {} (RDEV_DATABASE_URL)", file.display());
    // It is made here, so that a link to what is not there yet leads to it, too.
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&file)
        .with_context(named)?;
    let real = std::fs::canonicalize(&file).with_context(named)?;
    let mut beside = real.clone().into_os_string();
    beside.push(".lock");
    lock(Path::new(&beside), &real, "RDEV_DATABASE_URL").await.map(Some)
}

/// The store's own words say where it is.
fn with_cause(error: rdev_domain::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("cannot use the database (RDEV_DATABASE_URL)")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
