//! Ports of the worker.

use std::sync::Arc;

use rdev_ports::{
    Artefacts, Clock, CodeAgent, EventLog, OperationSteps, Pods, PoolQueue, Random, TaskLeases,
};

use crate::Plans;

/// Ports of the worker and of everything that runs a job.
#[derive(Clone)]
pub struct WorkerPorts {
    /// Pods in which jobs run.
    pub pods: Arc<dyn Pods>,
    /// Agent that runs the requests of agents.
    pub agent: Arc<dyn CodeAgent>,
    /// Leases of jobs, and the steps that are stored under them.
    pub leases: Arc<dyn TaskLeases>,
    /// Occupancy of the pool.
    pub pool: Arc<dyn PoolQueue>,
    /// Store of the files that tasks leave.
    pub artefacts: Arc<dyn Artefacts>,
    /// Steps of operations.
    pub operations: Arc<dyn OperationSteps>,
    /// Plans of operations.
    pub plans: Arc<dyn Plans>,
    /// Log of the jobs' events.
    pub log: Arc<dyn EventLog>,
    /// Time of day.
    pub clock: Arc<dyn Clock>,
    /// Randomness that spreads retries of jobs that failed together.
    pub random: Arc<dyn Random>,
}
