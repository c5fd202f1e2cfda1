//! The runner's program file.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rdev_runner::durable::flush_names;
use sha2::{Digest, Sha256};

/// Writes the program to `bin/` unless the same one is there, and returns its path. The name carries its
/// checksum: a newer server never replaces the program under a supervisor that still runs.
///
/// When it is there already, the embedded program is not read: its 2 MB would stay in memory.
pub(crate) fn install(data_dir: &Path, program: &[u8], sha256: &str) -> anyhow::Result<PathBuf> {
    let folder = data_dir.join("bin");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(format!("rdev-runner-{sha256:.16}"));
    if sum(&path).is_none_or(|present| present != sha256) {
        write_whole(&path, program, 0o700)?;
    }
    Ok(path)
}

/// The checksum of a file; `None` where there is none that can be read.
fn sum(path: &Path) -> Option<String> {
    let program = fs::read(path).ok()?;
    Some(Sha256::digest(&program).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a file so that its name only ever stands for the whole content, and is there after a power cut.
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
