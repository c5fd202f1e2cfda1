//! Pods of a cluster, over a real socket: the cluster is a double that runs real processes. Stories of
//! rdev-api cover the real runner.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot know")]

mod containers;
mod discovery;
mod exec;
mod permissions;
mod reach;
mod shared;
mod silent;
mod support;
