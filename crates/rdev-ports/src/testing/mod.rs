//! Fakes of the ports, and the contracts that every implementation of a port must keep: those of stores in
//! [`contract`], those of [`Pods`](crate::Pods) in [`places`].

mod clock;
pub mod contract;
mod memory;
pub mod places;
mod sample;

pub use clock::{FakeChance, FakeClock, FakeIds, START};
pub use memory::MemoryStore;
pub use sample::{chunk, command, id, idempotency_key, new_command, slots, task};
