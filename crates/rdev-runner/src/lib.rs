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
mod out;
mod processes;
mod remains;
mod sink;
mod start;
mod supervisor;

pub use cli::main;
