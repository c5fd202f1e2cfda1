//! Programs in a pod, over the cluster's exec protocol, with an own loop over kube's connection.
//!
//! Its `AttachedProcess` never ends its pipes when a connection is cut, deadlocks while one of them is not
//! read, and moves 1 KiB at a time. Here the reader pulls messages from the socket itself: nothing is
//! buffered beyond one message, a slow reader slows the program, and each way to end has its own name.

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

/// Silence after which the other side is asked whether it is there.
const PING_AFTER: Duration = Duration::from_secs(10);
/// Silence after which it is taken for gone: no answer to two questions either.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The beginning of standard error that is kept for a message.
const STDERR_BYTES_MAX: usize = 4 * 1024;
/// Standard input that one message carries.
const STDIN_BYTES: usize = 32 * 1024;
/// Exit codes of shells, and of some container runtimes, for a program that is not there.
const EXIT_NOT_FOUND: [i32; 2] = [126, 127];

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
/// In v5: the channel of the second byte is closed.
const CLOSE: u8 = 255;

/// Where a program is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) container: String,
}

/// How a program did not do what it was started for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    /// The cluster does not let this user.
    #[error("the cluster forbids exec: the Role needs the verbs get and create on pods/exec")]
    Forbidden,
    /// The pod, or its container, is not there, or does not run.
    #[error("the cluster says {0}: the pod or its container is not there, or does not run")]
    NotThere(u16),
    /// There is no such program in the image.
    #[error("{0}")]
    NoProgram(String),
    /// It ended with another code than 0.
    #[error("it ended with code {code}: {stderr}")]
    Exit {
        /// Its exit code.
        code: i32,
        /// The beginning of what it wrote to standard error.
        stderr: String,
    },
    /// The connection was not made, or ended without a word on how the program did.
    #[error(transparent)]
    Cut(#[from] anyhow::Error),
}

impl From<ExecError> for rdev_ports::ExecError {
    fn from(error: ExecError) -> Self {
        match error {
            ExecError::Forbidden => Self::NotStarted(error.to_string()),
            ExecError::NoProgram(message) => Self::NotStarted(message),
            ExecError::Exit { code, stderr } => Self::Failed { code, stderr },
            // What became of the pod is told by the pod.
            ExecError::NotThere(_) => Self::Cut(anyhow::Error::new(error)),
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

/// A program that runs, or has just ended.
pub(crate) struct Channel {
    socket: Box<dyn Socket>,
    stderr: BytesMut,
}

/// Starts a program, and gives it its input.
pub(crate) async fn start(
    client: &Client,
    target: &Target,
    argv: &[String],
    stdin: &[u8],
) -> Result<Channel, ExecError> {
    let path = Pod::url_path(&(), Some(&target.namespace));
    // Input is asked for even where there is none: some runtimes end output early without.
    let params = AttachParams::default().stdin(true).stderr(true).container(&target.container);
    let request = Request::new(path).exec(&target.pod, argv, &params).map_err(anyhow::Error::from)?;
    let connecting = timeout(EXEC_START_TIMEOUT, client.connect(request)).await;
    let not_in_time = |_| cut(format!("it did not start in {EXEC_START_TIMEOUT:?}"));
    let connection = connecting.map_err(not_in_time)?.map_err(refused)?;
    let can_close = connection.supports_stream_close();
    let mut channel = Channel { socket: Box::new(connection.into_stream()), stderr: BytesMut::new() };
    for piece in stdin.chunks(STDIN_BYTES) {
        let mut message = BytesMut::with_capacity(piece.len() + 1);
        message.put_u8(STDIN);
        message.put_slice(piece);
        channel.send(Message::Binary(message.freeze())).await?;
    }
    // Programs here read no further than they must, since v4 cannot say that input has ended.
    if can_close {
        channel.send(Message::Binary(Bytes::from_static(&[CLOSE, STDIN]))).await?;
    }
    Ok(channel)
}

impl Channel {
    /// The next bytes of standard output; `None` when the program has ended with code 0.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ExecError> {
        // While nobody asked, nobody could hear: that time does not count as silence.
        let (mut heard, mut asked) = (Instant::now(), Instant::now());
        loop {
            let message = tokio::select! {
                message = self.socket.next() => message,
                () = sleep_until(asked + PING_AFTER) => {
                    if heard.elapsed() >= SILENCE_MAX {
                        return Err(cut(format!("nothing was heard for {SILENCE_MAX:?}")));
                    }
                    asked = Instant::now();
                    self.send(Message::Ping(Bytes::new())).await?;
                    continue;
                }
            };
            (heard, asked) = (Instant::now(), Instant::now());
            let bytes = match message {
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Text(_) | Message::Frame(_))) => {
                    continue;
                }
                // Closed without a status: how the program did is not known.
                Some(Ok(Message::Close(_))) | None => return Err(cut("it was closed without a status")),
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

    /// Everything that a short program writes.
    pub(crate) async fn whole(mut self, bytes_max: usize) -> Result<String, ExecError> {
        let mut all = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            all.put_slice(&bytes);
            if all.len() > bytes_max {
                return Err(cut(format!("it writes more than {bytes_max} bytes")));
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
        Err(match code {
            Some(code)
                if EXIT_NOT_FOUND.contains(&code)
                    && (says_not_found(&stderr) || says_not_found(&message)) =>
            {
                ExecError::NoProgram(format!("{message} {stderr}").trim().to_owned())
            }
            Some(code) => ExecError::Exit { code, stderr },
            None if says_not_found(&message) => ExecError::NoProgram(message),
            None => cut(message),
        })
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

/// Container runtimes tell of a missing program in words only; a socket of theirs that is missing is told
/// in some of the same words.
fn says_not_found(words: &str) -> bool {
    words.contains("executable file not found")
        || words.contains("exec") && words.contains("no such file or directory") && !words.contains("dial ")
}

fn refused(error: kube::Error) -> ExecError {
    let code = match &error {
        kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(code)) => code.as_u16(),
        kube::Error::Api(status) => status.code,
        _ => return ExecError::Cut(error.into()),
    };
    match code {
        401 | 403 => ExecError::Forbidden,
        400 | 404 | 409 => ExecError::NotThere(code),
        _ => ExecError::Cut(error.into()),
    }
}
