//! The guaranteed path of a job: accepting, claiming, running, collecting, following.
//!
//! The engine knows the runner's frames, and neither HTTP nor SQL nor Kubernetes. Use cases stand on it in
//! `rdev-services`.

mod journal_sweep;
mod live;
mod periodic;
mod pulse;
mod reader;
mod replica_sync;
mod run;
mod submit;
mod tail;
mod waking;
mod worker;

pub use journal_sweep::Journals;
pub use live::Live;
pub use periodic::{Periodic, PeriodicJob};
pub use pulse::Pulse;
pub use reader::{LogReader, Next, Source};
pub use replica_sync::ReplicaSync;
pub use submit::{accept, cancel};
pub use tail::Tail;
pub use worker::{Worker, WorkerConfig, WorkerPorts};
