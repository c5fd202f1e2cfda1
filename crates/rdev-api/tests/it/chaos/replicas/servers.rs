//! The servers, each with a keeper of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;
use rdev_sql::testing::PostgresDatabase;
use tokio::time::{interval, sleep};

use super::{KILL_EVERY, Size};
use crate::oracle::{Addresses, Keeper, PROJECTS, nothing_strange};
use crate::support::{Fixture, PrivatePostgres, Restart, Runtime, Server};

const REPLICAS: usize = 3;
/// Commands of projects that each server runs at once.
const CONCURRENCY: &str = "4";

pub(super) struct Servers {
    keepers: Vec<Keeper>,
    addresses: Addresses,
    marks: PathBuf,
}

impl Servers {
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
        let addresses = Addresses::new(servers.iter().map(Server::client).collect());
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
    pub(super) async fn disturb(&self, postgres: &PrivatePostgres, size: Size, random: &mut Rng) {
        let killing = async {
            let mut tick = interval(KILL_EVERY);
            for _ in 0..size.kills {
                tick.tick().await;
                self.keepers[random.usize(..REPLICAS)].kill().await;
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
        for keeper in self.keepers {
            servers.push(keeper.end().await);
        }
        servers.iter().map(Server::log).for_each(|log| nothing_strange(&log));
    }
}

fn set(fixture: Fixture) -> Fixture {
    fixture
        // Their callers are the same, whichever they ask.
        .with("RDEV_ADMIN_KEY", "rdev_chaos_0123456789abcdef0123456789abcdef")
        .with("RDEV_LEASE_SECONDS", "3")
        .with("RDEV_WORKER_CONCURRENCY", CONCURRENCY)
}
