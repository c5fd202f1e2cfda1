//! Promises of the stores, one function a promise.
//!
//! [`store_contract!`](crate::store_contract) makes a test of each.

mod again;
mod artefacts;
mod cancel;
mod claim;
mod concurrency_key;
mod enqueue;
mod fair;
mod idempotency;
mod lease;
mod log;
mod pool;
mod read;
mod reopen;
mod retention;
mod retry;
mod run;
mod sizes;
mod steps;
mod suite;
mod turns;

pub use again::*;
pub use artefacts::*;
pub use cancel::*;
pub use claim::*;
pub use concurrency_key::*;
pub use enqueue::*;
pub use fair::*;
pub use idempotency::*;
pub use lease::*;
pub use log::*;
pub use pool::*;
pub use read::*;
pub use reopen::*;
pub use retention::*;
pub use retry::*;
pub use run::*;
pub use sizes::*;
pub use turns::*;

use crate::{Artefacts, EventLog, PeriodicLeases, PoolQueue, Retention, TaskQueue};

/// A store under test: all of its ports on the same data; clones share it.
pub trait Store:
    TaskQueue + EventLog + PoolQueue + Artefacts + Retention + PeriodicLeases + Clone + 'static
{
}

impl<S: TaskQueue + EventLog + PoolQueue + Artefacts + Retention + PeriodicLeases + Clone + 'static> Store
    for S
{
}
