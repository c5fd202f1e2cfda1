//! The guaranteed path of a job: submitted, claimed, run in a pod, its output stored and followed, its files collected,
//! its journal freed.
//!
//! A worker claims jobs and keeps their leases ([`Worker`]); `run` takes one claimed job to its end; readers follow
//! the log ([`LogReaders`]), and so do the followers of all jobs ([`Followers`]). Periodic jobs are done by one process at a time ([`Periodic`]). The engine speaks the
//! runner's protocol, and knows neither HTTP nor SQL nor Kubernetes. Use cases stand on it in `rdev-services`.

mod follow;
mod journal_sweep;
mod operations;
mod periodic;
mod ports;
mod pulse;
mod reader;
mod ready_pods;
mod replica_sync;
mod run;
mod submit;
mod subscribe;
mod tail_cache;
mod wakeups;
mod waking;
mod weak_map;
mod worker;

pub use follow::{Followers, LogHandler};
pub use journal_sweep::JournalSweep;
pub use operations::{Ensured, Plan, Plans, Step, StepContext};
pub use periodic::{Periodic, PeriodicJob};
pub use ports::WorkerPorts;
pub use pulse::Pulse;
pub use reader::{LogReader, Next};
pub use replica_sync::ReplicaSync;
pub use submit::Submitter;
pub use subscribe::{Begin, JobBegin, LogReaders, Subscription, ViewReader};
pub use tail_cache::TailCache;
pub use wakeups::Wakeups;
pub use worker::{Seats, Worker, WorkerConfig};
