//! One command, from its claim to its end: start or attach, store what comes, finish.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rdev_domain::{CommandId, Ending, Error, Outcome, Position, Reason, Request, Result, Seq};
use rdev_ports::{
    Claim, Clock, EXEC_START_TIMEOUT, EventLog, Exec, ExecOutput, Place, Pods, Stdin, TaskQueue,
};
use rdev_runner::frame::{Ended, Exit, StopCause, decode_all};
use rdev_runner::spec::Order;
use tokio::time::{Instant, sleep_until, timeout};

use crate::agent::AgentWatch;
use crate::frames::{Intake, Last};
use crate::invocation::{GRACE, spec};
use crate::janitor::Janitor;
use crate::live::{Live, Tail};

/// A channel that is silent this long is dead: the runner speaks every 10 s.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Pauses between attempts to reach the runner again: doubled each time, up to the last.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(5);
/// A command whose runner was not reached for its whole time and this much longer is given up.
const UNREACHED_MAX: Duration = Duration::from_secs(300);
/// Entries read at once when an agent's earlier lines are read again.
const REREAD_ENTRIES: u32 = 16;

/// Output that follows other output so soon is stored together with what comes within this time: a command
/// that writes line by line costs a few hundred transactions a second, not tens of thousands.
const GATHER: Duration = Duration::from_millis(3);

/// What every execution needs.
pub(crate) struct Executor {
    pub(crate) pods: Arc<dyn Pods>,
    pub(crate) queue: Arc<dyn TaskQueue>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) live: Live,
    pub(crate) janitor: Janitor,
}

/// How one connection to the runner ended.
enum Connection {
    /// The command is over; its complete event has this number.
    Over(Outcome, Seq),
    /// It was cut, for this reason.
    Cut(anyhow::Error),
}

/// A command while a worker has it.
struct Execution<'a> {
    to: &'a Executor,
    claim: &'a Claim,
    tail: Arc<Tail>,
    place: Place,
    last_seq: Seq,
    agent: Option<AgentWatch>,
}

impl Executor {
    /// Runs a claimed command to its end. Dropping the future leaves the command running, and everything
    /// stored so that another call goes on where this one stopped.
    ///
    /// # Errors
    /// `LeaseLost` when another worker has taken over; `Unavailable` when a store failed.
    pub(crate) async fn run(&self, claim: &Claim) -> Result<()> {
        let command = &claim.command;
        let tail = self.live.tail(&command.id);
        let Some(place) = self.pods.place(&command.project).await? else {
            let outcome = failed(Reason::PodLost, format!("project {} no longer exists", command.project));
            return self.finish(claim, claim.last_seq.next(), outcome).await;
        };
        let started = self.queue.start(&claim.fence, &place.uid, self.clock.now()).await?;
        let first_start = started.entry.is_some();
        if let Some(entry) = started.entry {
            self.live.publish(entry);
        }
        if started.place_uid != place.uid {
            let outcome = failed(Reason::PodLost, "the place it ran in was replaced, its end is unknown");
            return self.finish(claim, claim.last_seq.next(), outcome).await;
        }
        if started.cancel_requested {
            if first_start {
                let outcome = Outcome::without_process(Ending::Cancelled, "cancelled before it started");
                return self.finish(claim, claim.last_seq.next(), outcome).await;
            }
            tail.stop.cancel();
        }
        let mut execution = Execution { to: self, claim, tail, place, last_seq: claim.last_seq, agent: None };
        if let Request::Claude(_) = &command.request {
            execution.agent = Some(self.reread(claim).await?);
        }
        let (outcome, seq) = execution.supervise().await?;
        let place = execution.place;
        self.finish(claim, seq, outcome).await?;
        self.janitor.ended(place, claim.fence.id.clone());
        Ok(())
    }

    async fn finish(&self, claim: &Claim, seq: Seq, outcome: Outcome) -> Result<()> {
        let entry = until_stored(&claim.fence.id, || {
            self.queue.finish(&claim.fence, seq, outcome.clone(), self.clock.now())
        });
        self.live.publish(entry.await?);
        Ok(())
    }

    /// What an agent said before this worker took over.
    async fn reread(&self, claim: &Claim) -> Result<AgentWatch> {
        let mut watch = AgentWatch::default();
        if claim.last_seq == Seq::ZERO {
            return Ok(watch);
        }
        let mut after = Position::ZERO;
        loop {
            let entries = self.log.read_command(&claim.fence.id, after, REREAD_ENTRIES).await?;
            let Some(last) = entries.last() else { break };
            after = last.position;
            for entry in entries {
                if let rdev_domain::EntryBody::Output(frames) = entry.body {
                    for frame in decode_all(frames) {
                        watch.see(&frame.map_err(anyhow::Error::from)?);
                    }
                }
            }
        }
        Ok(watch)
    }
}

impl Execution<'_> {
    /// Connects to the runner until it has told the command's end.
    async fn supervise(&mut self) -> Result<(Outcome, Seq)> {
        let mut backoff = Backoff::default();
        let mut unreached_since = self.to.clock.now();
        let patience = self.claim.command.timeout + UNREACHED_MAX;
        loop {
            let before = self.last_seq;
            match self.connect().await? {
                Connection::Over(outcome, seq) => return Ok((outcome, seq)),
                Connection::Cut(error) => {
                    tracing::warn!(
                        command = %self.claim.fence.id,
                        after = self.last_seq.0,
                        error = format!("{error:#}"),
                        "the connection to the runner was cut, attaching again"
                    );
                }
            }
            if self.last_seq > before {
                (backoff, unreached_since) = (Backoff::default(), self.to.clock.now());
            } else if self.to.clock.now().since(unreached_since) > patience {
                let outcome =
                    failed(Reason::RunnerLost, "the runner was not reached again, its end is unknown");
                return Ok((outcome, self.last_seq.next()));
            }
            backoff.wait().await;
        }
    }

    /// One connection. The runner starts the command the first time, and attaches every time after.
    async fn connect(&mut self) -> Result<Connection> {
        let id = self.claim.fence.id.as_str();
        let spec = spec(&self.claim.command, &self.place);
        let order = Order { id: id.to_owned(), after: self.last_seq.0, spec };
        let program = exec(&["rdev-runner", "run", "--order-stdin"], Stdin::WaitedFor(order.encode().into()));
        let output = match timeout(EXEC_START_TIMEOUT, self.to.pods.exec(&self.place, program)).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Ok(Connection::Cut(error.into())),
            Err(_) => {
                return Ok(Connection::Cut(anyhow::anyhow!("it did not start in {EXEC_START_TIMEOUT:?}")));
            }
        };
        let mut intake = Intake::after(self.last_seq);
        let connection = self.follow(output, &mut intake).await?;
        // What the agent's watch has seen must not come to it a second time.
        self.store(&mut intake).await?;
        Ok(connection)
    }

    /// Takes what the runner sends, until the command's end or the connection's.
    async fn follow(&mut self, mut output: ExecOutput, intake: &mut Intake) -> Result<Connection> {
        let id = self.claim.fence.id.as_str();
        let mut asked_to_stop = false;
        let mut gathered_until = Instant::now();
        loop {
            let bytes = tokio::select! {
                () = sleep_until(gathered_until), if intake.waits() => {
                    self.store(intake).await?;
                    gathered_until = Instant::now() + GATHER;
                    continue;
                }
                () = self.tail.stop.cancelled(), if !asked_to_stop => {
                    asked_to_stop = true;
                    let argv = ["rdev-runner", "cancel", "--id", id];
                    if let Err(error) = control(&*self.to.pods, &self.place, &argv).await {
                        return Ok(Connection::Cut(error));
                    }
                    continue;
                }
                bytes = timeout(SILENCE_MAX, output.next()) => bytes,
            };
            let bytes = match bytes {
                Ok(Some(Ok(bytes))) => bytes,
                Ok(Some(Err(error))) => return Ok(Connection::Cut(error.into())),
                Ok(None) => {
                    return Ok(Connection::Cut(anyhow::anyhow!("it ended without the command's end")));
                }
                Err(_) => {
                    return Ok(Connection::Cut(anyhow::anyhow!("nothing came for {SILENCE_MAX:?}")));
                }
            };
            let agent = &mut self.agent;
            let last = intake.push(&bytes, |frame| {
                if let Some(agent) = agent {
                    agent.see(frame);
                }
            });
            // What came before the end, or before what is wrong, is stored first.
            let due = !matches!(last, Ok(None)) || intake.is_full() || Instant::now() >= gathered_until;
            if due && intake.waits() {
                self.store(intake).await?;
                gathered_until = Instant::now() + GATHER;
            }
            match last {
                Ok(None) => {}
                Ok(Some(Last::Exit(exit, seq))) => return Ok(Connection::Over(self.outcome(exit), seq)),
                Ok(Some(Last::Lost)) => {
                    let outcome = failed(Reason::RunnerLost, "its supervisor was killed, its end is unknown");
                    return Ok(Connection::Over(outcome, self.last_seq.next()));
                }
                Err(error) => return Ok(Connection::Cut(error.into())),
            }
        }
    }

    /// Stores what has come.
    async fn store(&mut self, intake: &mut Intake) -> Result<()> {
        let chunks = intake.take();
        let Some(last) = chunks.last().map(|chunk| chunk.last_seq) else {
            return Ok(());
        };
        let (to, fence) = (self.to, &self.claim.fence);
        let entries =
            until_stored(&fence.id, || to.log.append(fence, chunks.clone(), to.clock.now())).await?;
        self.last_seq = last;
        entries.into_iter().for_each(|entry| to.live.publish(entry));
        Ok(())
    }

    fn outcome(&self, exit: Exit) -> Outcome {
        let duration = Duration::from_micros(exit.duration_us);
        let (exit_code, by_itself, message) = match exit.ended {
            Ended::Exited(0) => (Some(0), Ending::Completed, None),
            Ended::Exited(code) => (Some(code), Ending::Failed(Reason::ExitCode), None),
            Ended::Signaled(signal) => {
                let message = format!("killed by signal {signal}");
                (Some(128 + signal), Ending::Failed(Reason::Signal), Some(message))
            }
            Ended::SpawnFailed(errno) => {
                let message =
                    format!("it could not be started: {}", std::io::Error::from_raw_os_error(errno));
                (None, Ending::Failed(Reason::SpawnFailed), Some(message))
            }
        };
        let (ending, message) = match exit.cause {
            StopCause::None => (by_itself, message),
            StopCause::Cancelled => (Ending::Cancelled, message),
            StopCause::Timeout => {
                let limit = self.claim.command.timeout.as_secs();
                (
                    Ending::TimedOut,
                    Some(format!("stopped after {limit} s, with {} s of grace", GRACE.as_secs())),
                )
            }
        };
        let outcome = Outcome { ending, exit_code, message, duration };
        match &self.agent {
            Some(agent) => agent.judge(outcome),
            None => outcome,
        }
    }
}

/// Pauses that grow, from the first to the last.
struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(RETRY_FIRST)
    }
}

impl Backoff {
    async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(RETRY_LAST);
    }
}

/// Writes again while the store is not available; the runner keeps what is not stored.
async fn until_stored<T, F: Future<Output = Result<T>>>(
    id: &CommandId,
    mut write: impl FnMut() -> F,
) -> Result<T> {
    let mut backoff = Backoff::default();
    loop {
        match write().await {
            Err(error @ Error::Unavailable { .. }) => {
                tracing::warn!(command = %id, ?error, "the store is not available, trying again");
            }
            done => return done,
        }
        backoff.wait().await;
    }
}

/// Runs a short command of the runner to its end.
pub(crate) async fn control(pods: &dyn Pods, place: &Place, argv: &[&str]) -> anyhow::Result<()> {
    let run = async {
        let mut output = pods.exec(place, exec(argv, Stdin::None)).await?;
        while let Some(bytes) = output.next().await {
            bytes?;
        }
        Ok(())
    };
    timeout(SILENCE_MAX, run).await?
}

fn exec(argv: &[&str], stdin: Stdin) -> Exec {
    Exec { argv: argv.iter().map(|&word| word.to_owned()).collect(), stdin }
}

fn failed(reason: Reason, message: impl Into<String>) -> Outcome {
    Outcome::without_process(Ending::Failed(reason), message)
}
