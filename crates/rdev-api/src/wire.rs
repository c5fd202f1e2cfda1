//! Puts everything together: the only place that names concrete adapters.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ipnet::IpNet;
use rdev_claude::Claude;
use rdev_engine::{
    JournalSweep, LogReaders, Periodic, ReplicaSync, Submitter, TailCache, Wakeups, Worker, WorkerConfig,
    WorkerPorts,
};
use rdev_kube::Kube;
use rdev_local::Local;
use rdev_ports::{Clock, CodeAgent, Diagnosis, EventLog, Ids, Pods, PoolQueue, TaskLeases, TaskQueue};
use rdev_runner::frame::PROTOCOL_VERSION;
use rdev_services::{Commands, Events, JobPorts, Pool, Projects, Prune, Tasks};
use rdev_sql::SqlStore;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::access::Gate;
use crate::app::{AppState, Apps, Pieces, apps};
use crate::config::{Config, DatabaseUrl, Runtime};
use crate::data_folder::make_private;
use crate::keys::{self, Keys};
use crate::metrics::Metrics;
use crate::parts::Parts;
use crate::process::Inherited;
use crate::server::{self, Listeners, Places};
use crate::sse::Streams;
use crate::sse::agent::Agents;
use crate::system::{SystemClock, UuidIds, UuidRandom, random};
use crate::tickets::Tickets;

/// The runner for this machine, built by the build script.
static RUNNER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rdev-runner"));
const RUNNER_SHA256: &str = env!("RDEV_RUNNER_SHA256");

/// A lease that is shorter does not outlast what disks and machines do at times.
const LEASE_SHORT: Duration = Duration::from_secs(10);
/// After the end of all parts the database has so long to be closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
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
    replicas: ReplicaSync,
    chores: Periodic,
    metrics: Metrics,
    store: SqlStore,
    /// Cancelled when a task by which the runtime lives has ended.
    runtime_failed: CancellationToken,
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
    let (keys, tickets) = secrets(config)?;

    let store = store_to_serve(config).await?;
    let (queue, log): (Arc<dyn TaskQueue>, Arc<dyn EventLog>) =
        (Arc::new(store.clone()), Arc::new(store.clone()));
    let clock = store.clock(Arc::new(SystemClock)).await.map_err(with_cause)?;
    let ids: Arc<dyn Ids> = Arc::new(UuidIds::new(clock.clone()));
    let (pods, runtime_failed) = pods(config, inherited, clock.clone()).await?;
    let signals = store.signals();
    let (tails, wakeups) = (TailCache::new(signals.clone()), Wakeups::new(signals.clone()));
    let drain = CancellationToken::new();
    let replicas = ReplicaSync::new(tails.clone(), wakeups.clone(), log.clone(), signals);

    let projects = Projects::new(pods.clone());
    let readers = LogReaders::new(log, tails.clone());
    let events = Events::new(projects.clone(), queue.clone(), readers);
    let pool_queue: Arc<dyn PoolQueue> = Arc::new(store.clone());
    let submitter = Submitter::new(queue.clone(), tails.clone(), wakeups.clone());
    let ports = JobPorts {
        pods: pods.clone(),
        queue: queue.clone(),
        pool: pool_queue.clone(),
        artefacts: Arc::new(store.clone()),
        clock: clock.clone(),
        ids,
    };
    let timeout = config.command_timeout();
    let commands = Commands::new(ports.clone(), projects.clone(), events.clone(), submitter.clone(), timeout);
    let tasks = Tasks::new(ports, events.clone(), submitter, timeout);
    let pool = Pool::new(pods.clone(), pool_queue, clock.clone(), wakeups.clone());
    let worker = worker(config, &store, &pods, &clock, (tails, wakeups))?;
    let chores = chores(config, &store, pods.clone(), clock.clone());

    let metrics = Metrics::begin(pool.clone(), pods.clone(), clock.clone())?;
    let trusted_proxies: Arc<[IpNet]> = config.trusted_proxies.clone().into();
    let state = AppState(Arc::new(Pieces {
        projects,
        commands,
        tasks,
        metrics: metrics.clone(),
        pool,
        streams: streams(config, &drain, &clock, &events),
        events,
        gate: Gate::new(keys, tickets.clone(), config.rate_limit_per_minute),
        tickets,
        trusted_proxies: trusted_proxies.clone(),
        clock,
        pods,
        queue,
        worker: worker.pulse(),
    }));
    Ok(Rdev {
        apps: apps(&state, config.probe_bind.is_some())?,
        trusted_proxies,
        worker,
        replicas,
        chores,
        metrics,
        store,
        runtime_failed,
        drain,
        key_file: key_file(config)?,
        _locks: locks,
    })
}

/// Keys and tickets, made of the keys of the configuration, or of those that the first start has made.
fn secrets(config: &Config) -> anyhow::Result<(Keys, Tickets)> {
    let keys = Keys::admin(config.admin_key.as_ref(), &config.data_dir.join("admin.key"))?;
    if config.runtime() == Runtime::Kubernetes {
        anyhow::ensure!(config.master_key.is_some(), keys::MASTER_KEY_NEEDED);
    }
    let master_key = keys::master_key(config.master_key, &config.data_dir.join("master.key"))?;
    Ok((keys, Tickets::new(&master_key)))
}

/// Where the administrator's key is that the first start has made; absolute, so that the line which is printed
/// works wherever it is pasted.
fn key_file(config: &Config) -> anyhow::Result<Option<PathBuf>> {
    let file = std::path::absolute(config.data_dir.join("admin.key"))?;
    Ok(config.admin_key.is_none().then_some(file))
}

fn streams(config: &Config, drain: &CancellationToken, clock: &Arc<dyn Clock>, events: &Events) -> Streams {
    let agents = Agents::new(agent(), events.clone());
    Streams::new(config.heartbeat(), server::streams_per_key(config), drain.clone(), clock.clone(), agents)
}

/// Agent that runs the requests of agents, and whose lines become events.
fn agent() -> Arc<dyn CodeAgent> {
    Arc::new(Claude)
}

/// What is done now and then, by one of the servers on a store.
fn chores(config: &Config, store: &SqlStore, pods: Arc<dyn Pods>, clock: Arc<dyn Clock>) -> Periodic {
    let store = Arc::new(store.clone());
    let prune = Prune::new(store.clone(), config.keeping());
    let journals = JournalSweep::new(pods, store.clone(), store.clone(), config.journal_search());
    Periodic::new(store, clock, vec![Arc::new(prune), Arc::new(journals)])
}

fn worker(
    config: &Config,
    store: &SqlStore,
    pods: &Arc<dyn Pods>,
    clock: &Arc<dyn Clock>,
    (tails, wakeups): (TailCache, Wakeups),
) -> anyhow::Result<Worker> {
    let ports = WorkerPorts {
        pods: pods.clone(),
        agent: agent(),
        leases: Arc::new(store.clone()),
        pool: Arc::new(store.clone()),
        artefacts: Arc::new(store.clone()),
        log: Arc::new(store.clone()),
        clock: clock.clone(),
        random: Arc::new(UuidRandom),
    };
    Ok(Worker::new(worker_config(config)?, ports, tails, wakeups))
}

fn worker_config(config: &Config) -> anyhow::Result<WorkerConfig> {
    let id = format!("worker-{}", uuid::Uuid::now_v7().simple());
    if config.lease() < LEASE_SHORT {
        let lease = config.lease();
        tracing::warn!(
            ?lease,
            "RDEV_LEASE_SECONDS is short: a stall of a third of it may cost a worker its commands"
        );
    }
    Ok(WorkerConfig {
        id: id.parse().context("worker id")?,
        concurrency: config.worker_concurrency,
        lease: config.lease(),
        pod_patience: config.pod_wait(),
    })
}

/// The runtime of commands, and a token that is cancelled when it has failed for good.
async fn pods(
    config: &Config,
    inherited: Inherited,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<(Arc<dyn Pods>, CancellationToken)> {
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
            Ok((Arc::new(local), CancellationToken::new()))
        }
        Runtime::Kubernetes => {
            let runner = rdev_kube::Bundled {
                program: RUNNER,
                sha256: RUNNER_SHA256,
                protocol: PROTOCOL_VERSION,
                machine: std::env::consts::ARCH,
            };
            let namespace = config.namespace.clone();
            let config = rdev_kube::Config {
                namespace,
                kubeconfig: None,
                runner,
                clock,
                random: Arc::new(UuidRandom),
            };
            let kube = Kube::open(config).await.context("RDEV_RUNTIME=kubernetes")?;
            let failed = kube.failed();
            Ok((Arc::new(kube), failed))
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
pub(crate) async fn examine_database(config: &Config) -> Vec<Diagnosis> {
    match config.database() {
        DatabaseUrl::Sqlite(file) => vec![SqlStore::examine_sqlite(&file).await],
        DatabaseUrl::Postgres(url) => SqlStore::examine_postgres(&url.0, SystemClock.now()).await,
    }
}

/// A look at the place where commands run; makes nothing that is not there.
pub(crate) async fn examine_runtime(config: &Config, inherited: Inherited) -> anyhow::Result<Vec<Diagnosis>> {
    let folder = &config.data_dir;
    if config.runtime() == Runtime::Local && !folder.exists() {
        let seen = format!("{} is not there yet", folder.display());
        return Ok(vec![Diagnosis::warning("data folder", seen, "the first start of rdev-api makes it")]);
    }
    let (pods, _) = pods(config, inherited, Arc::new(SystemClock)).await?;
    Ok(pods.diagnose().await)
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
        parts.start("the upkeep of the metrics", self.metrics.keep_up(stop.clone()));
        parts.watch("the clock or the signals of the database", self.store.failed());
        parts.watch("the watch of the cluster's pods", self.runtime_failed);
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
        if timeout(CLOSE_TIMEOUT, self.store.close()).await.is_err() {
            tracing::warn!(timeout = ?CLOSE_TIMEOUT, "the database was not closed in time");
        }
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
