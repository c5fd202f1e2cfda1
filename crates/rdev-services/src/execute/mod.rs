//! Execution: commands of projects, tasks of the pool, their events, the workers of the pool.

pub(crate) mod commands;
pub(crate) mod events;
pub(crate) mod pool;
pub(crate) mod ports;
pub(crate) mod position;
mod stored;
pub(crate) mod tasks;
