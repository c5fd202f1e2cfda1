//! Use cases over the ports: commands and tasks, their events, the worker pool, projects, retention.
//!
//! Services are concrete structs that clone cheaply, with a method for each question of a handler. They know neither
//! HTTP nor SQL nor Kubernetes, nor the runner's frames: whatever runs a job is in `rdev-engine`.

mod access;
mod execute;
mod operate;
mod projects;

pub use access::tickets::{StreamRef, TicketIssuer};
pub use execute::commands::{CommandView, Commands, SubmitCommand};
pub use execute::events::Events;
pub use execute::pool::{Pool, PoolUsage, PoolView, QueueView, WorkerView};
pub use execute::ports::{JobPorts, ListJobs};
pub use execute::position::QueuePosition;
pub use execute::tasks::{ArtefactFile, SubmitTask, TaskView, Tasks};
pub use operate::health::{Health, HealthReport};
pub use operate::retention::{Prune, RetentionLimits};
pub use projects::operations::{OperationView, Operations};
pub use projects::plans::ProjectPlans;
pub use projects::registry::Projects;
