//! Fakes of the ports, and the contracts that every implementation of a port must keep: those of stores in
//! [`contract`], those of [`Pods`](crate::Pods) in [`places`].

mod clock;
pub mod contract;
mod memory;
pub mod pods;
mod sample;

pub use clock::{FakeClock, FakeIds, FakeRandom, START};
pub use memory::MemoryStore;
pub use sample::{chunk, id, idempotency_key, job, new_job, slots, target, task};
