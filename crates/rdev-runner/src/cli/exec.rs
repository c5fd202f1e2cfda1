//! Executes another program, with limits that its starter cannot set for it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::Mode;
use rustix::process::{Resource, getrlimit, setrlimit, umask};

use super::args::Limits;
use super::{EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND};
use crate::fault::{Fault, plain};

/// Replaces this program by another one; returns only on failure.
pub(super) fn exec(limits: Limits, argv: &[String]) -> Fault {
    if let Some(mode) = limits.umask {
        umask(Mode::from_raw_mode(mode));
    }
    if let Some(files) = limits.open_files {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = Some(limit.maximum.map_or(files, |most| files.min(most)));
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            return Fault::io("cannot set the limit of open files", error);
        }
    }
    let error = Command::new(&argv[0]).args(&argv[1..]).exec();
    let code = match error.kind() {
        std::io::ErrorKind::NotFound => EXIT_NOT_FOUND,
        _ => EXIT_NOT_EXECUTABLE,
    };
    Fault { code, message: format!("cannot run {:?}: {}", argv[0], plain(&error)) }
}
