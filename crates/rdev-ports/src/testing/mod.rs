//! Fakes of the time, ids and randomness, and the contracts that every implementation of a port must keep: those of
//! stores in [`contract`], those of [`CodeAgent`](crate::CodeAgent) in [`agents`], those of [`Pods`](crate::Pods) in
//! [`pods`], those of [`Workspaces`](crate::Workspaces) in [`workspaces`].

pub mod agents;
mod clock;
pub mod contract;
pub mod pods;
mod sample;
pub mod workspaces;

pub use clock::{FakeClock, FakeIds, FakeRandom, START};
pub use sample::{
    agent, chunk, id, idempotency_key, job, keyed, log_of, operation, slots, target, task, task_for,
};
