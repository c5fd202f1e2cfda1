//! Every store of rdev.
//!
//! One SQL text serves every database, with `$1` placeholders. `db::Db` is an enum over the pools, and only what truly
//! differs branches on it. This crate knows neither HTTP nor the runner's frames. `queue` implements the ports of the
//! queue, `log` those of the log and its retention; every other port has a file of its own.
//! To add a migration: a new file in `migrations/sqlite` and one in `migrations/postgres`, whose schemas a test
//! compares, and their name in `migrations.rs`. Files that have landed are never edited.

mod answers;
mod artefacts;
mod batch;
mod clock;
mod db;
mod diagnose;
mod error;
mod figures;
mod log;
mod migrations;
mod operations;
mod periodic;
#[cfg(test)]
mod plans;
mod pool;
mod project_records;
mod queue;
mod row;
mod signals;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod values;
mod write_check;

pub use db::restore::Restored;
pub use store::SqlStore;
