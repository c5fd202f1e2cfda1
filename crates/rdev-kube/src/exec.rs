//! Programs in a pod, over the cluster's exec protocol, with a loop of its own over kube's connection.
//!
//! kube's `AttachedProcess` never ends its pipes when a connection is cut, deadlocks while one of them is
//! not read, and moves 1 KiB at a time. Here the reader pulls messages from the socket: nothing is
//! buffered beyond one message, a slow reader slows the program, and each way to end has its own error.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::AttachParams;
use kube::client::UpgradeConnectionError;
use kube::core::Request;
use kube::{Client, Resource};
use rdev_ports::EXEC_START_TIMEOUT;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

/// Silence after which a ping is sent.
const PING_AFTER: Duration = Duration::from_secs(10);
/// Silence after which the connection counts as dead: two pings have no answer either.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Bytes of standard error that are kept for a message, from its beginning.
const STDERR_BYTES_MAX: usize = 4 * 1024;
/// Bytes of standard input in one message.
const STDIN_BYTES: usize = 32 * 1024;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
/// In v5: the channel of the second byte is closed.
const CLOSE: u8 = 255;

/// Container in which a program is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExecTarget {
    pub(crate) namespace: String,
    pub(crate) node: String,
    pub(crate) pod: String,
    pub(crate) container: String,
}

/// Failure of a program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    /// The cluster does not accept rdev's credentials.
    #[error("the API server does not accept rdev's token or certificate")]
    Unauthorized,
    /// The cluster forbids exec to this user.
    #[error("the cluster forbids exec: the Role needs the verbs get and create on pods/exec")]
    Forbidden,
    /// The pod or its container does not exist, or does not run.
    #[error("the cluster says {0}: the pod or its container is not there, or does not run")]
    NotThere(u16),
    /// The image has no such program.
    #[error("{0}")]
    NoProgram(String),
    /// A component between rdev and the program reports a failure in unknown words.
    #[error("{0}")]
    NotRun(String),
    /// The program ended with another code than 0.
    #[error("program ended with code {code}: {stderr}")]
    Exit {
        /// Exit code of the program.
        code: i32,
        /// The beginning of its standard error.
        stderr: String,
    },
    /// No connection was made: nothing was requested.
    #[error(transparent)]
    Unreached(anyhow::Error),
    /// The connection ended without a status of the program.
    #[error(transparent)]
    Cut(#[from] anyhow::Error),
}

impl From<ExecError> for rdev_ports::ExecError {
    fn from(error: ExecError) -> Self {
        match error {
            ExecError::Unauthorized | ExecError::Forbidden => Self::Forbidden(error.to_string()),
            ExecError::NoProgram(message) => Self::NotStarted(message),
            ExecError::Exit { code, stderr } => Self::Failed { code, stderr },
            // The state of the pod tells what happened to it.
            ExecError::NotThere(_) | ExecError::NotRun(_) => Self::Cut(anyhow::Error::new(error)),
            ExecError::Unreached(error) => Self::Unreached(error),
            ExecError::Cut(error) => Self::Cut(error),
        }
    }
}

/// The connection that kube has opened.
trait Socket: Stream<Item = Result<Message, WsError>> + Sink<Message, Error = WsError> + Send + Unpin {}

impl<S> Socket for S where
    S: Stream<Item = Result<Message, WsError>> + Sink<Message, Error = WsError> + Send + Unpin
{
}

/// Channel to a program that runs, or has just ended.
pub(crate) struct Channel {
    socket: Box<dyn Socket>,
    program: String,
    stderr: BytesMut,
}

/// Starts a program and sends its input.
pub(crate) async fn start(
    client: &Client,
    target: &ExecTarget,
    argv: &[String],
    stdin: &[u8],
) -> Result<Channel, ExecError> {
    let path = Pod::url_path(&(), Some(&target.namespace));
    // Standard input is requested even when there is none: some runtimes end the output early without it.
    let params = AttachParams::default().stdin(true).stderr(true).container(&target.container);
    let request = Request::new(path).exec(&target.pod, argv, &params).map_err(anyhow::Error::from)?;
    let connecting = timeout(EXEC_START_TIMEOUT, client.connect(request)).await;
    let not_in_time = |_| cut(format!("the program did not start within {EXEC_START_TIMEOUT:?}"));
    let connection = connecting.map_err(not_in_time)?.map_err(refused)?;
    let can_close = connection.supports_stream_close();
    let program = argv.first().cloned().unwrap_or_default();
    let socket = Box::new(connection.into_stream());
    let mut channel = Channel { socket, program, stderr: BytesMut::new() };
    for piece in stdin.chunks(STDIN_BYTES) {
        let mut message = BytesMut::with_capacity(piece.len() + 1);
        message.put_u8(STDIN);
        message.put_slice(piece);
        channel.send(Message::Binary(message.freeze())).await?;
    }
    // Programs of rdev read no further than they must, since v4 cannot signal the end of input.
    if can_close {
        channel.send(Message::Binary(Bytes::from_static(&[CLOSE, STDIN]))).await?;
    }
    Ok(channel)
}

impl Channel {
    /// Returns the next bytes of standard output; `None` when the program has ended with code 0.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ExecError> {
        // Silence counts from the call: before the call, no reader served the socket.
        let (mut received, mut pinged) = (Instant::now(), Instant::now());
        loop {
            let message = tokio::select! {
                message = self.socket.next() => message,
                () = sleep_until(pinged + PING_AFTER) => {
                    if received.elapsed() >= SILENCE_MAX {
                        return Err(cut(format!("no message arrived for {SILENCE_MAX:?}")));
                    }
                    pinged = Instant::now();
                    self.send(Message::Ping(Bytes::new())).await?;
                    continue;
                }
            };
            (received, pinged) = (Instant::now(), Instant::now());
            let bytes = match message {
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Text(_) | Message::Frame(_))) => {
                    continue;
                }
                // Closed without a status: the program's result is unknown.
                Some(Ok(Message::Close(_))) | None => {
                    return Err(cut("the connection was closed without a status"));
                }
                Some(Err(error)) => return Err(ExecError::Cut(error.into())),
            };
            match bytes.first() {
                Some(&STDOUT) if bytes.len() > 1 => return Ok(Some(bytes.slice(1..))),
                Some(&STDERR) => {
                    let room = STDERR_BYTES_MAX.saturating_sub(self.stderr.len());
                    self.stderr.put_slice(&bytes[1..bytes.len().min(room + 1)]);
                }
                Some(&STATUS) if bytes.len() > 1 => return self.ended(&bytes[1..]).map(|()| None),
                _ => {}
            }
        }
    }

    /// Returns the whole output of a short program.
    pub(crate) async fn collect(mut self, bytes_max: usize) -> Result<String, ExecError> {
        let mut all = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            all.put_slice(&bytes);
            if all.len() > bytes_max {
                return Err(cut(format!("the program wrote more than {bytes_max} bytes")));
            }
        }
        Ok(String::from_utf8_lossy(&all).into_owned())
    }

    fn ended(&self, status: &[u8]) -> Result<(), ExecError> {
        let status: Status = serde_json::from_slice(status).map_err(anyhow::Error::from)?;
        if status.status.as_deref() == Some("Success") {
            return Ok(());
        }
        let causes =
            status.details.as_ref().and_then(|details| details.causes.as_deref()).unwrap_or_default();
        let code = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
        let code = code.and_then(|cause| cause.message.as_ref()?.parse::<i32>().ok());
        let message = status.message.unwrap_or_default();
        let stderr = String::from_utf8_lossy(&self.stderr).trim().to_owned();
        Err(ended(&self.program, code, message, stderr))
    }

    async fn send(&mut self, message: Message) -> Result<(), ExecError> {
        let sent: Result<(), WsError> = match timeout(SILENCE_MAX, self.socket.send(message)).await {
            Ok(sent) => sent,
            Err(_) => return Err(cut(format!("nothing could be sent for {SILENCE_MAX:?}"))),
        };
        sent.map_err(|error| ExecError::Cut(error.into()))
    }
}

fn cut(message: impl Into<String>) -> ExecError {
    ExecError::Cut(anyhow::Error::msg(message.into()))
}

/// Classifies an unsuccessful end by the words of the cluster (`message`), and by those of the program or
/// its runtime (`stderr`).
fn ended(program: &str, code: Option<i32>, message: String, stderr: String) -> ExecError {
    if says_missing(program, &message) || says_missing(program, &stderr) {
        return ExecError::NoProgram(format!("{message} {stderr}").trim().to_owned());
    }
    match code {
        Some(code) => ExecError::Exit { code, stderr },
        None => ExecError::NotRun(message),
    }
}

/// Tells whether the words report a missing program. Container runtimes report one in words only, each in
/// its own, and some pass them on as the program's, with an exit code. Their reports of a container that
/// ends mention missing files too, but never name the program.
fn says_missing(program: &str, words: &str) -> bool {
    let words = words.replace('\\', "");
    let named = ['"', '\'', '`'].iter().any(|quote| words.contains(&format!("{quote}{program}{quote}")))
        || words.contains(&format!("the file {program} was not found"));
    let words = words.to_lowercase();
    named && (words.contains("not found") || words.contains("no such file"))
}

fn refused(error: kube::Error) -> ExecError {
    let code = match &error {
        kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(code)) => code.as_u16(),
        kube::Error::Api(status) => status.code,
        _ if is_unreached(&error) => return ExecError::Unreached(error.into()),
        _ => return ExecError::Cut(error.into()),
    };
    match code {
        401 => ExecError::Unauthorized,
        403 => ExecError::Forbidden,
        400 | 404 | 409 => ExecError::NotThere(code),
        _ => ExecError::Cut(error.into()),
    }
}

/// Tells whether no connection was made, so that no byte of the request was sent.
fn is_unreached(error: &(dyn std::error::Error + 'static)) -> bool {
    use hyper_util::client::legacy::Error;
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.filter_map(|error| error.downcast_ref::<Error>()).any(Error::is_connect)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By runtime and version: exit code, message, standard error.
    const NO_SHELL: [(&str, Option<i32>, &str, &str); 11] = [
        (
            "runc 1.0, containerd 1.4",
            None,
            r#"Internal error occurred: error executing command in container: failed to exec in container: failed to start exec "3c3a": OCI runtime exec failed: exec failed: container_linux.go:370: starting container process caused: exec: "sh": executable file not found in $PATH: unknown"#,
            "",
        ),
        (
            "runc 1.1, containerd 1.6 and 1.7",
            None,
            r#"Internal error occurred: error executing command in container: failed to exec in container: failed to start exec "3c3a": OCI runtime exec failed: exec failed: unable to start container process: exec: "sh": executable file not found in $PATH: unknown"#,
            "",
        ),
        (
            "runc 1.2 and later, containerd 2",
            None,
            r#"Internal error occurred: Internal error occurred: error executing command in container: failed to exec in container: failed to start exec "3c3a": OCI runtime exec failed: exec failed: unable to start container process: error during container init: exec: "sh": executable file not found in $PATH"#,
            "",
        ),
        (
            "runc, quoted once more",
            None,
            r#"rpc error: code = 2 desc = oci runtime error: exec failed: starting container process caused "exec: \"sh\": executable file not found in $PATH""#,
            "",
        ),
        (
            "runc, dockershim",
            Some(126),
            "command terminated with exit code 126",
            r#"OCI runtime exec failed: exec failed: container_linux.go:349: starting container process caused "exec: \"sh\": executable file not found in $PATH": unknown"#,
        ),
        (
            "runc, CRI-O",
            Some(255),
            "command terminated with non-zero exit code: exit status 255",
            r#"time="2026-01-01T00:00:00Z" level=error msg="exec failed: unable to start container process: exec: \"sh\": executable file not found in $PATH""#,
        ),
        (
            "crun, CRI-O",
            Some(1),
            "command terminated with non-zero exit code: exit status 1",
            "executable file `sh` not found in $PATH: No such file or directory",
        ),
        (
            "crun, containerd",
            None,
            r#"failed to exec in container: failed to start exec "3c3a": OCI runtime exec failed: crun: executable file `sh` not found: No such file or directory: unknown"#,
            "",
        ),
        (
            "youki",
            None,
            r#"failed to start exec "3c3a": OCI runtime exec failed: executable 'sh' not found in $PATH: unknown"#,
            "",
        ),
        (
            "runsc",
            Some(128),
            "command terminated with non-zero exit code",
            r#"OCI runtime exec failed: starting container: error finding executable "sh" in PATH [/usr/bin /bin]: no such file or directory"#,
        ),
        (
            "kata 3",
            None,
            r#"failed to start exec "3c3a": Others("failed to handler message handler request: rpc status: code: INTERNAL message: \"the file sh was not found\""): unknown"#,
            "",
        ),
    ];

    #[test]
    fn a_missing_shell_is_recognised_for_every_runtime() {
        for (runtime, code, message, stderr) in NO_SHELL {
            let error = ended("sh", code, message.to_owned(), stderr.to_owned());
            assert!(matches!(error, ExecError::NoProgram(_)), "{runtime}: {error:?}");
            let other = ended("bash", code, message.to_owned(), stderr.to_owned());
            assert!(!matches!(other, ExecError::NoProgram(_)), "{runtime}, another program: {other:?}");
        }
    }

    #[test]
    fn a_container_that_ends_is_no_missing_shell() {
        for message in [
            "OCI runtime exec failed: exec failed: unable to start container process: error adding pid 4711 to cgroups: failed to write 4711: openat2 /sys/fs/cgroup/kubepods.slice/cri-containerd-3c3a.scope/cgroup.procs: no such file or directory: unknown",
            "OCI runtime exec failed: exec failed: cannot exec in a stopped container: unknown",
            "OCI runtime exec failed: exec failed: unable to start container process: error executing setns process: exit status 1: unknown",
            r#"OCI runtime exec failed: exec failed: unable to start container process: chdir to cwd ("/workspace") set in config.json failed: no such file or directory: unknown"#,
            r#"failed to exec in container: failed to load task: no running task found: task 3c3a not found: not found"#,
            "exec failed: container state.json: no such file or directory",
            "error opening file `/run/user/0/crun/3c3a/status`: No such file or directory",
            "the container `3c3a` is not running",
            "error executing command in container: container is not created or running",
            r#"error executing command in container: rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: no such file or directory""#,
            "ttrpc: closed: unknown",
            "ENOENT: No such file or directory",
        ] {
            let error = ended("sh", None, message.to_owned(), String::new());
            assert!(matches!(error, ExecError::NotRun(_)), "{message}: {error:?}");
        }
    }

    #[test]
    fn a_program_missing_in_a_shell_is_no_missing_shell() {
        for stderr in ["sh: 2: sha256sum: not found", "sh: line 1: cd: /run/rdev: No such file or directory"]
        {
            let error = ended("sh", Some(127), "exit code 127".to_owned(), stderr.to_owned());
            assert!(matches!(error, ExecError::Exit { code: 127, .. }), "{stderr}: {error:?}");
        }
    }
}
