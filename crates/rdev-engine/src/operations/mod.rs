//! Operations: durable sagas, driven under the lease of their job.
//!
//! A [`Plan`] names the steps of an operation. The driver stores each step before it acts, and what it made afterwards,
//! and asks [`rdev_domain::next_action`] what comes next: after a death of the process another one goes on from the rows.
//! To add an operation: a variant of `OperationRequest`, and its plan where the plans are made.

mod driver;
mod plan;

pub(crate) use driver::{Driver, stuck};
pub use plan::{Ensured, Plan, Plans, Step, StepContext};
