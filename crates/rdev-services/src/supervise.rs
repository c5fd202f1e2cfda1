//! A started command: connections to its runner until it has told the command's end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rdev_domain::{CommandId, Ending, Error, Outcome, Reason, Request, Result, Seq};
use rdev_ports::{
    Claim, EXEC_START_TIMEOUT, Exec, ExecOutput, Fate, Place, Pods, Standing, Started, Stdin, Trouble,
};
use rdev_runner::frame::{Ended, Exit, StopCause};
use rdev_runner::spec::Order;
use tokio::time::{Instant, sleep_until, timeout};

use crate::agent::AgentWatch;
use crate::execution::{Executor, failed};
use crate::frames::{Intake, Last};
use crate::invocation::{GRACE, run_id, spec};
use crate::live::Tail;

/// A channel that is silent this long is dead: the runner speaks every 10 s.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Pauses between attempts to reach the runner again: doubled each time, up to the last.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(5);
/// A command whose runner was not reached for its whole time and this much longer is given up; one that
/// was ended with its container, after this time alone.
pub(crate) const UNREACHED_MAX: Duration = Duration::from_secs(300);
/// How long the reason of a loss is looked for: a cluster notices some time after the loss itself.
const FATE_PATIENCE: Duration = Duration::from_secs(5);

/// Output that follows other output so soon is stored together with what comes within this time: a command
/// that writes line by line costs a few hundred transactions a second, not tens of thousands.
const GATHER: Duration = Duration::from_millis(3);

/// How one connection to the runner ended.
enum Connection {
    /// The command is over; its complete event has this number.
    Over(Outcome, Seq),
    /// Its supervisor is gone.
    Lost,
    /// It was cut, for this reason.
    Cut(anyhow::Error),
}

/// A command while a worker has it.
pub(crate) struct Execution<'a> {
    pub(crate) to: &'a Executor,
    pub(crate) claim: &'a Claim,
    pub(crate) tail: Arc<Tail>,
    pub(crate) place: Place,
    pub(crate) started: Started,
    pub(crate) last_seq: Seq,
    pub(crate) agent: Option<AgentWatch>,
}

impl Execution<'_> {
    /// Connects to the runner until it has told the command's end.
    pub(crate) async fn supervise(&mut self) -> Result<(Outcome, Seq)> {
        let mut backoff = Backoff::default();
        let mut unreached_since = self.to.clock.now();
        loop {
            let before = self.last_seq;
            match self.connect().await? {
                Connection::Over(outcome, seq) => return Ok((outcome, seq)),
                Connection::Lost => return Ok((self.lost().await?, self.last_seq.next())),
                Connection::Cut(error) => {
                    // A node may be away for hours: that is told once, every further attempt only on request.
                    let (command, after) = (&self.claim.fence.id, self.last_seq.0);
                    let error = format!("{error:#}");
                    if backoff.is_first() || self.last_seq > before {
                        tracing::warn!(%command, after, error, "the connection to the runner was cut, attaching again");
                    } else {
                        tracing::debug!(%command, after, error, "the runner was not reached");
                    }
                }
            }
            if self.last_seq > before {
                (backoff, unreached_since) = (Backoff::default(), self.to.clock.now());
            }
            let unreached = self.to.clock.now().since(unreached_since);
            if let Some(trouble) = self.given_up(unreached).await? {
                return Ok((failed(trouble.reason, trouble.message), self.last_seq.next()));
            }
            backoff.wait().await;
        }
    }

    /// Why attaching again is of no use; `None` while it may be.
    async fn given_up(&self, unreached: Duration) -> Result<Option<Trouble>> {
        let patience = self.claim.command.timeout + UNREACHED_MAX;
        match self.to.pods.fate(&self.place.uid, self.started.started_at).await? {
            Fate::Gone(trouble) => return Ok(Some(trouble)),
            Fate::Interrupted(trouble) if unreached > UNREACHED_MAX => return Ok(Some(trouble)),
            Fate::Interrupted(_) | Fate::Unknown | Fate::Undisturbed => {}
        }
        match self.to.pods.place(&self.place.site).await {
            // Another place has come: the journal went with the one that was there before.
            Ok(Some(Standing::Ready(place))) if place.uid != self.place.uid => {
                Ok(Some(self.to.trouble_of(&self.place.uid, self.started.started_at).await?))
            }
            Ok(Some(Standing::Waiting(trouble, _) | Standing::Unusable(trouble))) if unreached > patience => {
                Ok(Some(trouble))
            }
            _ if unreached > patience => {
                let message = "the runner was not reached again, its end is unknown";
                Ok(Some(Trouble::new(Reason::RunnerLost, message)))
            }
            _ => Ok(None),
        }
    }

    /// The supervisor is gone without an exit entry: its container may know why.
    async fn lost(&self) -> Result<Outcome> {
        let until = Instant::now() + FATE_PATIENCE;
        let mut backoff = Backoff::default();
        loop {
            match self.to.pods.fate(&self.place.uid, self.started.started_at).await? {
                Fate::Gone(trouble) | Fate::Interrupted(trouble) => {
                    return Ok(failed(trouble.reason, trouble.message));
                }
                Fate::Unknown if Instant::now() < until => backoff.wait().await,
                Fate::Unknown | Fate::Undisturbed => {
                    return Ok(failed(Reason::RunnerLost, "its supervisor was killed, its end is unknown"));
                }
            }
        }
    }

    /// One connection. The runner starts the command the first time, and attaches every time after.
    async fn connect(&mut self) -> Result<Connection> {
        let (command, seat, remotes) =
            (&self.claim.command, self.started.seat.as_ref(), self.to.pods.git_remotes());
        let mut spec = spec(command, &self.place, remotes, seat, self.started.tries);
        // A run that is new goes on with the numbers of the attempt before it.
        spec.first_seq = self.last_seq.next().0;
        let place = self.place.uid.clone();
        let id = run_id(&self.claim.command, self.started.tries);
        let order = Order { id, after: self.last_seq.0, place, spec };
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
        let id = run_id(&self.claim.command, self.started.tries);
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
                    let argv = ["rdev-runner", "cancel", "--id", &id];
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
                Ok(Some(Last::Lost)) => return Ok(Connection::Lost),
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
            Ended::OomKilled(code) => {
                let message = "it needed more memory than its container may have".to_owned();
                (Some(code), Ending::Failed(Reason::OomKilled), Some(message))
            }
            Ended::SpawnFailed(errno) => {
                let error = std::io::Error::from_raw_os_error(errno);
                let is_shell = matches!(self.claim.command.request, Request::Shell(_) | Request::Work(_));
                let reason = match error.kind() {
                    std::io::ErrorKind::NotFound if is_shell => Reason::NoShell,
                    _ => Reason::SpawnFailed,
                };
                (None, Ending::Failed(reason), Some(format!("it could not be started: {error}")))
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
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(RETRY_FIRST)
    }
}

impl Backoff {
    fn is_first(&self) -> bool {
        self.0 == RETRY_FIRST
    }

    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(RETRY_LAST);
    }
}

/// Writes again while the store is not available; the runner keeps what is not stored.
pub(crate) async fn until_stored<T, F: Future<Output = Result<T>>>(
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

pub(crate) fn exec(argv: &[&str], stdin: Stdin) -> Exec {
    Exec { argv: argv.iter().map(|&word| word.to_owned()).collect(), stdin }
}
