//! Health of the parts that a server needs.

use std::sync::Arc;
use std::time::Duration;

use rdev_domain::{Error, Result};
use rdev_engine::Pulse;
use rdev_ports::{Pods, TaskQueue};
use tokio::time::timeout;

/// Longest check of one part.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// Health of the database, the runtime and the worker.
#[derive(Clone)]
pub struct Health {
    queue: Arc<dyn TaskQueue>,
    pods: Arc<dyn Pods>,
    worker: Pulse,
}

/// Answers of the parts; an error for each that is not available.
#[derive(Debug)]
pub struct HealthReport {
    /// The database can be written.
    pub database: Result<()>,
    /// The runtime of jobs answers.
    pub runtime: Result<()>,
    /// The loop of the worker turns.
    pub worker: Result<()>,
}

impl HealthReport {
    /// Tells whether every part is available.
    pub fn is_ok(&self) -> bool {
        self.database.is_ok() && self.runtime.is_ok() && self.worker.is_ok()
    }
}

impl Health {
    /// Wires the service.
    pub fn new(queue: Arc<dyn TaskQueue>, pods: Arc<dyn Pods>, worker: Pulse) -> Self {
        Self { queue, pods, worker }
    }

    /// Checks all parts at once, for 3 s at most. `serve_only`: of the runtime, the part that is needed to serve.
    pub async fn check(&self, serve_only: bool) -> HealthReport {
        let runtime = async {
            if serve_only {
                // Requests for projects can be answered once the projects are known.
                self.pods.projects().await.map(drop)
            } else {
                self.pods.check().await
            }
        };
        let (database, runtime) =
            tokio::join!(within_timeout("database", self.queue.check()), within_timeout("runtime", runtime),);
        HealthReport { database, runtime, worker: self.worker.check() }
    }
}

async fn within_timeout(system: &'static str, check: impl Future<Output = Result<()>>) -> Result<()> {
    timeout(CHECK_TIMEOUT, check).await.unwrap_or_else(|_| {
        Err(Error::unavailable(system, anyhow::anyhow!("no answer in {CHECK_TIMEOUT:?}")))
    })
}
