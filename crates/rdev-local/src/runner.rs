//! Installation of the runner's program file.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use sha2::{Digest, Sha256};

use crate::durable::flush_names;

/// Longest time for which starting processes may hold the file open.
const BUSY_MAX: Duration = Duration::from_secs(10);
const BUSY_PAUSE: Duration = Duration::from_millis(1);
/// Bytes of the program that are read at a time for its checksum: 64 KiB.
const SUM_BUFFER: usize = 64 * 1024;

/// Writes the program to `bin/` unless the same one exists there, and returns its path. The name contains
/// the checksum: a newer server never replaces the program of a running supervisor.
///
/// When the file exists, the embedded program is not read: its 2 MB would stay in memory.
pub(crate) fn install(data_dir: &Path, program: &[u8], sha256: &str) -> anyhow::Result<PathBuf> {
    let folder = data_dir.join("bin");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(format!("rdev-runner-{sha256:.16}"));
    if sum(&path).is_none_or(|present| present != sha256) {
        write_whole(&path, program, 0o700)?;
        wait_until_it_starts(&path)?;
    }
    Ok(path)
}

/// Waits until the program just written can be started. A process that another thread forks meanwhile
/// holds the file open for writing until its own exec, and the kernel answers "text file busy" until
/// then. After one successful start no process can hold the file.
fn wait_until_it_starts(program: &Path) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let mut version = Command::new(program);
        version.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let started = match version.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && begun.elapsed() < BUSY_MAX => {
                sleep(BUSY_PAUSE);
                continue;
            }
            // The start succeeded; the program itself is not needed.
            Ok(mut child) => child.kill().and_then(|()| child.wait().map(drop)),
            Err(error) => Err(error),
        };
        return started.with_context(|| format!("cannot start {}", program.display()));
    }
}

/// Returns the checksum of a file; `None` for a missing or unreadable one.
fn sum(path: &Path) -> Option<String> {
    let mut program = BufReader::with_capacity(SUM_BUFFER, File::open(path).ok()?);
    let mut sum = Sha256::new();
    loop {
        let piece = program.fill_buf().ok()?;
        if piece.is_empty() {
            break;
        }
        sum.update(piece);
        let read = piece.len();
        program.consume(read);
    }
    Some(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a file atomically and durably: its name never refers to partial content, and survives a power
/// cut.
pub(crate) fn write_whole(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), flush_names)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::thread::scope;

    use super::*;

    #[test]
    fn an_installed_program_starts_whatever_else_starts_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let done = AtomicBool::new(false);
        scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    while !done.load(Relaxed) {
                        Command::new("true").status().unwrap();
                    }
                });
            }
            for n in 0..100 {
                let path = install(&folder.path().join(n.to_string()), b"#!/bin/sh\n", "unknown").unwrap();
                let started = Command::new(path).status();
                if n == 99 || started.is_err() {
                    done.store(true, Relaxed);
                }
                started.unwrap();
            }
        });
    }
}
