//! The data folder: made, or closed to other users where it was there before.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::Context;
use rdev_runner::durable::make_folder;
use rustix::process::geteuid;

/// Bits of a mode that let other users do something with a file.
const OTHERS: u32 = 0o077;
/// Everybody may put files there, and nobody remove another's: /tmp has it.
const STICKY: u32 = 0o1000;

/// Makes the folder. What commands write, and the keys, are nobody else's business, so a folder that was there before
/// is closed to other users, and so is what lies in it.
///
/// # Errors
/// When it cannot be made or closed, or is one that all users share.
pub(crate) fn make_private(folder: &Path) -> anyhow::Result<()> {
    let named = || format!("{} (RDEV_DATA_DIR)", folder.display());
    make_folder(folder).with_context(|| format!("cannot make {}", named()))?;
    let about = fs::metadata(folder).with_context(|| format!("cannot look at {}", named()))?;
    if !is_open(&about) {
        return Ok(());
    }
    anyhow::ensure!(
        about.mode() & STICKY == 0,
        "{} is a folder that all users share: accepted is one for rdev alone",
        named()
    );
    let closed = if is_ours(&about) {
        tracing::warn!("{} was open to other users, and is closed to them now", named());
        close(folder, &about)
    } else {
        // The volume of a pod belongs to root, and to the pod's group; only what is in it can be closed.
        tracing::info!("{} belongs to another user and stays as it is; what is in it is closed", named());
        Ok(())
    };
    closed.and_then(|()| close_entries(folder)).with_context(|| format!("cannot close {}", named()))
}

fn close_entries(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Not what a link leads to: that is where the operator wanted it.
        let about = entry.metadata()?;
        if (about.is_file() || about.is_dir()) && is_open(&about) && is_ours(&about) {
            close(&entry.path(), &about)?;
        }
    }
    Ok(())
}

fn is_open(about: &Metadata) -> bool {
    about.mode() & OTHERS != 0
}

fn is_ours(about: &Metadata) -> bool {
    about.uid() == geteuid().as_raw()
}

fn close(path: &Path, about: &Metadata) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(about.mode() & 0o7777 & !OTHERS))
}
