//! Promises of the domain, tested by its public functions: limits, names in answers and stores, states.

mod events;
mod fields;
mod git;
mod ids;
mod jobs;
mod names;
mod tasks;
mod time;
