//! The runner as its users see it: the real program, real commands, real signals.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot know")]

mod attach;
mod cli;
mod collect;
mod damage;
mod drain;
mod gc;
mod identity;
mod kills;
mod limits;
mod memory;
mod output;
mod protocol;
mod start;
mod stop;
mod support;
mod tree;
