//! Jobs: commands of projects, tasks of the pool, their events, the pool's workers.

pub(crate) mod commands;
pub(crate) mod events;
pub(crate) mod pool;
pub(crate) mod tasks;
