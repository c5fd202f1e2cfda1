//! A started command: connections to its runner until it has told the command's end.

use std::time::Duration;

use futures_util::StreamExt;
use rdev_domain::{
    Chunk, CommandRequest, Ending, Error, Failure, Job, JobSpec, Outcome, Reason, Result, Seq, Timestamp,
};
use rdev_ports::{
    Claim, Disruption, EXEC_START_TIMEOUT, EXEC_TURN_TIMEOUT, ExecError, ExecOutput, Pod, PodRef, Reach,
    Readiness, Started, Stdin,
};
use rdev_runner::frame::{Body, CutReason, Ended, Exit, Frame, Loss, StopCause};
use rdev_runner::spec::{Mode, RunRequest};
use tokio::time::{Instant, sleep_until, timeout};

use crate::live::CommandTail;
use crate::run::agent::AgentWatch;
use crate::run::control::{RunId, SILENCE_MAX, control, exec};
use crate::run::endings::{ended_with_another, failed, never_started};
use crate::run::executor::Executor;
use crate::run::intake::{FrameIntake, Last};
use crate::run::invocation::{GRACE, spec};
use crate::run::refusal::{Refusals, Then};
use crate::run::retry::{Backoff, until_available};

/// A command whose runner was not reached for its whole time and this much longer is given up; one that
/// was ended with its container, after this time alone.
pub(crate) const UNREACHED_MAX: Duration = Duration::from_secs(300);
/// A worker of the pool that has not said a word for so long after a task was ordered from it does not get to keep a task
/// that may be tried elsewhere.
const WORD_PATIENCE: Duration = Duration::from_secs(60);
/// A command that another worker was about to start so long ago is not started any more: the runner keeps the mark of a
/// start for a day, and clocks may differ, or be set.
const START_PATIENCE: Duration = Duration::from_secs(12 * 3600);
/// Longest that the start of a program may take, with its turn.
pub(crate) const EXEC_ANSWER_MAX: Duration = EXEC_TURN_TIMEOUT.saturating_add(EXEC_START_TIMEOUT);
/// How long the reason of a loss is looked for: a cluster notices some time after the loss itself.
const FATE_PATIENCE: Duration = Duration::from_secs(5);

/// Output that follows other output so soon is stored together with what comes within this time: a command
/// that writes line by line costs a few hundred transactions a second, not tens of thousands.
const GATHER: Duration = Duration::from_millis(3);
/// More events than a command writes before the disk has their journal.
const NUMBERS_PASSED_OVER: u32 = 1 << 20;

/// Time without a word of its runner after which a command is given up.
pub(crate) fn unreached_max(job: &Job) -> Duration {
    job.timeout.saturating_add(UNREACHED_MAX)
}

/// How one connection to the runner ended.
enum Connection {
    /// The command is over; its complete event has this number.
    Over(Outcome, Seq),
    /// Its end is not known.
    Lost(Loss),
    /// It was not there, and its place takes nothing new: whether it has begun is not known.
    HeldBack,
    /// The place has answered, but its runner does not speak of the command.
    Refused(ExecError),
    /// It was cut, for this reason.
    Cut(anyhow::Error),
}

/// A command while a worker has it.
pub(crate) struct Attachment<'a> {
    pub(crate) to: &'a Executor,
    pub(crate) claim: &'a Claim,
    pub(crate) tail: CommandTail,
    pub(crate) pod: Pod,
    pub(crate) started: Started,
    pub(crate) last_seq: Seq,
    pub(crate) agent: Option<AgentWatch>,
    /// A runner has answered: the run is there, or was.
    pub(crate) was_there: bool,
    /// Its place has just been seen to take what is new.
    pub(crate) starts: bool,
    pub(crate) refusals: Refusals,
    /// It was ended with others, for want of memory that another one of them had.
    pub(crate) bystander: bool,
}

impl Attachment<'_> {
    /// Connects to the runner until it has told the command's end.
    pub(crate) async fn attach(&mut self) -> Result<(Outcome, Seq)> {
        let mut backoff = Backoff::default();
        let mut unreached_since = Instant::now();
        loop {
            let before = self.last_seq;
            let (error, failure) = match self.connect().await? {
                Connection::Over(outcome, seq) => return Ok((outcome, seq)),
                Connection::Lost(loss) => {
                    self.pass_over_numbers().await?;
                    return Ok((self.lost(loss).await?, self.last_seq.next()));
                }
                Connection::HeldBack if self.tail.stop.is_cancelled() => {
                    return Ok((never_started(), self.last_seq.next()));
                }
                Connection::HeldBack => {
                    // What it was to run in is over, and only read by now.
                    if let Disruption::Lost(failure) = self.disruption().await? {
                        return Ok((failed(failure.reason, failure.message), self.last_seq.next()));
                    }
                    let message = "it has not begun, and its place takes nothing new";
                    let failure = Failure::new(Reason::PodNotReady, message);
                    let is_over = unreached_since.elapsed() > self.to.place_patience;
                    (message.to_owned(), is_over.then_some(failure))
                }
                Connection::Refused(answer) => {
                    if self.tail.stop.is_cancelled() && self.refusals.nothing_ran() {
                        return Ok((never_started(), self.last_seq.next()));
                    }
                    let failure = self.refused(&answer).await?;
                    (answer.to_string(), failure)
                }
                Connection::Cut(error) => {
                    self.refusals.unanswered();
                    (format!("{error:#}"), None)
                }
            };
            // A node may be away for hours: that is told once, every further attempt only on request.
            let (job, after) = (&self.claim.fence.id, self.last_seq.0);
            if backoff.is_first() || self.last_seq > before {
                tracing::warn!(%job, after, error, "the connection to the runner was cut, attaching again");
            } else {
                tracing::debug!(%job, after, error, "the runner was not reached");
            }
            if let Some(failure) = failure {
                return Ok((failed(failure.reason, failure.message), self.last_seq.next()));
            }
            if self.last_seq > before {
                (backoff, unreached_since) = (Backoff::default(), Instant::now());
            }
            if let Some(failure) = self.given_back(unreached_since.elapsed()) {
                return Ok((failed(failure.reason, failure.message), self.last_seq.next()));
            }
            if let Some(failure) = self.given_up(unreached_since.elapsed()).await? {
                return Ok((failed(failure.reason, failure.message), self.last_seq.next()));
            }
            backoff.wait_drawn(&*self.to.random).await;
        }
    }

    /// Why a task is to be tried elsewhere, as its worker does not say a word; whether it has begun there is not known,
    /// so one that may run but once stays. `None` while it is to wait.
    fn given_back(&self, unreached: Duration) -> Option<Failure> {
        let message = format!("its worker did not say a word for {} s", WORD_PATIENCE.as_secs());
        let failure = Failure::new(Reason::RunnerLost, message);
        let (job, never_spoke) = (&self.claim.job, self.started.entry.is_some() && !self.was_there);
        let may_go = job.spec.is_task()
            && job.schedule.allows_retry(self.started.attempt, Ending::Failed(failure.reason));
        (never_spoke && may_go && unreached >= WORD_PATIENCE).then_some(failure)
    }

    /// Why attaching again is of no use; `None` while it may be: only a place that is gone ends what ran there.
    async fn given_up(&self, unreached: Duration) -> Result<Option<Failure>> {
        // It is asked first: what it has seen is known to what follows.
        match self.disruption().await? {
            Disruption::Restarted(failure) if unreached > UNREACHED_MAX => return Ok(Some(failure)),
            Disruption::Lost(_) | Disruption::Restarted(_) | Disruption::Unknown | Disruption::None => {}
        }
        let is_given_up = unreached > unreached_max(&self.claim.job);
        match self.to.pods.reach(&self.pod.pod_ref, &self.pod.uid).await {
            Ok(Reach::Lost(failure)) => self.to.why_gone(self.claim, self.was(), failure).await.map(Some),
            Ok(Reach::Unreachable { cause: failure, .. }) if is_given_up => Ok(Some(failure)),
            Ok(Reach::Reachable(_)) | Err(Error::Unavailable { .. }) if is_given_up => {
                let message = "the runner was not reached again, its end is unknown";
                Ok(Some(Failure::new(Reason::RunnerLost, message)))
            }
            Ok(Reach::Reachable(_) | Reach::Unreachable { .. }) | Err(Error::Unavailable { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The place in which the command has run, and since when.
    fn was(&self) -> (&PodRef, &str, Timestamp) {
        (&self.pod.pod_ref, &self.pod.uid, self.started.started_at)
    }

    async fn disruption(&self) -> Result<Disruption> {
        self.to.disruption(self.claim, self.was()).await
    }

    /// The runner does not speak of the command: that is told, and may be the command's end.
    async fn refused(&mut self, answer: &ExecError) -> Result<Option<Failure>> {
        match self.refusals.refused(answer) {
            Then::Nothing => Ok(None),
            Then::Tell(failure) => self.tell(Some(failure)).await.map(|()| None),
            Then::End(failure) => Ok(Some(failure)),
        }
    }

    /// Tells what keeps the command from running, or that nothing does any more.
    async fn tell(&self, failure: Option<Failure>) -> Result<()> {
        let (to, fence, now) = (self.to, &self.claim.fence, self.to.clock.now());
        let entry = until_available(&fence.id, || to.queue.stall(fence, failure.clone(), now)).await?;
        entry.into_iter().for_each(|entry| to.live.publish(entry));
        Ok(())
    }

    /// A run is lost, and its journal may be shorter than what was told of it: a power cut takes from both the journal and
    /// the log what was not flushed. Its readers are told, and no number that they may know is given to anything else.
    async fn pass_over_numbers(&mut self) -> Result<()> {
        let (first_seq, time_us) = (self.last_seq.next(), self.to.clock.now().as_micros().unsigned_abs());
        let body = Body::Cut { reason: CutReason::Lost, bytes: 0 };
        let cut = Frame { first_seq: first_seq.0, count: NUMBERS_PASSED_OVER, time_us, body };
        let (mut frames, last_seq) = (Vec::new(), Seq(cut.last_seq()));
        cut.encode(&mut frames);
        self.append(vec![Chunk { first_seq, last_seq, frames: frames.into() }]).await
    }

    /// There is no exit entry: its container may know why.
    async fn lost(&mut self, loss: Loss) -> Result<Outcome> {
        let until = Instant::now() + FATE_PATIENCE;
        let mut backoff = Backoff::default();
        loop {
            match self.disruption().await? {
                Disruption::Lost(failure) | Disruption::Restarted(failure) => {
                    self.bystander = loss == Loss::Beside && failure.reason == Reason::OomKilled;
                    let failure = if self.bystander { ended_with_another() } else { failure };
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

    /// One connection. The runner starts the command the first time, and attaches every time after.
    async fn connect(&mut self) -> Result<Connection> {
        let (job, slot, remotes) = (&self.claim.job, self.started.slot.as_ref(), self.to.pods.git_remotes());
        let mut spec = spec(job, &self.pod, remotes, slot, self.started.attempt);
        if matches!(job.spec, JobSpec::Command { request: CommandRequest::Claude(_), .. }) {
            spec.env.splice(..0, self.to.pods.agent_env());
        }
        // A run that is new goes on with the numbers of the attempt before it.
        spec.first_seq = self.last_seq.next().0;
        let identity = self.pod.uid.clone();
        let id = RunId::of(job, self.started.attempt).to_string();
        let (may_start, after) = (self.may_start(), self.last_seq);
        let is_held_back = may_start && !std::mem::take(&mut self.starts) && !self.takes_new().await?;
        let mode = if may_start && !is_held_back { Mode::Start } else { Mode::Attach };
        let request = RunRequest { id, after: self.last_seq.0, mode, identity, spec };
        let program =
            exec(&["rdev-runner", "run", "--request-stdin"], Stdin::WaitedFor(request.encode().into()));
        let output = match timeout(EXEC_ANSWER_MAX, self.to.pods.exec(&self.pod, program)).await {
            Ok(Ok(output)) => output,
            Ok(Err(ExecError::Cut(error))) => return Ok(Connection::Cut(error)),
            Ok(Err(refused)) => return Ok(Connection::Refused(refused)),
            Err(_) => {
                return Ok(Connection::Cut(anyhow::anyhow!("it did not start in {EXEC_ANSWER_MAX:?}")));
            }
        };
        let mut intake = FrameIntake::after(self.last_seq);
        let connection = self.follow(output, &mut intake).await?;
        let is_not_there = self.last_seq == after && matches!(connection, Connection::Lost(_));
        if is_held_back
            && is_not_there
            && matches!(self.disruption().await?, Disruption::Unknown | Disruption::None)
        {
            // It may not have begun, and then it does where its place takes what is new again.
            self.was_there = false;
            return Ok(Connection::HeldBack);
        }
        // What the agent's watch has seen must not come to it a second time.
        self.store(&mut intake).await?;
        Ok(connection)
    }

    /// Tells whether a run that is not there may be started. Certainly, when this worker has just made the command a
    /// running one, and no runner has answered since. Another worker may have died between that and its order: then
    /// nothing may be stored of a first attempt; of a later one that cannot be told. Should it have given the order
    /// all the same, then the runner has a durable mark of it, which outlives [`START_PATIENCE`] and whatever removes
    /// the run's folder, and does not start it a second time. Any other run was there, and is lost.
    fn may_start(&self) -> bool {
        let may_be_unordered = || {
            let age = self.to.clock.now().since(self.started.started_at);
            (self.started.attempt > 1 || self.claim.last_seq == Seq::ZERO) && age < START_PATIENCE
        };
        !self.was_there && (self.started.entry.is_some() || may_be_unordered())
    }

    /// Tells whether something new may start in its place.
    async fn takes_new(&self) -> Result<bool> {
        match self.to.pods.readiness(&self.pod.pod_ref).await {
            Ok(standing) => Ok(matches!(standing, Some(Readiness::Ready(pod)) if pod.uid == self.pod.uid)),
            Err(Error::Unavailable { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes what the runner sends, until the command's end or the connection's.
    async fn follow(&mut self, mut output: ExecOutput, intake: &mut FrameIntake) -> Result<Connection> {
        let id = RunId::of(&self.claim.job, self.started.attempt).to_string();
        let mut asked_to_stop = false;
        let mut gathered_until = Instant::now();
        loop {
            let bytes = tokio::select! {
                () = sleep_until(gathered_until), if intake.waits() => {
                    self.store(intake).await?;
                    gathered_until = Instant::now() + GATHER;
                    continue;
                }
                // Before its hello the runner may not know the command yet.
                () = self.tail.stop.cancelled(), if !asked_to_stop && intake.heard() => {
                    asked_to_stop = true;
                    if let Err(error) = self.stop_run(&id).await {
                        return Ok(Connection::Cut(error));
                    }
                    continue;
                }
                // Nobody has asked for its end, which is how that is told apart later.
                () = self.hung(), if !asked_to_stop && intake.heard() => {
                    asked_to_stop = true;
                    if let Err(error) = self.stop_run(&id).await {
                        return Ok(Connection::Cut(error));
                    }
                    continue;
                }
                bytes = timeout(SILENCE_MAX, output.next()) => bytes,
            };
            let bytes = match bytes {
                Ok(Some(Ok(bytes))) => bytes,
                Ok(Some(Err(ExecError::Cut(error)))) => return Ok(Connection::Cut(error)),
                Ok(Some(Err(error))) if intake.heard() => return Ok(Connection::Cut(error.into())),
                Ok(Some(Err(refused))) => return Ok(Connection::Refused(refused)),
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
            self.was_there |= intake.heard();
            if intake.heard() && self.refusals.over() {
                self.tell(None).await?;
            }
            // What came before the end, or before what is wrong, is stored first.
            let due = !matches!(last, Ok(None)) || intake.is_full() || Instant::now() >= gathered_until;
            if due && intake.waits() {
                self.store(intake).await?;
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

    /// Ends when an agent has come to its result, and does not end after it.
    async fn hung(&self) {
        match self.agent.as_ref().and_then(AgentWatch::silent_until) {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    async fn stop_run(&self, id: &str) -> anyhow::Result<()> {
        control(&*self.to.pods, &self.pod, &["cancel", "--id", id]).await
    }

    /// Stores what has come.
    async fn store(&mut self, intake: &mut FrameIntake) -> Result<()> {
        self.append(intake.take()).await
    }

    async fn append(&mut self, chunks: Vec<Chunk>) -> Result<()> {
        let Some(last) = chunks.last().map(|chunk| chunk.last_seq) else {
            return Ok(());
        };
        let (to, fence, now) = (self.to, &self.claim.fence, self.to.clock.now());
        let entries = until_available(&fence.id, || to.log.append(fence, chunks.clone(), now)).await?;
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
                (Some(signal.saturating_add(128)), Ending::Failed(Reason::Signal), Some(message))
            }
            Ended::OomKilled(code) => {
                let message = "it needed more memory than its container may have".to_owned();
                (Some(code), Ending::Failed(Reason::OomKilled), Some(message))
            }
            Ended::SpawnFailed(errno) => {
                let error = std::io::Error::from_raw_os_error(errno);
                let is_shell = matches!(
                    self.claim.job.spec,
                    JobSpec::Command { request: CommandRequest::Shell(_), .. } | JobSpec::Task(_)
                );
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
                let limit = self.claim.job.timeout.as_secs();
                (
                    Ending::TimedOut,
                    Some(format!("stopped after {limit} s, with {} s of grace", GRACE.as_secs())),
                )
            }
        };
        let outcome = Outcome { ending, exit_code, message, duration };
        match &self.agent {
            Some(agent) if exit.cause == StopCause::Cancelled && !self.tail.stop.is_cancelled() => {
                agent.hung(outcome)
            }
            Some(agent) => agent.judge(outcome),
            None => outcome,
        }
    }
}
