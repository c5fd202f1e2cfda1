//! Folders of runs: one for each run, named by its id.
//!
//! A folder appears under its id complete, by one `rename`: with journal and listening socket. That
//! rename is the point at which a command counts as started, and only one starter can win it.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::clock::now_us;
use crate::durable::{flush_names, make_folder};
use crate::fault::Fault;

/// Bytes reserved for the exit entry of a command that has filled the disk.
const RESERVE_BYTES: u64 = 64 * 1024;
const JOURNAL: &str = "journal";
const SOCKET: &str = "socket";
const RESERVE: &str = "reserve";
const META: &str = "meta";
const MEMORY: &str = "memory";
/// Suffix of the mark beside a run that was started.
const STARTED_MARK: &str = ".started";
/// File that marks a collected run: its output was stored, and its end is known to the requester.
const COLLECTED: &str = "collected";

/// Prefix of scratch folders that wait for their run.
const WAITING: &str = "waiting";

/// Syntax of an id, for messages.
pub(crate) const ID_RULE: &str =
    "1 to 128 of the characters A-Z a-z 0-9 . _ - are accepted, the first neither . nor -";

/// Id of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RunId(String);

impl RunId {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let accepted = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let fits =
            (1..=128).contains(&text.len()) && text.bytes().all(accepted) && !text.starts_with(['.', '-']);
        fits.then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The folder of all runs.
#[derive(Debug, Clone)]
pub(crate) struct Runs(pub(crate) PathBuf);

impl Runs {
    pub(crate) fn run(&self, id: &RunId) -> Run {
        Run(self.0.join(&id.0))
    }

    /// Returns the folder's real path, whatever links name it.
    pub(crate) fn real_path(&self) -> PathBuf {
        std::fs::canonicalize(&self.0)
            .or_else(|_| std::path::absolute(&self.0))
            .unwrap_or_else(|_| self.0.clone())
    }

    /// Returns the run with this id if it was ever started.
    pub(crate) fn find(&self, id: &RunId) -> Result<Option<Run>, Fault> {
        let run = self.run(id);
        match run.0.join(JOURNAL).try_exists() {
            Ok(true) => Ok(Some(run)),
            Ok(false) => Ok(None),
            // A file is in the place of the folder of runs.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
            Err(error) => Err(Fault::io(format!("cannot look into {}", run.0.display()), error)),
        }
    }

    /// Returns a scratch name beside the run's, for a folder that is being built or removed. `gc` removes
    /// those of dead processes.
    pub(crate) fn scratch(&self, id: &RunId) -> PathBuf {
        // Process ids alone repeat, in containers soon.
        self.0.join(format!(".{id}.{}.{}", std::process::id(), now_us()))
    }

    /// Returns every run, sorted by id.
    pub(crate) fn all(&self) -> Result<Vec<(RunId, Run)>, Fault> {
        let ids = self.names()?.into_iter().filter_map(|name| RunId::parse(&name));
        let mut runs: Vec<_> = ids.map(|id| (id.clone(), self.run(&id))).collect();
        runs.retain(|(_, run)| run.journal_path().exists());
        runs.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(runs)
    }

    /// Returns every scratch folder, with the process that made it.
    pub(crate) fn all_scratch(&self) -> Result<Vec<(u32, PathBuf)>, Fault> {
        let owner = |name: String| {
            let (rest, made_us) = name.strip_prefix('.')?.rsplit_once('.')?;
            // The mark beside a run whose id ends in a number looks alike.
            made_us.parse::<u64>().ok()?;
            let (id, pid) = rest.rsplit_once('.')?;
            RunId::parse(id)?;
            Some((pid.parse().ok()?, self.0.join(&name)))
        };
        Ok(self.names()?.into_iter().filter_map(owner).collect())
    }

    /// Returns the marks of runs whose folders are gone.
    pub(crate) fn all_marks_alone(&self) -> Result<Vec<PathBuf>, Fault> {
        let alone = |name: String| {
            let id = RunId::parse(name.strip_prefix('.')?.strip_suffix(STARTED_MARK)?)?;
            (!self.run(&id).0.exists()).then(|| self.0.join(&name))
        };
        Ok(self.names()?.into_iter().filter_map(alone).collect())
    }

    fn names(&self) -> Result<Vec<String>, Fault> {
        let cannot = |error| Fault::io(format!("cannot list {}", self.0.display()), error);
        let entries = match std::fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(cannot)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry.map_err(cannot)?.file_name().into_string());
        }
        Ok(names)
    }

    /// Builds a run's folder under a scratch name, durably, before the id of the run is known.
    pub(crate) fn prepare(&self) -> Result<Prepared, Fault> {
        let cannot =
            |what: &Path, error: io::Error| Fault::io(format!("cannot create {}", what.display()), error);
        make_folder(&self.0).map_err(|e| cannot(&self.0, e))?;
        let scratch = Run(self.0.join(format!(".{WAITING}.{}.{}", std::process::id(), now_us())));
        DirBuilder::new().mode(0o700).create(&scratch.0).map_err(|e| cannot(&scratch.0, e))?;
        match scratch.fill() {
            Ok((journal, listener)) => Ok(Prepared { scratch, journal, listener }),
            Err(error) => {
                let fault = cannot(&scratch.0, error);
                scratch.discard()?;
                Err(fault)
            }
        }
    }
}

/// A run that is complete on disk but has no name yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    scratch: Run,
    journal: File,
    listener: UnixListener,
}

/// A run that this process has created.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) run: Run,
    pub(crate) journal: File,
    pub(crate) listener: UnixListener,
}

impl Prepared {
    /// Names the run, durably; returns `None` when the id is taken.
    pub(crate) fn commit(self, target: Run) -> Result<Option<Committed>, Fault> {
        let cannot = |error| Fault::io(format!("cannot create {}", target.0.display()), error);
        // An id stays taken even when its folder is gone: a command can remove its own folder.
        if target.was_started().map_err(cannot)? {
            self.scratch.discard()?;
            return Ok(None);
        }
        match rustix::fs::rename(&self.scratch.0, &target.0) {
            Ok(()) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                self.scratch.discard()?;
                return Ok(None);
            }
            Err(error) => {
                self.scratch.discard()?;
                return Err(cannot(error.into()));
            }
        }
        match create(&target.started_mark()) {
            Ok(_) => {}
            // Another starter has used the id, and its folder has vanished since the check. This name now
            // belongs to a lost run.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => {
                target.discard()?;
                return Err(cannot(error));
            }
        }
        // From here on the run counts as started: the command must not run while a power cut could undo
        // the rename. The content of the folder is already on the disk.
        if let Err(error) = target.sync_name() {
            // Nothing has run, so the id is free again.
            target.discard()?;
            std::fs::remove_file(target.started_mark()).map_err(cannot)?;
            return Err(cannot(error));
        }
        target.note();
        Ok(Some(Committed { run: target, journal: self.journal, listener: self.listener }))
    }

    /// Removes a folder that does not become a run.
    pub(crate) fn discard(self) -> Result<(), Fault> {
        self.scratch.discard()
    }
}

/// Folder of one run.
#[derive(Debug, Clone)]
pub(crate) struct Run(PathBuf);

impl Run {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn fill(&self) -> io::Result<(File, UnixListener)> {
        let journal = create(&self.0.join(JOURNAL))?;
        let reserve = create(&self.0.join(RESERVE))?;
        match fallocate(&reserve, FallocateFlags::empty(), 0, RESERVE_BYTES) {
            Ok(()) => {}
            // Some file systems cannot allocate ahead; real bytes reserve the space as well.
            Err(Errno::OPNOTSUPP) => io::Write::write_all(&mut &reserve, &vec![0; RESERVE_BYTES as usize])?,
            Err(error) => return Err(error.into()),
        }
        let (_folder, socket) = self.socket()?;
        let listener = UnixListener::bind(socket)?;
        // After a power cut, the folder of a started run must be complete. Its data are written later.
        flush_names(&self.0)?;
        Ok((journal, listener))
    }

    /// Tells whether the run was ever started, by its mark.
    pub(crate) fn was_started(&self) -> io::Result<bool> {
        self.started_mark().try_exists()
    }

    /// Returns the path of the mark beside the folder: it records that the run was started.
    fn started_mark(&self) -> PathBuf {
        let name = self.0.file_name().unwrap_or_default().to_string_lossy();
        self.0.with_file_name(format!(".{name}{STARTED_MARK}"))
    }

    /// Writes notes for people: nothing depends on them.
    fn note(&self) {
        let meta = format!(
            "started_us={}\nsupervisor_pid={}\nversion={}\n",
            now_us(),
            std::process::id(),
            env!("CARGO_PKG_VERSION")
        );
        // A run does not fail for lack of space for its notes.
        create(&self.0.join(META)).and_then(|mut file| io::Write::write_all(&mut file, meta.as_bytes())).ok();
    }

    /// Stores the peak memory of the run's processes, and their container.
    pub(crate) fn store_peak_memory(&self, bytes: u64, container: u64) {
        // The record names the culprit of a loss; without it the loss is reported as before.
        std::fs::write(self.0.join(MEMORY), format!("{bytes} {container}\n")).ok();
    }

    /// Returns the stored peak memory: bytes, and container.
    pub(crate) fn peak_memory(&self) -> Option<(u64, u64)> {
        let text = std::fs::read_to_string(self.0.join(MEMORY)).ok()?;
        let (bytes, container) = text.trim().split_once(' ')?;
        Some((bytes.parse().ok()?, container.parse().ok()?))
    }

    /// Marks the run as collected, durably.
    pub(crate) fn mark_collected(&self) -> io::Result<()> {
        match create(&self.0.join(COLLECTED)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(_) | Err(_) => flush_names(&self.0),
        }
    }

    pub(crate) fn is_collected(&self) -> bool {
        self.0.join(COLLECTED).exists()
    }

    /// Returns the socket's path by way of an open folder: its real path may exceed the 108 bytes of a
    /// socket address. The path is valid while the folder is open.
    fn socket(&self) -> io::Result<(File, PathBuf)> {
        let folder = File::open(&self.0)?;
        let path = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
        Ok((folder, path.into()))
    }

    /// Connects to the run's supervisor; `None` when it is gone.
    pub(crate) fn connect(&self) -> io::Result<Option<UnixStream>> {
        let (_folder, socket) = self.socket()?;
        match UnixStream::connect(socket) {
            Ok(stream) => Ok(Some(stream)),
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Tells whether a supervisor listens, or has died without closing its socket.
    pub(crate) fn has_socket(&self) -> bool {
        self.0.join(SOCKET).exists()
    }

    pub(crate) fn journal_path(&self) -> PathBuf {
        self.0.join(JOURNAL)
    }

    pub(crate) fn open_journal(&self) -> Result<File, Fault> {
        let path = self.journal_path();
        File::open(&path).map_err(|e| Fault::io(format!("cannot open {}", path.display()), e))
    }

    /// Returns the start of the run, in microseconds since 1970; 0 when its notes are unreadable.
    pub(crate) fn started_us(&self) -> u64 {
        let meta = std::fs::read_to_string(self.0.join(META)).unwrap_or_default();
        meta.lines().find_map(|line| line.strip_prefix("started_us=")?.parse().ok()).unwrap_or_default()
    }

    /// Frees the space reserved for the exit entry.
    pub(crate) fn release_reserve(&self) {
        // The file may be gone already; no other remedy exists.
        std::fs::remove_file(self.0.join(RESERVE)).ok();
    }

    /// Removes the socket's name, so that no client connects any more.
    pub(crate) fn close_socket(&self) {
        // A name that stays refuses connections, which has the same effect.
        std::fs::remove_file(self.0.join(SOCKET)).ok();
    }

    /// Flushes names: the files in this folder and the folder itself.
    pub(crate) fn sync_names(&self) -> io::Result<()> {
        flush_names(&self.0)?;
        self.sync_name()
    }

    /// Flushes the folder's own name, and those beside it.
    fn sync_name(&self) -> io::Result<()> {
        match self.0.parent() {
            Some(parent) => flush_names(parent),
            None => Ok(()),
        }
    }

    fn discard(&self) -> Result<(), Fault> {
        std::fs::remove_dir_all(&self.0)
            .map_err(|e| Fault::io(format!("cannot remove {}", self.0.display()), e))
    }
}

/// Creates a file that only its owner can read.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
