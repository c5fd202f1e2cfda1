//! The identity of the folder of runs: whoever knows it knows whether what was started there can still be
//! found, or went with a folder that is no more.
//!
//! An identity begins with the pod that uses the folder. A folder may outlive its pod: the next one takes it over, under
//! an identity of its own, and what the folder was called before stays known, so that the runs of then can be read.

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
/// Former identities that are kept; who is told of a run's place after so many others have come asks in vain.
const BEFORE_MAX: usize = 16;
/// Gives another text at every reading.
const KERNEL_UUID: &str = "/proc/sys/kernel/random/uuid";

/// Who asks for a folder, and on what terms.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    /// The pod that asks; empty: nobody in particular.
    pub(crate) within: String,
    /// The identity in whose stead the folder is to get one of this pod: whoever knows the cluster has seen that the
    /// pod of that identity is gone.
    pub(crate) instead_of: Option<String>,
}

/// How an identity that somebody names stands to the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    /// It is the folder's.
    Present,
    /// The folder had it before: what was started then is there to be read, and nothing starts under it any more.
    Former,
}

/// Prints protocol version, folder and identity on one line, with the folder and its identity made where
/// they are missing; then what else there is to know, each as `NAME=VALUE`.
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

/// Tells how the identity `wanted` stands to this folder, and refuses that of another: starting a command of it here
/// might be starting it a second time. An empty one is taken for the folder's.
pub(crate) fn check(runs: &Runs, wanted: &str) -> Result<Named, Fault> {
    let found = identity(&runs.0)?.unwrap_or_default();
    if wanted.is_empty() || found == wanted {
        return Ok(Named::Present);
    }
    if before(&runs.0)?.iter().any(|former| former == wanted) {
        return Ok(Named::Former);
    }
    Err(Fault::other_identity(format!("the order is for the runs of {wanted:?}, these are {found:?}")))
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

/// Former identities, the last one last.
fn before(folder: &Path) -> Result<Vec<String>, Fault> {
    let file = folder.join(BEFORE);
    match fs::read_to_string(&file) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(cannot("read", &file, error)),
    }
}

/// Of several that make it at once one wins: the file appears under its name whole, and only once.
fn make(folder: &Path, within: &str) -> Result<String, Fault> {
    let file = folder.join(IDENTITY);
    let scratch = written(folder, &new_identity(within)?)?;
    let linked = fs::hard_link(&scratch, &file);
    fs::remove_file(&scratch).map_err(|e| cannot("remove", &scratch, e))?;
    // What was started here is told by this name: it must not be another one after a power cut.
    flush_names(folder).map_err(|e| cannot("flush", folder, e))?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(cannot("write", &file, error)),
        _ => identity(folder)?.ok_or_else(|| Fault::failed(format!("{} is gone again", file.display()))),
    }
}

/// Gives the folder another identity. Refused where the pod that wants it had it before, or something runs in it still:
/// then more than one pod has the folder, and lives.
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

/// Tells whether an identity is that of a folder in this pod.
fn is_within(identity: &str, within: &str) -> bool {
    identity.strip_prefix(within).is_some_and(|rest| rest.starts_with('.'))
}

fn new_identity(within: &str) -> Result<String, Fault> {
    let random = fs::read_to_string(KERNEL_UUID).map_err(|e| cannot("read", Path::new(KERNEL_UUID), e))?;
    let dot = if within.is_empty() { "" } else { "." };
    Ok(format!("{within}{dot}{}", random.trim()))
}

/// Puts a file whole in the place of the one that is there, durably.
fn replace(folder: &Path, name: &str, text: &str) -> Result<(), Fault> {
    let (scratch, file) = (written(folder, text)?, folder.join(name));
    fs::rename(&scratch, &file).map_err(|e| cannot("write", &file, e))?;
    flush_names(folder).map_err(|e| cannot("flush", folder, e))
}

/// A file of this text under a name of our own.
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
