//! Identity of the folder of runs: tells whether runs can still be found, or went with a folder that is
//! gone.
//!
//! An identity begins with the pod that uses the folder. A folder may outlive its pod: the next pod takes
//! it over, under an identity of its own, and the former identities stay known, so that their runs can be
//! read.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::cgroup::Group;
use crate::clock::now_us;
use crate::durable::{flush_names, make_folder};
use crate::fault::Fault;
use crate::folder::{Runs, create};
use crate::frame::PROTOCOL_VERSION;
use crate::out::say;

/// No run has these names: ids do not begin with a dot.
const IDENTITY: &str = ".uid";
const BEFORE: &str = ".uid.before";
const LOCK: &str = ".uid.lock";
/// Most former identities that are kept; runs under an older one count as lost.
const BEFORE_MAX: usize = 16;
/// Returns another text at every read.
const KERNEL_UUID: &str = "/proc/sys/kernel/random/uuid";

/// Request for the folder's identity.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    /// The requesting pod; empty: none in particular.
    pub(crate) within: String,
    /// Identity to replace with one of this pod: the requester has verified that the pod of that identity
    /// is gone.
    pub(crate) instead_of: Option<String>,
}

/// Match of a given identity with the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdentityMatch {
    /// The current identity of the folder.
    Current,
    /// A former identity: its runs can be read, and nothing starts under it.
    Former,
}

/// Prints protocol version, folder and identity on one line, and creates the folder and its identity
/// where they are missing; then further facts, each as `NAME=VALUE`.
pub(crate) fn print(runs: &Runs, claim: &Claim) -> Result<(), Fault> {
    let folder = &runs.0;
    make_folder(folder).map_err(|e| cannot("make", folder, e))?;
    let identity = match (identity(folder)?, &claim.instead_of) {
        (None, _) => make(folder, &claim.within)?,
        (Some(found), Some(wanted)) if found == *wanted => take_over(runs, &claim.within, wanted)?,
        (Some(found), _) => found,
    };
    let mut line = format!("rdev-runner {PROTOCOL_VERSION} {} {identity}", folder.display());
    let before = before(folder)?;
    if !before.is_empty() {
        line.push_str(&format!(" before={}", before.join(",")));
    }
    if let Some(group) = Group::own() {
        line.push_str(&format!(" oom-group={}", u8::from(group.kills_all())));
    }
    say(&(line + "\n")).map_err(|e| Fault::io("cannot write to standard output", e))
}

/// Returns how the identity `wanted` matches this folder, and refuses that of another: a start here might
/// be the second start of its command. An empty identity matches.
pub(crate) fn check(runs: &Runs, wanted: &str) -> Result<IdentityMatch, Fault> {
    let found = identity(&runs.0)?.unwrap_or_default();
    if wanted.is_empty() || found == wanted {
        return Ok(IdentityMatch::Current);
    }
    if before(&runs.0)?.iter().any(|former| former == wanted) {
        return Ok(IdentityMatch::Former);
    }
    Err(Fault::other_identity(format!("the request names the runs of {wanted:?}, this folder is {found:?}")))
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

/// Returns former identities, the latest last.
fn before(folder: &Path) -> Result<Vec<String>, Fault> {
    let file = folder.join(BEFORE);
    match fs::read_to_string(&file) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(cannot("read", &file, error)),
    }
}

/// Creates the identity. Only one of several concurrent creators wins: the file appears under its name
/// complete, and once.
fn make(folder: &Path, within: &str) -> Result<String, Fault> {
    let file = folder.join(IDENTITY);
    let scratch = written(folder, &new_identity(within)?)?;
    let linked = fs::hard_link(&scratch, &file);
    fs::remove_file(&scratch).map_err(|e| cannot("remove", &scratch, e))?;
    // Runs are bound to this identity, which must survive a power cut.
    flush_names(folder).map_err(|e| cannot("flush", folder, e))?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(cannot("write", &file, error)),
        _ => identity(folder)?.ok_or_else(|| Fault::failed(format!("{} is gone again", file.display()))),
    }
}

/// Replaces the folder's identity. Refused when the requesting pod had the folder before, or a run is
/// active: then more than one living pod uses the folder.
fn take_over(runs: &Runs, within: &str, wanted: &str) -> Result<String, Fault> {
    let folder = &runs.0;
    let lock = File::create(folder.join(LOCK)).map_err(|e| cannot("make", &folder.join(LOCK), e))?;
    lock.lock().map_err(|e| cannot("lock", &folder.join(LOCK), e))?;
    let found = identity(folder)?.unwrap_or_default();
    if found != wanted {
        return Ok(found);
    }
    let mut former = before(folder)?;
    if former.iter().any(|one| is_within(one, within)) {
        return Err(Fault::shared(format!(
            "{} was taken over by {found:?} while it was in use here",
            folder.display()
        )));
    }
    for (id, run) in runs.all()? {
        if matches!(run.connect(), Ok(Some(_))) {
            return Err(Fault::in_use(format!("\"{id}\" of {found:?} still runs in {}", folder.display())));
        }
    }
    former.push(found);
    let kept = former.len().saturating_sub(BEFORE_MAX);
    replace(folder, BEFORE, &former[kept..].join("\n"))?;
    let identity = new_identity(within)?;
    replace(folder, IDENTITY, &identity)?;
    Ok(identity)
}

/// Tells whether an identity was created in this pod.
fn is_within(identity: &str, within: &str) -> bool {
    identity.strip_prefix(within).is_some_and(|rest| rest.starts_with('.'))
}

fn new_identity(within: &str) -> Result<String, Fault> {
    let random = fs::read_to_string(KERNEL_UUID).map_err(|e| cannot("read", Path::new(KERNEL_UUID), e))?;
    let dot = if within.is_empty() { "" } else { "." };
    Ok(format!("{within}{dot}{}", random.trim()))
}

/// Replaces a file atomically and durably.
fn replace(folder: &Path, name: &str, text: &str) -> Result<(), Fault> {
    let (scratch, file) = (written(folder, text)?, folder.join(name));
    fs::rename(&scratch, &file).map_err(|e| cannot("write", &file, e))?;
    flush_names(folder).map_err(|e| cannot("flush", folder, e))
}

/// Writes a file with this text under a scratch name.
fn written(folder: &Path, text: &str) -> Result<PathBuf, Fault> {
    let scratch = folder.join(format!("{IDENTITY}.{}.{}", std::process::id(), now_us()));
    let write = || {
        let mut made = create(&scratch)?;
        made.write_all(text.as_bytes())?;
        made.sync_all()
    };
    write().map_err(|e| cannot("write", &scratch, e))?;
    Ok(scratch)
}

fn cannot(what: &str, path: &Path, error: io::Error) -> Fault {
    Fault::io(format!("cannot {what} {}", path.display()), error)
}
