//! Services over the ports, and their background work.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rdev_claude::Claude;
use rdev_engine::{
    Followers, JournalSweep, LogHandler, LogReaders, Periodic, PeriodicJob, Plans, ReplicaSync, Seats,
    Submitter, TailCache, Wakeups, Worker, WorkerConfig, WorkerPorts,
};
use rdev_ports::{Clock, CodeAgent, Ids, Pods, PoolQueue, TaskQueue};
use rdev_services::{
    Commands, Events, Health, JobPorts, Operations, Pool, ProjectPlans, Projects, Prune, Tasks, TicketIssuer,
};
use rdev_sql::SqlStore;
use tokio_util::sync::CancellationToken;

use super::runtime::RuntimePorts;
use crate::access::Gate;
use crate::config::Config;
use crate::keys::Keys;
use crate::metrics::{Folders, JobsEnded, Metrics, Sources};
use crate::parts::Parts;
use crate::server;
use crate::sse::Streams;
use crate::sse::agent::Agents;
use crate::state::{self, AppState};
use crate::system::{UuidIds, UuidRandom};
use crate::tickets::Tickets;

/// Shortest lease without a warning: a shorter one does not outlast common stalls of disks and machines.
const LEASE_SHORT: Duration = Duration::from_secs(10);

/// All services.
pub(super) struct Services {
    projects: Projects,
    operations: Operations,
    commands: Commands,
    tasks: Tasks,
    pool: Pool,
    events: Events,
    streams: Streams,
    metrics: Metrics,
    worker: Worker,
    replicas: ReplicaSync,
    periodic: Periodic,
    followers: Followers,
    /// Cancelled when event streams are to tell their readers to reconnect.
    drain: CancellationToken,
    ticket_issuer: TicketIssuer,
    health: Health,
}

impl Services {
    /// Wires the services over the store and the runtime.
    ///
    /// # Errors
    /// When the metrics of this process exist already, or a folder cannot be read.
    pub(super) fn new(
        config: &Config,
        store: &SqlStore,
        RuntimePorts { pods, workspaces, failed: _ }: RuntimePorts,
        (clock, keys): (Arc<dyn Clock>, Keys),
    ) -> anyhow::Result<Self> {
        let queue: Arc<dyn TaskQueue> = Arc::new(store.clone());
        let pool_queue: Arc<dyn PoolQueue> = Arc::new(store.clone());
        let log = Arc::new(store.clone());
        let ids: Arc<dyn Ids> = Arc::new(UuidIds::new(clock.clone()));
        let signals = store.signals();
        let seats = Seats::new(config.pool.worker_concurrency);
        let (tails, wakeups) = (TailCache::new(signals.clone()), Wakeups::new(signals.clone()));
        let readers = LogReaders::new(log.clone(), tails.clone());
        let submitter = Submitter::new(queue.clone(), tails.clone(), wakeups.clone());

        let ports = JobPorts {
            pods: pods.clone(),
            queue: queue.clone(),
            pool: pool_queue.clone(),
            artefacts: Arc::new(store.clone()),
            clock: clock.clone(),
            ids,
            seats: seats.clone(),
        };
        let timeout = config.jobs.command_timeout();
        let projects = Projects::new(pods.clone());
        let drain = CancellationToken::new();
        let events = Events::new(projects.clone(), queue.clone(), readers, drain.clone());
        let commands =
            Commands::new(ports.clone(), projects.clone(), events.clone(), submitter.clone(), timeout);
        let tasks = Tasks::new(ports.clone(), projects.clone(), events.clone(), submitter.clone(), timeout);
        let plans = ProjectPlans {
            workspaces,
            records: Arc::new(store.clone()),
            submitter: submitter.clone(),
            clock: clock.clone(),
        };
        let operations = Operations {
            ports,
            store: Arc::new(store.clone()),
            projects: projects.clone(),
            plans: plans.clone(),
            events: events.clone(),
            submitter,
        };
        let pool = Pool::new(pods.clone(), pool_queue, clock.clone(), wakeups.clone());
        let worker_config = worker_config(config, seats)?;
        let worker =
            worker(worker_config, store, (&pods, Arc::new(plans)), &clock, (tails.clone(), wakeups.clone()));
        let per_key = server::streams_per_key(config);
        let (heartbeat, agents) = (config.streams.heartbeat(), Agents::new(agent()));
        Ok(Self {
            ticket_issuer: TicketIssuer { tasks: tasks.clone(), operations: operations.clone() },
            health: Health::new(queue, pods.clone(), worker.pulse()),
            projects,
            operations,
            commands,
            tasks,
            streams: Streams::new(heartbeat, per_key, drain.clone(), clock.clone(), agents, keys),
            events,
            metrics: metrics(config, store, (pool.clone(), pods.clone()), &clock)?,
            pool,
            worker,
            followers: followers(store, &clock, &tails),
            replicas: ReplicaSync::new(tails, wakeups, log, signals),
            periodic: periodic(config, store, pods, clock),
            drain,
        })
    }

    /// Returns the state of the routes, and the gate before them.
    pub(super) fn state(&self, keys: Keys, tickets: Tickets, rate_limit_per_minute: u32) -> (AppState, Gate) {
        let state = state::Parts {
            projects: self.projects.clone(),
            operations: self.operations.clone(),
            commands: self.commands.clone(),
            tasks: self.tasks.clone(),
            pool: self.pool.clone(),
            events: self.events.clone(),
            streams: self.streams.clone(),
            tickets: tickets.clone(),
            metrics: self.metrics.clone(),
            ticket_issuer: self.ticket_issuer.clone(),
            health: self.health.clone(),
        };
        (state.into(), Gate::new(keys, tickets, rate_limit_per_minute))
    }

    /// Starts the background work, until `stop`. Returns the token on which event streams tell their readers to
    /// reconnect.
    pub(super) fn start(self, parts: &mut Parts, stop: &CancellationToken) -> CancellationToken {
        parts.start("the worker", self.worker.run(stop.clone()));
        parts.start("the exchange with other servers", self.replicas.run(stop.clone()));
        parts.start("the followers of the log", self.followers.run(stop.clone()));
        parts.start("periodic work", self.periodic.run(stop.clone()));
        parts.start("the upkeep of the metrics", self.metrics.upkeep(stop.clone()));
        parts.start("the watch of the keys", self.streams.watch_keys(stop.clone()));
        self.drain
    }
}

/// Agent that runs the requests of agents, and whose lines become events.
fn agent() -> Arc<dyn CodeAgent> {
    Arc::new(Claude)
}

/// Begins to count, and wires the sources of the other figures.
fn metrics(
    config: &Config,
    store: &SqlStore,
    (pool, pods): (Pool, Arc<dyn Pods>),
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Metrics> {
    let store = Arc::new(store.clone());
    let kept = config.retention.limits().ended;
    let folders = Folders::of(&config.store).context("a folder of the data")?;
    Metrics::begin(Sources { pool, pods, log: store.clone(), store, kept, folders, clock: clock.clone() })
}

/// Wires the periodic jobs, each of which one replica does at a time.
fn periodic(config: &Config, store: &SqlStore, pods: Arc<dyn Pods>, clock: Arc<dyn Clock>) -> Periodic {
    Periodic::new(Arc::new(store.clone()), clock, periodic_jobs(config, store, pods))
}

fn periodic_jobs(config: &Config, store: &SqlStore, pods: Arc<dyn Pods>) -> Vec<Arc<dyn PeriodicJob>> {
    let store = Arc::new(store.clone());
    let prune = Prune::new(store.clone(), config.retention.limits());
    let journals = JournalSweep::new(pods, store.clone(), store, config.jobs.journal_search());
    vec![Arc::new(prune), Arc::new(journals)]
}

/// Wires the followers of the log, each of which one replica is at a time.
fn followers(store: &SqlStore, clock: &Arc<dyn Clock>, tails: &TailCache) -> Followers {
    let store = Arc::new(store.clone());
    Followers::new(store.clone(), store, clock.clone(), tails.clone(), log_handlers())
}

fn log_handlers() -> Vec<Arc<dyn LogHandler>> {
    vec![Arc::new(JobsEnded)]
}

fn worker(
    config: WorkerConfig,
    store: &SqlStore,
    (pods, plans): (&Arc<dyn Pods>, Arc<dyn Plans>),
    clock: &Arc<dyn Clock>,
    (tails, wakeups): (TailCache, Wakeups),
) -> Worker {
    let ports = WorkerPorts {
        pods: pods.clone(),
        agent: agent(),
        leases: Arc::new(store.clone()),
        pool: Arc::new(store.clone()),
        artefacts: Arc::new(store.clone()),
        operations: Arc::new(store.clone()),
        plans,
        log: Arc::new(store.clone()),
        clock: clock.clone(),
        random: Arc::new(UuidRandom),
    };
    Worker::new(config, ports, tails, wakeups)
}

fn worker_config(config: &Config, seats: Seats) -> anyhow::Result<WorkerConfig> {
    let id = format!("worker-{}", uuid::Uuid::now_v7().simple());
    let lease = config.jobs.lease();
    if lease < LEASE_SHORT {
        tracing::warn!(
            ?lease,
            "RDEV_LEASE_SECONDS is short: a stall of a third of it may cost a worker its commands"
        );
    }
    Ok(WorkerConfig {
        id: id.parse().context("worker id")?,
        seats,
        lease,
        pod_patience: config.jobs.pod_wait(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ffi::OsString;

    use clap::Parser;

    use super::*;
    use crate::process::Inherited;
    use crate::wire::{runtime, stores};

    #[tokio::test]
    async fn each_periodic_job_and_each_follower_has_a_lease_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let of = ["rdev-api", "--runtime", "local", "--data-dir"].map(OsString::from);
        let config = Config::try_parse_from(of.into_iter().chain([folder.path().into()])).unwrap();
        let store = stores::open_to_serve(&config.store).await.unwrap();
        let clock = stores::clock(&store).await.unwrap();
        let inherited = Inherited { umask: 0o022, open_files: None };
        let local = runtime::local(&config, inherited).unwrap();
        let runtime = runtime::pods(&config, local, clock).await.unwrap();
        let jobs = periodic_jobs(&config, &store, runtime.pods);
        let handlers = log_handlers();
        let followers = handlers.iter().map(|handler| handler.follower().as_str());
        let names: Vec<_> = jobs.iter().map(|job| job.name()).chain(followers).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    }
}
