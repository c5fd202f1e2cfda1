//! A running exec: its process on one side, the channels on the other.

use std::net::TcpStream;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::CancellationToken;

use super::context::{ExecContext, not_running};
use super::outcome;
use super::tap::{Tap, Valve};
use crate::config::ExecProtocol;
use crate::faults::{Cut, How};
use crate::http::answers::Failure;
use crate::pod_folder::{NotStarted, Start};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
/// Followed by the number of a channel that carries no more data. Since v5.
const CLOSE: u8 = 255;

/// Bytes of output in a message, as from a kubelet.
const PIECE_BYTES: usize = 32 * 1024;
/// Messages queued for the client; further output waits in the process's pipe.
const QUEUE: usize = 4;
/// Time for which outputs may stay open after the end of the process, in other processes.
const OUTPUT_GRACE: Duration = Duration::from_secs(2);
/// Time for the client's close frame, or its end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

type Socket = WebSocketStream<Tap>;
type Sink = SplitSink<Socket, Message>;

/// The program to run, and its connected channels.
pub(super) struct ExecOrder {
    pub(super) argv: Vec<String>,
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
}

/// An exec from its upgrade to its end.
pub(super) struct Session {
    pub(super) order: Arc<ExecOrder>,
    pub(super) protocol: ExecProtocol,
    pub(super) cut: Option<Cut>,
    pub(super) cuts: broadcast::Receiver<How>,
    pub(super) idle_limit: Option<Duration>,
    pub(super) socket: Arc<TcpStream>,
    pub(super) end: CancellationToken,
}

impl Session {
    pub(super) async fn run(mut self, upgraded: Upgraded, context: Result<ExecContext, Failure>) {
        let valve = Valve::new(Arc::clone(&self.socket));
        let tap = Tap::new(TokioIo::new(upgraded), self.cut, Arc::clone(&valve));
        let socket = WebSocketStream::from_raw_socket(tap, Role::Server, None).await;
        let (sink, stream) = socket.split();
        let (queue, messages) = mpsc::channel(QUEUE);
        let last = Activity::default();
        // The start is independent of the session: a runtime starts a requested program whether or not
        // the client is still connected.
        let (begun, stdin) = oneshot::channel();
        tokio::spawn(start(Arc::clone(&self.order), context, queue, last.clone(), begun));

        let mut writing = pin!(write(sink, messages, self.order.lowest_output()));
        let mut reading = pin!(read(stream, stdin, self.protocol, last.clone()));
        let idle_limit = self.idle_limit;
        let mut idle = pin!(last.idle(idle_limit));
        loop {
            tokio::select! {
                () = self.end.cancelled() => return,
                () = &mut idle, if !valve.is_silent() => valve.shut(How::Close),
                how = self.cuts.recv() => valve.shut(how.unwrap_or(How::Close)),
                () = &mut reading => return,
                sent = &mut writing => {
                    if let Err(error) = sent {
                        tracing::debug!(%error, "an exec connection was lost");
                    }
                    break;
                }
            }
            if valve.is_closed() {
                break;
            }
        }
        // Unread input of the client would make the system reset the connection.
        let rest = timeout(CLOSE_TIMEOUT, reading);
        self.end.run_until_cancelled(rest).await;
    }
}

/// Starts the process once its node's runtime is free. The process and its outputs live on without the
/// session, which feeds its input.
async fn start(
    order: Arc<ExecOrder>,
    context: Result<ExecContext, Failure>,
    queue: mpsc::Sender<Message>,
    last: Activity,
    begun: oneshot::Sender<ChildStdin>,
) {
    let started = match context {
        Ok(context) => {
            context.inner.runtimes.acquire(&context.pod, &context.node).await;
            start_in(context, &order)
        }
        Err(failure) => Err(failure),
    };
    let mut child = match started {
        Ok(child) => child,
        Err(failure) => return send_status(&queue, &failure.status()).await,
    };
    if let Some(stdin) = child.stdin.take() {
        // Without a session the input ends.
        begun.send(stdin).ok();
    }
    let ended = CancellationToken::new();
    let errors = if order.tty { STDOUT } else { STDERR };
    let (queues, lasts, ends) = (|| queue.clone(), || last.clone(), || ended.clone());
    let stdout = child.stdout.take().map(|pipe| carry(STDOUT, pipe, queues(), lasts(), ends()));
    let stderr = child.stderr.take().map(|pipe| carry(errors, pipe, queues(), lasts(), ends()));
    let outputs = stdout.map(tokio::spawn).into_iter().chain(stderr.map(tokio::spawn)).collect();
    finish(child, outputs, ended, order.argv.clone(), queue).await;
}

fn start_in(context: ExecContext, order: &ExecOrder) -> Result<Child, Failure> {
    let start = Start {
        container: &context.container,
        container_id: &context.container_id,
        argv: &order.argv,
        env: context.env,
        stdin: order.stdin,
        stdout: order.stdout,
        stderr: order.stderr || order.tty,
    };
    context.pod_folder.start(&start).map_err(|error| match error {
        NotStarted::Gone => not_running(&context.container).late,
        NotStarted::Failed(error) => outcome::not_started(&order.argv, &context.container_id, &error),
    })
}

impl ExecOrder {
    /// Returns the channel whose first message, an empty one, confirms the connection.
    fn lowest_output(&self) -> u8 {
        if self.stdout {
            STDOUT
        } else if self.stderr {
            STDERR
        } else {
            STATUS
        }
    }
}

/// Time of the last data on a channel.
#[derive(Clone)]
struct Activity(Arc<Mutex<Instant>>);

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Activity {
    fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn at(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns after this time without data.
    async fn idle(&self, limit: Option<Duration>) {
        let Some(limit) = limit else { return std::future::pending().await };
        loop {
            let until = self.at() + limit;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// Sends queued messages, then a close frame.
async fn write(
    mut sink: Sink,
    mut messages: mpsc::Receiver<Message>,
    first: u8,
) -> Result<(), tungstenite::Error> {
    sink.send(message(first, &[])).await?;
    while let Some(message) = messages.recv().await {
        sink.send(message).await?;
    }
    let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    sink.send(Message::Close(Some(normal))).await
}

/// Passes the client's input to the process, until the client disconnects.
async fn read(
    mut stream: SplitStream<Socket>,
    mut begun: oneshot::Receiver<ChildStdin>,
    protocol: ExecProtocol,
    last: Activity,
) {
    // Reads from the client before the process exists: it may send pings.
    let mut early = Vec::new();
    let mut stdin = loop {
        tokio::select! {
            stdin = &mut begun => break stdin.ok(),
            message = stream.next() => match message {
                Some(Ok(message)) => early.push(Ok(message)),
                Some(Err(_)) | None => return,
            },
        }
    };
    let mut messages = futures_util::stream::iter(early).chain(stream);
    while let Some(Ok(message)) = messages.next().await {
        let Message::Binary(bytes) = message else {
            // A close frame ends the input at once; the next read of the stream answers it.
            if message.is_close() {
                stdin = None;
            }
            continue;
        };
        last.touch();
        match bytes.split_first() {
            Some((&STDIN, data)) => {
                let Some(pipe) = &mut stdin else { continue };
                if pipe.write_all(data).await.is_err() {
                    stdin = None;
                }
            }
            Some((&CLOSE, [STDIN])) if protocol == ExecProtocol::V5 => stdin = None,
            _ => {}
        }
    }
}

/// Reads an output to its end. Without a client the output is dropped: the process does not notice.
async fn carry(
    channel: u8,
    mut pipe: impl AsyncRead + Unpin,
    queue: mpsc::Sender<Message>,
    last: Activity,
    ended: CancellationToken,
) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let overdue = async {
            ended.cancelled().await;
            sleep(OUTPUT_GRACE).await;
        };
        let count = tokio::select! {
            count = pipe.read(&mut piece) => count.unwrap_or(0),
            () = overdue => 0,
        };
        if count == 0 {
            return;
        }
        last.touch();
        let data = piece.get(..count).unwrap_or_default();
        // Fails when the session has ended.
        queue.send(message(channel, data)).await.ok();
    }
}

/// Sends the status when the process has ended and its outputs are empty.
async fn finish(
    mut child: Child,
    outputs: Vec<JoinHandle<()>>,
    ended: CancellationToken,
    argv: Vec<String>,
    queue: mpsc::Sender<Message>,
) {
    let status = match child.wait().await {
        Ok(status) => outcome::ended(&argv, status),
        Err(error) => Failure::internal(&error.to_string()).status(),
    };
    ended.cancel();
    for output in outputs {
        if let Err(error) = output.await {
            tracing::debug!(%error, "an output was not read to its end");
        }
    }
    send_status(&queue, &status).await;
}

async fn send_status(queue: &mpsc::Sender<Message>, status: &Status) {
    let bytes = serde_json::to_vec(status).unwrap_or_default();
    // Fails when the session has ended.
    queue.send(message(STATUS, &bytes)).await.ok();
}

fn message(channel: u8, data: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(data.len() + 1);
    bytes.push(channel);
    bytes.extend_from_slice(data);
    Message::Binary(Bytes::from(bytes))
}
