//! What every store promises, one function a promise.
//!
//! [`store_contract!`](crate::store_contract) makes a test of each.

mod cancel;
mod claim;
mod concurrency_key;
mod enqueue;
mod idempotency;
mod lease;
mod log;
mod read;
mod run;
mod steps;
mod suite;

pub use cancel::*;
pub use claim::*;
pub use concurrency_key::*;
pub use enqueue::*;
pub use idempotency::*;
pub use lease::*;
pub use log::*;
pub use read::*;
pub use run::*;

use crate::{EventLog, TaskQueue};

/// A store under test: both ports on the same data; clones share it.
pub trait Store: TaskQueue + EventLog + Clone + 'static {}

impl<S: TaskQueue + EventLog + Clone + 'static> Store for S {}
