//! Folder of a pod's processes, and its running containers.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::process::{Child, Command};

use crate::processes::{self, kill_marked};

/// Folder of a pod. It outlives the pod when another one replaces it.
pub(crate) struct PodFolder {
    pub(crate) folder: PathBuf,
    /// A folder of runs outside the pod's folder.
    runs_elsewhere: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Name and id of the running containers. Start and kill hold the lock: nothing starts in a container
    /// that is being killed.
    running: HashMap<String, String>,
    made: bool,
    /// False until a program was started: then there is nothing to search for.
    used: bool,
}

/// A program to start.
pub(crate) struct Start<'a> {
    pub(crate) container: &'a str,
    pub(crate) container_id: &'a str,
    pub(crate) argv: &'a [String],
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

/// Reason why nothing was started.
pub(crate) enum NotStarted {
    /// The container has ended meanwhile.
    Gone,
    Failed(io::Error),
}

impl PodFolder {
    pub(crate) fn new(folder: PathBuf, runs_elsewhere: Option<PathBuf>) -> Self {
        Self { folder, runs_elsewhere, state: Mutex::default() }
    }

    /// Returns the folder of runs outside the pod's folder.
    pub(crate) fn runs_elsewhere(&self) -> Option<&Path> {
        self.runs_elsewhere.as_deref()
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.folder.join("workspace")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.runs_elsewhere.clone().unwrap_or_else(|| self.folder.join("run"))
    }

    /// Creates missing folders.
    pub(crate) fn make(&self) -> io::Result<()> {
        self.make_in(&mut self.state())
    }

    fn make_in(&self, state: &mut State) -> io::Result<()> {
        if !state.made {
            for folder in [self.workspace(), self.home(), self.run()] {
                std::fs::create_dir_all(folder)?;
            }
            state.made = true;
        }
        Ok(())
    }

    pub(crate) fn begin(&self, container: &str, id: &str) {
        self.state().running.insert(container.to_owned(), id.to_owned());
    }

    /// Kills the processes of a container.
    pub(crate) fn end(&self, container: &str) {
        let mut state = self.state();
        let Some(id) = state.running.remove(container) else { return };
        if state.used {
            kill_marked(processes::CONTAINER, &id);
        }
    }

    /// Kills the processes of all containers.
    pub(crate) fn end_all(&self, uid: &str) {
        let mut state = self.state();
        state.running.clear();
        if state.used {
            kill_marked(processes::POD, uid);
        }
    }

    /// Prevents further starts; the caller kills the processes of all pods at once.
    pub(crate) fn close(&self) {
        self.state().running.clear();
    }

    /// Empties folders of a pod whose processes have ended, except an external one.
    pub(crate) fn wipe(&self, folders: &[PathBuf]) -> io::Result<()> {
        let mut state = self.state();
        if !state.made {
            return Ok(());
        }
        for folder in folders.iter().filter(|folder| self.runs_elsewhere.as_ref() != Some(folder)) {
            remove(folder)?;
        }
        state.made = false;
        self.make_in(&mut state)
    }

    pub(crate) fn start(&self, start: &Start<'_>) -> Result<Child, NotStarted> {
        let mut state = self.state();
        if state.running.get(start.container).is_none_or(|id| id != start.container_id) {
            return Err(NotStarted::Gone);
        }
        self.make_in(&mut state).map_err(NotStarted::Failed)?;
        state.used = true;
        let Some((program, args)) = start.argv.split_first() else {
            return Err(NotStarted::Failed(io::ErrorKind::InvalidInput.into()));
        };
        let piped = |wanted: bool| if wanted { Stdio::piped() } else { Stdio::null() };
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .envs(start.env.iter().map(|(name, value)| (name, value)))
            .env("HOME", self.home())
            .env("RDEV_RUNS_DIR", self.run())
            .current_dir(self.workspace())
            .process_group(0)
            .stdin(piped(start.stdin))
            .stdout(piped(start.stdout))
            .stderr(piped(start.stderr));
        command.spawn().map_err(NotStarted::Failed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
