//! The contract of the stores, on the one in memory.

mod suite;

use rdev_ports::testing::MemoryStore;

async fn fresh() -> (MemoryStore, ()) {
    (MemoryStore::default(), ())
}

rdev_ports::store_contract!(fresh);
