//! Hardening of this process: closed to other users and to its own commands, which inherit the limits and mask that the
//! process was started with.

use anyhow::Context;
use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior, umask};

/// Mask of new files: none for other users.
const UMASK: u32 = 0o077;

/// Limit and mask that this process was started with, before it changed them for itself.
#[derive(Debug, Clone, Copy)]
pub struct Inherited {
    /// Bits that new files do not get.
    pub umask: u32,
    /// Soft limit of open files; `None`: unlimited.
    pub open_files: Option<u64>,
}

/// Closes the memory and environment of this process to everybody but root, forbids core dumps, and closes new files to
/// other users. To be called before any file is opened.
///
/// # Errors
/// When the kernel refuses `PR_SET_DUMPABLE`.
pub fn close() -> anyhow::Result<Inherited> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("prctl(PR_SET_DUMPABLE)")?;
    let before = umask(Mode::from_raw_mode(UMASK));
    Ok(Inherited { umask: before.as_raw_mode(), open_files: getrlimit(Resource::Nofile).current })
}
