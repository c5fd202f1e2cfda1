//! `rdev-runner`: starts one command under a detached supervisor, journals what it writes, and lets
//! anybody attach to that journal at any time, after any cut, without loss and without doubles.
//!
//! rdev-api uses [`frame`] and [`spec`] only. This crate depends on no other crate of the workspace.

pub mod frame;
pub mod spec;
