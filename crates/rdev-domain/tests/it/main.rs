//! Promises of the domain, tested by its public functions: limits, names in answers and stores, states.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot know")]

mod events;
mod fields;
mod git;
mod ids;
mod jobs;
mod names;
mod operations;
mod projects;
mod tasks;
mod time;
