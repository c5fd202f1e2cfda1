//! Runs a program on this machine behind the interface of an exec channel.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::unfold;
use rdev_ports::{Exec, ExecError, ExecOutput, Pod, RUNNER_EXIT_LOST, Stdin};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::prestarted::Prestarted;

/// Bytes per read while little arrives: most of a thousand running jobs are quiet.
const READ_BYTES_MIN: usize = 16 * 1024;
/// Bytes per read while much arrives.
const READ_BYTES_MAX: usize = 128 * 1024;
/// Capacity of the pipe, so the program goes on writing while its output is being stored.
const PIPE_BYTES: usize = 1024 * 1024;
/// Bytes of standard error that are kept for a message, from its beginning.
const STDERR_BYTES_MAX: u64 = 4 * 1024;

/// Starts programs.
pub(crate) struct Programs {
    pub(crate) runner: PathBuf,
    pub(crate) runs: PathBuf,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) launch: Launch,
    pub(crate) prestarted: Arc<Prestarted>,
}

/// Settings that a program gets where this process has changed them for itself. Between fork and exec
/// nothing can be set without unsafe code, so the runner sets them and then executes the program.
pub(crate) struct Launch {
    pub(crate) umask: u32,
    pub(crate) open_files: Option<u64>,
}

impl Launch {
    fn args(&self) -> Vec<String> {
        let mut args = vec!["exec".to_owned(), "--umask".to_owned(), format!("{:o}", self.umask)];
        args.extend(
            self.open_files.into_iter().flat_map(|limit| ["--open-files".to_owned(), limit.to_string()]),
        );
        args.push("--".to_owned());
        args
    }
}

impl Programs {
    pub(crate) fn start(&self, pod: &Pod, exec: Exec) -> Result<ExecOutput, ExecError> {
        let mut child = match exec.stdin {
            Stdin::None => spawned(self.command(pod, &exec.argv, Stdio::null())?)?,
            Stdin::Given(bytes) => {
                let mut child = spawned(self.command(pod, &exec.argv, Stdio::piped())?)?;
                send(&mut child, bytes);
                child
            }
            Stdin::WaitedFor(bytes) => {
                let mut child = match self.prestarted.take(&exec.argv) {
                    Some(child) => child,
                    None => spawned(self.command(pod, &exec.argv, Stdio::piped())?)?,
                };
                send(&mut child, bytes);
                let next = self.command(pod, &exec.argv, Stdio::piped())?;
                self.prestarted.start_later(exec.argv, next);
                child
            }
        };
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(ExecError::Cut(anyhow::anyhow!("the program's outputs are not connected")));
        };
        if let Err(error) = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE_BYTES) {
            tracing::debug!(%error, "the size of the pipe cannot be changed");
        }
        Ok(output(Channel {
            child,
            stdout,
            stderr: tokio::spawn(beginning(stderr)),
            buffer: BytesMut::new(),
            read_bytes: READ_BYTES_MIN,
        }))
    }

    fn command(&self, pod: &Pod, argv: &[String], stdin: Stdio) -> Result<Command, ExecError> {
        let (program, args) = argv
            .split_first()
            .ok_or_else(|| ExecError::NotStarted("a program to start must have a name".to_owned()))?;
        // The runner serves every project; its working directory is the folder of runs.
        let (program, folder) = match program.as_str() {
            "rdev-runner" => (self.runner.as_os_str(), self.runs.as_os_str()),
            other => (other.as_ref(), pod.workspace.as_ref()),
        };
        let mut command = Command::new(&self.runner);
        command
            .args(self.launch.args())
            .arg(program)
            .args(args)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }
}

fn spawned(mut command: Command) -> Result<Child, ExecError> {
    command.spawn().map_err(|error| {
        let std = command.as_std();
        let (program, folder) =
            (Path::new(std.get_program()), std.get_current_dir().unwrap_or(Path::new(".")));
        ExecError::NotStarted(format!("cannot start {} in {}: {error}", program.display(), folder.display()))
    })
}

fn send(child: &mut Child, bytes: Bytes) {
    let Some(mut stdin) = child.stdin.take() else { return };
    tokio::spawn(async move {
        if let Err(error) = stdin.write_all(&bytes).await {
            tracing::debug!(%error, "the program did not read all of its input");
        }
    });
}

fn output(channel: Channel) -> ExecOutput {
    unfold(Some(channel), |channel| async {
        let mut channel = channel?;
        match channel.read().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(channel))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

struct Channel {
    child: Child,
    stdout: ChildStdout,
    stderr: JoinHandle<String>,
    buffer: BytesMut,
    /// Bytes of the next read: doubled by a full read, halved by a nearly empty one.
    read_bytes: usize,
}

impl Channel {
    /// Returns the next bytes; `None` when the program has ended with code 0.
    async fn read(&mut self) -> Result<Option<Bytes>, ExecError> {
        self.buffer.reserve(self.read_bytes);
        let read = self.stdout.read_buf(&mut self.buffer).await.map_err(anyhow::Error::from)?;
        if read > 0 {
            if read >= self.read_bytes {
                self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
            } else if read < self.read_bytes / 4 {
                self.read_bytes = (self.read_bytes / 2).max(READ_BYTES_MIN);
            }
            return Ok(Some(self.buffer.split().freeze()));
        }
        let status = self.child.wait().await.map_err(anyhow::Error::from)?;
        if status.success() || status.code() == Some(RUNNER_EXIT_LOST) {
            return Ok(None);
        }
        let words = (&mut self.stderr).await.map_err(anyhow::Error::from)?;
        let stderr = words.trim().to_owned();
        Err(match status.code() {
            Some(code) => ExecError::Failed { code, stderr },
            None => ExecError::Cut(anyhow::anyhow!("{status}: {stderr}")),
        })
    }
}

/// Returns the beginning of a program's standard error; the rest is read and dropped.
async fn beginning(mut stderr: ChildStderr) -> String {
    let mut words = Vec::new();
    let kept = (&mut stderr).take(STDERR_BYTES_MAX).read_to_end(&mut words).await;
    if let Err(error) = kept.and(tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await.map(|_| 0)) {
        tracing::debug!(%error, "standard error could not be read");
    }
    String::from_utf8_lossy(&words).into_owned()
}
