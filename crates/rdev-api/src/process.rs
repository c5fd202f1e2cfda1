//! This process: closed to other users, and to its own commands, which get back what it was started with.

use anyhow::Context;
use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior, umask};

/// Files are for this user alone.
const UMASK: u32 = 0o077;

/// Limits and mask that this process was started with, and has changed for itself.
#[derive(Debug, Clone, Copy)]
pub struct Inherited {
    /// Bits that new files do not get.
    pub umask: u32,
    /// Soft limit of open files; `None`: there is none.
    pub open_files: Option<u64>,
}

/// Closes what this process holds: its memory and environment to everybody but root (it leaves no core dump
/// either), and the files that it makes to other users. To be called before it opens any.
pub fn close() -> anyhow::Result<Inherited> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("prctl(PR_SET_DUMPABLE)")?;
    let before = umask(Mode::from_raw_mode(UMASK));
    Ok(Inherited { umask: before.as_raw_mode(), open_files: getrlimit(Resource::Nofile).current })
}
