//! The servers: each is killed and started again by a keeper of its own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use rdev_sql::testing::PostgresDatabase;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep};

use super::tasks::PROJECTS;
use super::{KILL_EVERY, Size};
use crate::support::{Client, Fixture, PrivatePostgres, Restart, Runtime, Server, within};

pub(super) const REPLICAS: usize = 3;
/// Commands of projects that each server runs at once.
const CONCURRENCY: &str = "4";

/// What a server's log says of what should not be possible.
const STRANGE: [&str; 3] = ["panicked", "internal error", "Internal("];

/// Where the servers are now; a dead one is looked for where it was.
#[derive(Clone)]
pub(super) struct Addresses(Arc<Mutex<Vec<Client>>>);

pub(super) struct Replicas {
    keepers: Vec<Keeper>,
    addresses: Addresses,
    marks: PathBuf,
}

struct Keeper {
    kills: mpsc::Sender<()>,
    server: JoinHandle<Server>,
}

impl Addresses {
    pub(super) fn of(&self, server: usize) -> Client {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[server % REPLICAS].clone()
    }

    fn moved(&self, server: usize, client: Client) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[server] = client;
    }
}

impl Replicas {
    pub(super) async fn start(postgres: &PrivatePostgres, size: Size) -> Self {
        let database = PostgresDatabase::create_on(postgres.url()).await;
        let first = set(Runtime::Double.fixture()).with_database(database).start().await;
        for project in &PROJECTS[1..] {
            first.add_project(project).await;
        }
        for worker in 0..size.workers {
            first.double().add_worker(&format!("worker-{worker}"));
        }
        let marks = first.fixture().data_dir().join("marks");
        std::fs::create_dir(&marks).expect("a folder can be made");
        let mut servers = vec![first];
        while servers.len() < REPLICAS {
            servers.push(set(Fixture::new()).start_beside(&servers[0]).await);
        }
        let addresses = Addresses(Arc::new(Mutex::new(servers.iter().map(Server::client).collect())));
        let keeper = |(number, server)| Keeper::of(number, server, addresses.clone());
        let keepers = servers.into_iter().enumerate().map(keeper).collect();
        Self { keepers, addresses, marks }
    }

    pub(super) fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// The folder of the tasks' side effects.
    pub(super) fn marks(&self) -> &Path {
        &self.marks
    }

    /// Kills servers, one at a time, and restarts Postgres after a third and two thirds of the kills.
    pub(super) async fn blow(&self, postgres: &PrivatePostgres, size: Size, random: &mut Rng) {
        let killing = async {
            let mut tick = interval(KILL_EVERY);
            for _ in 0..size.kills {
                tick.tick().await;
                let victim = &self.keepers[random.usize(..REPLICAS)];
                within("a turn to be killed", victim.kills.send(())).await.expect("its keeper lives");
            }
        };
        let third: Duration = KILL_EVERY * size.kills / 3;
        let restarting = async {
            for how in [Restart::Immediate, Restart::Fast] {
                sleep(third).await;
                postgres.restart(how).await;
            }
        };
        tokio::join!(killing, restarting);
    }

    /// Ends the servers, none of which has met anything that it did not expect.
    pub(super) async fn end(self) {
        let mut servers = Vec::new();
        for Keeper { kills, server } in self.keepers {
            drop(kills);
            servers.push(within("the last start", server).await.expect("its keeper has had no trouble"));
        }
        for log in servers.iter().map(Server::log) {
            let strange = log.lines().filter(|line| STRANGE.iter().any(|word| line.contains(word)));
            let strange: Vec<&str> = strange.collect();
            assert!(strange.is_empty(), "{strange:?}");
        }
    }
}

impl Keeper {
    fn of(number: usize, mut server: Server, addresses: Addresses) -> Self {
        let (kills, mut killed) = mpsc::channel(1);
        let server = tokio::spawn(async move {
            while killed.recv().await.is_some() {
                server.kill9().await;
                // One that is starting dies like any other.
                while !server.restarts_before(killed.recv()).await {}
                addresses.moved(number, server.client());
            }
            server
        });
        Self { kills, server }
    }
}

fn set(fixture: Fixture) -> Fixture {
    fixture
        // Their callers are the same, whichever they ask.
        .with("RDEV_ADMIN_KEY", "rdev_storm_0123456789abcdef0123456789abcdef")
        .with("RDEV_LEASE_SECONDS", "3")
        .with("RDEV_WORKER_CONCURRENCY", CONCURRENCY)
}
