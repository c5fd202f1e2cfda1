//! Promises of the domain, tested from outside: limits at their edges, names as clients and stores have them, states.

mod events;
mod fields;
mod git;
mod ids;
mod jobs;
mod names;
mod tasks;
mod time;
