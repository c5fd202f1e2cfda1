//! Runner: starts one command under a detached supervisor, journals its output, and serves attachments.
//! The README below is the crate's documentation.

#![doc = include_str!("../README.md")]

pub mod durable;
pub mod files;
pub mod frame;
pub mod spec;

mod attach;
mod cancel;
mod cgroup;
mod cli;
mod clock;
mod collect;
mod drain;
mod fault;
mod folder;
mod gc;
mod identity;
mod journal;
mod list;
mod memory;
mod orphans;
mod out;
mod processes;
mod sink;
mod start;
mod supervisor;

pub use cli::main;
