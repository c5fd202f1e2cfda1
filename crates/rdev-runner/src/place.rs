//! The identity of the folder of runs: whoever knows it knows whether what was started there can still be
//! found, or went with a folder that is no more.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::clock::now_us;
use crate::durable::{flush_names, make_folder};
use crate::fault::{EXIT_OTHER_PLACE, Fault};
use crate::folder::Runs;
use crate::frame::PROTOCOL_VERSION;
use crate::out::say;

/// No run has this name: ids do not begin with a dot.
const IDENTITY: &str = ".uid";
/// Gives another text at every reading.
const KERNEL_UUID: &str = "/proc/sys/kernel/random/uuid";

/// Prints protocol version, folder and identity on one line, with the folder and its identity made where
/// they are missing.
pub(crate) fn print(runs: &Runs, within: &str) -> Result<(), Fault> {
    let folder = &runs.0;
    make_folder(folder).map_err(|e| cannot("make", folder, e))?;
    let identity = match identity(folder)? {
        Some(identity) => identity,
        None => make(folder, within)?,
    };
    say(&format!("rdev-runner {PROTOCOL_VERSION} {} {identity}\n", folder.display()))
        .map_err(|e| Fault::io("cannot write to standard output", e))
}

/// Refuses an order for another folder: starting its command here might be starting it a second time.
pub(crate) fn check(runs: &Runs, wanted: &str) -> Result<(), Fault> {
    let found = identity(&runs.0)?.unwrap_or_default();
    if wanted.is_empty() || found == wanted {
        return Ok(());
    }
    let message = format!("the order is for the runs of {wanted:?}, these are {found:?}");
    Err(Fault { code: EXIT_OTHER_PLACE, message })
}

fn identity(folder: &Path) -> Result<Option<String>, Fault> {
    let file = folder.join(IDENTITY);
    match fs::read_to_string(&file) {
        Ok(text) if !text.trim().is_empty() => Ok(Some(text.trim().to_owned())),
        Ok(_) => Err(Fault::failed(format!("{} is empty", file.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot("read", &file, error)),
    }
}

/// Of several that make it at once one wins: the file appears under its name whole, and only once.
fn make(folder: &Path, within: &str) -> Result<String, Fault> {
    let file = folder.join(IDENTITY);
    let scratch = folder.join(format!("{IDENTITY}.{}.{}", std::process::id(), now_us()));
    let random = fs::read_to_string(KERNEL_UUID).map_err(|e| cannot("read", Path::new(KERNEL_UUID), e))?;
    let dot = if within.is_empty() { "" } else { "." };
    let write = || {
        let mut made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&scratch)?;
        made.write_all(format!("{within}{dot}{}", random.trim()).as_bytes())?;
        made.sync_all()
    };
    write().map_err(|e| cannot("write", &scratch, e))?;
    let linked = fs::hard_link(&scratch, &file);
    fs::remove_file(&scratch).map_err(|e| cannot("remove", &scratch, e))?;
    // What was started here is told by this name: it must not be another one after a power cut.
    flush_names(folder).map_err(|e| cannot("flush", folder, e))?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(cannot("write", &file, error)),
        _ => identity(folder)?.ok_or_else(|| Fault::failed(format!("{} is gone again", file.display()))),
    }
}

fn cannot(what: &str, path: &Path, error: io::Error) -> Fault {
    Fault::io(format!("cannot {what} {}", path.display()), error)
}
