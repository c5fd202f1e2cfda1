//! Fakes of the ports, and the contract that every implementation of a port must keep.

mod clock;
pub mod contract;
mod memory;
mod sample;

pub use clock::{FakeChance, FakeClock, FakeIds, START};
pub use memory::MemoryStore;
pub use sample::{chunk, command, id, idempotency_key, new_command, slots, task};
