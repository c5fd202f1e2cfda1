//! Attempt of a started job: connections to its runner until the runner has reported the end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rdev_domain::{Chunk, Error, Failure, Outcome, Reason, Result, Seq, causes};
use rdev_ports::{
    Claim, CodeAgent, Disruption, ExecError, ExecOutput, Pod, Pods, Random, Readiness, Started, Stdin,
};
use rdev_runner::frame::{Body, CutReason, Exit, Frame, Loss, StopCause};
use rdev_runner::spec::{Mode, RunRequest};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::agent::AgentWatch;
use super::control::{EXEC_ANSWER_MAX, RunId, SILENCE_MAX, control, exec};
use super::disruption::{StartedIn, disruption};
use super::give_up::{give_up_pod, give_up_worker};
use super::intake::{FrameIntake, Last};
use super::invocation::{Means, spec};
use super::mask::NoMask;
use super::outcome::{describe_exit, failed, killed_with_another, never_started};
use super::refusal::{Reaction, Refusals};
use super::retry::Backoff;
use super::writer::JobWriter;
use crate::WorkerPorts;

/// Age of a start by another worker up to which the job may be started again: the runner keeps the mark of a start for a
/// day, and clocks may differ, or be set.
const RESTART_AGE_MAX: Duration = Duration::from_secs(12 * 3600);
/// Longest search for the cause of a loss: a cluster reports a disruption some time after it.
const CAUSE_PATIENCE: Duration = Duration::from_secs(5);

/// Output is stored together with the output of this time after it: a job that writes line by line costs a few hundred
/// transactions a second, not tens of thousands.
const GATHER: Duration = Duration::from_millis(3);
/// Numbers that are skipped after a loss: more events than a job writes before the disk has their journal.
const NUMBERS_SKIPPED: u32 = 1 << 20;

/// End of an attempt.
pub(crate) struct AttemptEnd {
    pub(crate) outcome: Outcome,
    /// Number of the complete event.
    pub(crate) seq: Seq,
    /// The attempt is one of those that the job may have; one that was killed for another job's sake is not.
    pub(crate) counts: bool,
}

/// End of one connection to the runner.
enum Connection {
    /// The runner reported the job's end; the complete event has this number.
    Over(Outcome, Seq),
    /// The runner reported that the end is not known.
    Lost(Loss),
    /// The run does not exist, and its pod takes nothing new: it is not known whether the job has begun.
    HeldBack,
    /// The pod answered, and its runner did not speak of the job.
    Refused(ExecError),
    /// No connection was made, and nothing was requested by it.
    Unreached(anyhow::Error),
    /// The connection was cut.
    Cut(anyhow::Error),
}

impl Connection {
    /// End of a connection whose runner has not spoken of the job.
    fn without_hello(error: ExecError) -> Self {
        match error {
            ExecError::Unreached(error) => Self::Unreached(error),
            ExecError::Cut(error) => Self::Cut(error),
            refused => Self::Refused(refused),
        }
    }
}

/// Attempt of a job that a worker attends.
pub(crate) struct Attachment<'a> {
    pods: Arc<dyn Pods>,
    code_agent: Arc<dyn CodeAgent>,
    random: Arc<dyn Random>,
    writer: JobWriter,
    claim: &'a Claim,
    pod: &'a Pod,
    started: &'a Started,
    cancelled: &'a CancellationToken,
    /// Number of the last stored event.
    last_seq: Seq,
    agent: Option<AgentWatch>,
    refusals: Refusals,
    /// A runner has answered: the run exists, or did.
    was_there: bool,
    /// The pod has just been seen to take new work.
    takes_new: bool,
    /// The job was killed with others, as another one of them exceeded the memory limit.
    bystander: bool,
    /// Longest wait for the pod to be ready.
    pod_patience: Duration,
}

impl<'a> Attachment<'a> {
    pub(crate) fn new(
        ports: &WorkerPorts,
        claim: &'a Claim,
        writer: JobWriter,
        (pod, started): (&'a Pod, &'a Started),
        cancelled: &'a CancellationToken,
        agent: Option<AgentWatch>,
        pod_patience: Duration,
    ) -> Self {
        let is_first = started.entry.is_some();
        Self {
            pods: ports.pods.clone(),
            code_agent: ports.agent.clone(),
            random: ports.random.clone(),
            writer,
            claim,
            pod,
            started,
            cancelled,
            last_seq: claim.last_seq,
            agent,
            refusals: Refusals::new(is_first),
            was_there: false,
            takes_new: is_first,
            bystander: false,
            pod_patience,
        }
    }

    /// Connects to the runner until the end of the attempt is known.
    ///
    /// # Errors
    /// `LeaseLost` when another worker has taken over.
    pub(crate) async fn run(mut self) -> Result<AttemptEnd> {
        let (outcome, seq) = self.connect_until_over().await?;
        Ok(AttemptEnd { outcome, seq, counts: !self.bystander })
    }

    async fn connect_until_over(&mut self) -> Result<(Outcome, Seq)> {
        let mut backoff = Backoff::default();
        let mut unreached_since = Instant::now();
        loop {
            let before = self.last_seq;
            let (error, failure) = match self.connect().await? {
                Connection::Over(outcome, seq) => return Ok((outcome, seq)),
                Connection::Lost(loss) => {
                    self.skip_numbers().await?;
                    return Ok((self.lost(loss).await?, self.last_seq.next()));
                }
                Connection::HeldBack if self.cancelled.is_cancelled() => {
                    return Ok((never_started(), self.last_seq.next()));
                }
                Connection::HeldBack => {
                    // A job whose pod is lost is over, and only found to be so by now.
                    if let Disruption::Lost(failure) = self.disruption().await? {
                        return Ok((failed(failure.reason, failure.message), self.last_seq.next()));
                    }
                    let message = "it has not begun, and its place takes nothing new";
                    let failure = Failure::new(Reason::PodNotReady, message);
                    let is_over = unreached_since.elapsed() > self.pod_patience;
                    (message.to_owned(), is_over.then_some(failure))
                }
                Connection::Refused(_) | Connection::Unreached(_)
                    if self.cancelled.is_cancelled() && self.refusals.nothing_ran() =>
                {
                    return Ok((never_started(), self.last_seq.next()));
                }
                Connection::Unreached(error) => (causes(&error), None),
                Connection::Refused(answer) => {
                    let failure = self.react(&answer).await?;
                    (answer.to_string(), failure)
                }
                Connection::Cut(error) => {
                    self.refusals.unanswered();
                    (causes(&error), None)
                }
            };
            // A node may be away for hours: the first attempt is logged, further ones on request.
            let (job, after) = (&self.claim.fence.id, self.last_seq.0);
            if backoff.is_first() || self.last_seq > before {
                tracing::warn!(%job, after, error, "connection to the runner lost, attaching again");
            } else {
                tracing::debug!(%job, after, error, "runner not reached, attaching again");
            }
            if self.last_seq > before {
                (backoff, unreached_since) = (Backoff::default(), Instant::now());
            }
            let failure = match failure {
                Some(failure) => Some(failure),
                None => self.give_up(unreached_since.elapsed()).await?,
            };
            if let Some(failure) = failure {
                return Ok((failed(failure.reason, failure.message), self.last_seq.next()));
            }
            backoff.wait_drawn(&*self.random).await;
        }
    }

    /// Returns the failure of a job whose runner is not worth waiting for; `None` while the runner may answer again.
    async fn give_up(&self, unreached: Duration) -> Result<Option<Failure>> {
        let never_answered = self.started.entry.is_some() && !self.was_there;
        if never_answered
            && let Some(failure) = give_up_worker(&self.claim.job, self.started.attempt, unreached)
        {
            return Ok(Some(failure));
        }
        give_up_pod(&*self.pods, &self.claim.job, self.started_in(), unreached).await
    }

    fn started_in(&self) -> StartedIn<'_> {
        StartedIn { pod_ref: &self.pod.pod_ref, uid: &self.pod.uid, at: self.started.started_at }
    }

    async fn disruption(&self) -> Result<Disruption> {
        disruption(&*self.pods, &self.claim.fence.id, self.started_in()).await
    }

    /// Reacts to a runner that does not speak of the job: waits, stores the cause, or returns the failure that ends the
    /// job.
    async fn react(&mut self, answer: &ExecError) -> Result<Option<Failure>> {
        match self.refusals.add(answer) {
            Reaction::Wait => Ok(None),
            Reaction::Report(failure) => self.writer.stall(Some(failure)).await.map(|()| None),
            Reaction::End(failure) => Ok(Some(failure)),
        }
    }

    /// Skips numbers after a run was lost. Its journal may be shorter than what readers were sent: a power cut takes
    /// from both the journal and the log what was not flushed. The readers get a gap, and no number that they may know
    /// is given to another event.
    async fn skip_numbers(&mut self) -> Result<()> {
        let (first_seq, time_us) = (self.last_seq.next(), self.writer.now().as_micros().unsigned_abs());
        let body = Body::Cut { reason: CutReason::Lost, bytes: 0 };
        let cut = Frame { first_seq: first_seq.0, count: NUMBERS_SKIPPED, time_us, body };
        let (mut frames, last_seq) = (Vec::new(), Seq(cut.last_seq()));
        cut.encode(&mut frames);
        self.append(vec![Chunk { first_seq, last_seq, frames: frames.into() }]).await
    }

    /// Returns the outcome of a run without an exit entry: the container may know the cause.
    async fn lost(&mut self, loss: Loss) -> Result<Outcome> {
        let until = Instant::now() + CAUSE_PATIENCE;
        let mut backoff = Backoff::default();
        loop {
            match self.disruption().await? {
                Disruption::Lost(failure) | Disruption::Restarted(failure) => {
                    self.bystander = loss == Loss::Beside && failure.reason == Reason::OomKilled;
                    let failure = if self.bystander { killed_with_another() } else { failure };
                    return Ok(failed(failure.reason, failure.message));
                }
                Disruption::Unknown if Instant::now() < until => backoff.wait().await,
                Disruption::Unknown | Disruption::None => {
                    return Ok(match loss {
                        Loss::Supervisor | Loss::Beside => {
                            failed(Reason::RunnerLost, "its supervisor was killed, its end is unknown")
                        }
                        Loss::Journal => {
                            failed(Reason::JournalDamaged, "its journal is damaged, its end is unknown")
                        }
                    });
                }
            }
        }
    }

    /// Holds one connection. The runner starts the job the first time, and attaches every time after.
    async fn connect(&mut self) -> Result<Connection> {
        let (may_start, after) = (self.may_start(), self.last_seq);
        let is_held_back = may_start && !std::mem::take(&mut self.takes_new) && !self.pod_takes_new().await?;
        let mode = if may_start && !is_held_back { Mode::Start } else { Mode::Attach };
        let stdin = Stdin::WaitedFor(self.request(mode).encode().into());
        let program = exec(&["rdev-runner", "run", "--request-stdin"], stdin);
        let output = match timeout(EXEC_ANSWER_MAX, self.pods.exec(self.pod, program)).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Ok(Connection::without_hello(error)),
            Err(_) => {
                return Ok(Connection::Cut(anyhow::anyhow!("exec did not start in {EXEC_ANSWER_MAX:?}")));
            }
        };
        let mut intake = FrameIntake::after(self.last_seq, Box::new(NoMask));
        let connection = self.follow(output, &mut intake).await?;
        let is_not_there = self.last_seq == after && matches!(connection, Connection::Lost(_));
        if is_held_back
            && is_not_there
            && matches!(self.disruption().await?, Disruption::Unknown | Disruption::None)
        {
            // The job may not have begun; then it begins once its pod takes new work again.
            self.was_there = false;
            return Ok(Connection::HeldBack);
        }
        // The agent's watch must not see the same frames a second time.
        self.append(intake.take()).await?;
        Ok(connection)
    }

    fn request(&self, mode: Mode) -> RunRequest {
        let (job, slot) = (&self.claim.job, self.started.slot.as_ref());
        let means = Means { agent: &*self.code_agent, pods: &*self.pods };
        let mut spec = spec(job, self.pod, &means, slot, self.started.attempt);
        // A new run goes on with the numbers of the attempt before it.
        spec.first_seq = self.last_seq.next().0;
        let (id, identity) = (self.run_id(), self.pod.uid.clone());
        RunRequest { id, after: self.last_seq.0, mode, identity, spec }
    }

    fn run_id(&self) -> String {
        RunId::of(&self.claim.job, self.started.attempt).to_string()
    }

    /// Tells whether a run that does not exist may be started. It may for certain if this worker has just made the job a
    /// running one, and no runner has answered since. Another worker may have died between its start and its request to
    /// the runner: then nothing can be stored of a first attempt; for a later attempt that cannot be seen. Should that
    /// worker have sent the request all the same, the runner has a durable mark of it, which outlives
    /// [`RESTART_AGE_MAX`] and the removal of the run's folder, and refuses a second start. Any other run existed, and
    /// is lost.
    fn may_start(&self) -> bool {
        let may_be_unrequested = || {
            let age = self.writer.now().since(self.started.started_at);
            (self.started.attempt > 1 || self.claim.last_seq == Seq::ZERO) && age < RESTART_AGE_MAX
        };
        !self.was_there && (self.started.entry.is_some() || may_be_unrequested())
    }

    /// Asks whether new work may start in the pod.
    async fn pod_takes_new(&self) -> Result<bool> {
        match self.pods.readiness(&self.pod.pod_ref).await {
            Ok(readiness) => Ok(matches!(readiness, Some(Readiness::Ready(pod)) if pod.uid == self.pod.uid)),
            Err(Error::Unavailable { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes the frames of the runner, until the end of the job or of the connection.
    async fn follow(&mut self, mut output: ExecOutput, intake: &mut FrameIntake) -> Result<Connection> {
        let mut stop_requested = false;
        let mut gathered_until = Instant::now();
        loop {
            let bytes = tokio::select! {
                () = sleep_until(gathered_until), if intake.has_output() => {
                    self.append(intake.take()).await?;
                    gathered_until = Instant::now() + GATHER;
                    continue;
                }
                // Before its hello the runner may not know the job yet. An agent that hangs is stopped as well; nobody
                // has requested its cancellation, which is how the two are told apart later.
                () = self.stop_due(), if !stop_requested && intake.has_hello() => {
                    stop_requested = true;
                    if let Err(error) = self.stop_run().await {
                        return Ok(Connection::Cut(error));
                    }
                    continue;
                }
                bytes = timeout(SILENCE_MAX, output.next()) => bytes,
            };
            let bytes = match bytes {
                Ok(Some(Ok(bytes))) => bytes,
                Ok(Some(Err(error))) if intake.has_hello() => return Ok(Connection::Cut(error.into())),
                Ok(Some(Err(error))) => return Ok(Connection::without_hello(error)),
                Ok(None) => {
                    return Ok(Connection::Cut(anyhow::anyhow!("exec channel closed before the exit frame")));
                }
                Err(_) => {
                    return Ok(Connection::Cut(anyhow::anyhow!("no frame came for {SILENCE_MAX:?}")));
                }
            };
            let agent = &mut self.agent;
            let last = intake.push(&bytes, |frame| {
                if let Some(agent) = agent {
                    agent.see(frame);
                }
            });
            self.was_there |= intake.has_hello();
            if intake.has_hello() && self.refusals.clear() {
                self.writer.stall(None).await?;
            }
            // Output before the end, or before an error, is stored first.
            let due = !matches!(last, Ok(None)) || intake.is_full() || Instant::now() >= gathered_until;
            if due && intake.has_output() {
                self.append(intake.take()).await?;
                gathered_until = Instant::now() + GATHER;
            }
            match last {
                Ok(None) => {}
                Ok(Some(Last::Exit(exit, seq))) => return Ok(Connection::Over(self.outcome(exit), seq)),
                Ok(Some(Last::Lost(loss))) => return Ok(Connection::Lost(loss)),
                Err(error) => return Ok(Connection::Cut(error.into())),
            }
        }
    }

    /// Waits until the run is to be stopped: somebody requests the job's cancellation, or an agent hangs after its
    /// result.
    async fn stop_due(&self) {
        let hung = async {
            match self.agent.as_ref().and_then(AgentWatch::silent_until) {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.cancelled.cancelled() => {}
            () = hung => {}
        }
    }

    async fn stop_run(&self) -> anyhow::Result<()> {
        control(&*self.pods, self.pod, &["cancel", "--id", &self.run_id()]).await
    }

    async fn append(&mut self, chunks: Vec<Chunk>) -> Result<()> {
        let Some(last) = chunks.last().map(|chunk| chunk.last_seq) else {
            return Ok(());
        };
        self.writer.append(&chunks).await?;
        self.last_seq = last;
        Ok(())
    }

    fn outcome(&self, exit: Exit) -> Outcome {
        let outcome = describe_exit(&self.claim.job, exit);
        match &self.agent {
            Some(agent) if exit.cause == StopCause::Cancelled && !self.cancelled.is_cancelled() => {
                agent.hung(outcome)
            }
            Some(agent) => agent.judge(outcome),
            None => outcome,
        }
    }
}
