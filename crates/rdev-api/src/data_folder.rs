//! The data folder, private to this user.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::Context;
use rdev_runner::durable::make_folder;
use rustix::process::geteuid;

/// Mode bits that give other users access.
const OTHERS: u32 = 0o077;
/// Mode bit of shared folders such as /tmp: everybody may add files, and nobody remove another's.
const STICKY: u32 = 0o1000;

/// Makes the folder. A folder that was there before is closed to other users, with the files and folders in it: it holds
/// keys and the output of commands.
///
/// # Errors
/// When the folder cannot be made or closed, or is one that all users share.
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
        // The volume of a pod belongs to root, and to the pod's group; only its entries can be closed.
        tracing::info!("{} belongs to another user and stays as it is; what is in it is closed", named());
        Ok(())
    };
    closed.and_then(|()| close_entries(folder)).with_context(|| format!("cannot close {}", named()))
}

fn close_entries(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // The target of a link is left alone: the operator chose its place.
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
