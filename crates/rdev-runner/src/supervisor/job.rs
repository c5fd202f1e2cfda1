//! The command and all processes that it has started.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, nice, wait};

use super::schedule::Act;
use super::tree;
use crate::fault::plain;
use crate::frame::Ended;
use crate::orphans::Mark;
use crate::processes::{self, Process};
use crate::spec::Spec;

/// Largest pipe of an unprivileged process: a command that writes much then rarely blocks before the next
/// read.
const PIPE_BYTES: usize = 1024 * 1024;
/// Added to the command's badness, so that a lack of memory kills it and not its supervisor.
const OOM_SCORE_ADDED: i32 = 500;
/// Longest wait for killed processes in one act.
const KILL_WAIT: Duration = Duration::from_millis(500);
const KILL_POLL: Duration = Duration::from_millis(1);

/// Our ends of the command's pipes, all non-blocking.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Failure to execute a command.
#[derive(Debug)]
pub(crate) struct SpawnError {
    pub(crate) errno: i32,
    pub(crate) message: String,
}

/// The processes of a run.
#[derive(Debug)]
pub(crate) struct Job {
    main: Pid,
    started: Instant,
    ended: Option<(Ended, Instant)>,
    /// True when no process is left.
    all_ended: bool,
    leftovers: HashSet<Pid>,
}

impl Job {
    /// Starts the command in a process group of its own, with the run's mark.
    pub(crate) fn spawn(spec: &Spec, mark: &Mark) -> Result<(Self, Pipes), SpawnError> {
        let mut command = Command::new(&spec.argv[0]);
        command
            .args(&spec.argv[1..])
            .envs(spec.env.iter().map(|(name, value)| (name, value)))
            .envs(mark.variables())
            .process_group(0)
            .stdin(if spec.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if !spec.cwd.is_empty() {
            command.current_dir(&spec.cwd);
        }
        let started = Instant::now();
        let child = command.spawn().map_err(|error| SpawnError::new(spec, &error))?;
        let job = Self {
            main: Pid::from_child(&child),
            started,
            ended: None,
            all_ended: false,
            leftovers: HashSet::new(),
        };
        expose_to_oom_killer(child.id());
        match (child.stdout, child.stderr) {
            (Some(stdout), Some(stderr)) => Ok((
                job,
                Pipes {
                    stdin: child.stdin.map(|pipe| ours(pipe.into())),
                    stdout: ours(stdout.into()),
                    stderr: ours(stderr.into()),
                },
            )),
            _ => unreachable!("both outputs were asked for as pipes"),
        }
    }

    /// Returns how and when the command's main process ended.
    pub(crate) fn ended(&self) -> Option<(Ended, Instant)> {
        self.ended
    }

    /// Returns the time from the start to the end of the command's main process.
    pub(crate) fn duration(&self) -> Duration {
        self.ended.map_or_else(|| self.started.elapsed(), |(_, at)| at - self.started)
    }

    /// Tells whether the command and all its descendants have ended.
    pub(crate) fn all_ended(&self) -> bool {
        self.all_ended
    }

    /// Returns the number of processes that were signalled after the main process had ended.
    pub(crate) fn leftovers(&self) -> u32 {
        self.leftovers.len() as u32
    }

    /// Reaps every process that has ended.
    pub(crate) fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.main => {
                    let ended = match status.terminating_signal() {
                        Some(signal) => Ended::Signaled(signal),
                        None => Ended::Exited(status.exit_status().unwrap_or_default()),
                    };
                    self.ended = Some((ended, Instant::now()));
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return,
                Err(_) => {
                    self.all_ended = true;
                    return;
                }
            }
        }
    }

    pub(crate) fn act(&mut self, act: Act) {
        match act {
            Act::Interrupt if self.ended.is_none() => {
                // Only we reap the process, so until then its id cannot belong to another.
                kill_process(self.main, Signal::INT).ok();
            }
            Act::Interrupt => {}
            Act::Terminate => {
                let processes = tree::descendants(|_| {});
                self.count_leftovers(&processes);
                processes::send(&processes, Signal::TERM);
                // A stopped process handles the signal only after it continues.
                processes::send(&processes, Signal::CONT);
            }
            Act::Kill => self.kill(),
        }
    }

    fn kill(&mut self) {
        // Hundreds of runaway processes leave little time to the one that ends them; some containers
        // forbid this.
        nice(-20).ok();
        let until = Instant::now() + KILL_WAIT;
        loop {
            let killed = processes::freeze_and_kill(until, |found| tree::descendants(found));
            self.count_leftovers(&killed);
            self.reap();
            if self.all_ended || Instant::now() >= until {
                return;
            }
            std::thread::sleep(KILL_POLL);
        }
    }

    /// Counts the processes that go on after the command. The output of a process closes while it ends, so one that is
    /// ending does not go on.
    fn count_leftovers(&mut self, processes: &[Process]) {
        if self.ended.is_some() {
            self.leftovers
                .extend(processes.iter().filter(|process| !process.exiting).map(|process| process.pid));
        }
    }
}

impl SpawnError {
    fn new(spec: &Spec, error: &io::Error) -> Self {
        let why = plain(error);
        let message = if spec.cwd.is_empty() || Path::new(&spec.cwd).is_dir() {
            format!("rdev-runner: cannot run {:?}: {why}\n", spec.argv[0])
        } else {
            format!("rdev-runner: cannot run {:?} in {:?}: {why}\n", spec.argv[0], spec.cwd)
        };
        Self {
            // The standard library refuses a zero byte in an argument without a system call.
            errno: error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error()),
            message,
        }
    }
}

fn ours(pipe: OwnedFd) -> OwnedFd {
    // A smaller pipe works as well, only slower.
    fcntl_setpipe_size(&pipe, PIPE_BYTES).ok();
    // This cannot fail on an open pipe.
    rustix::io::ioctl_fionbio(&pipe, true).ok();
    pipe
}

fn expose_to_oom_killer(pid: u32) {
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    let score = (own.trim().parse().unwrap_or(0) + OOM_SCORE_ADDED).min(1000);
    // The command may have ended already; it runs without this setting as well.
    std::fs::write(OsStr::new(&format!("/proc/{pid}/oom_score_adj")), score.to_string()).ok();
}
