//! One command, from its claim to its end: where it runs, start or attach, finish.

mod agent;
mod artefacts;
mod attach;
pub(crate) mod control;
mod endings;
pub(crate) mod executor;
mod intake;
mod invocation;
pub(crate) mod journal_gc;
mod refusal;
pub(crate) mod retry;

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rdev_domain::{
    CommandRequest, Error, Job, JobSpec, JobState, Outcome, Position, Reason, Result, Seq, Target, Timestamp,
    attempt_error,
};
use rdev_ports::{Claim, Pod, PodRef, Reach, Readiness, Retry, Slot, Started};
use rdev_runner::frame::decode_all;

use crate::live::CommandTail;
use crate::run::agent::AgentWatch;
use crate::run::attach::{Attachment, unreached_max};
use crate::run::control::RunId;
use crate::run::endings::{failed, never_started};
use crate::run::executor::Executor;
use crate::run::invocation::checkout;
use crate::run::refusal::Refusals;
use crate::run::retry::until_available;

/// A command whose place is not ready holds up nobody until it is looked at again: after half of the time that it
/// has waited, within these bounds, or at once when its place tells that it is ready.
const PLACE_PAUSE_MIN: Duration = Duration::from_secs(1);
const PLACE_PAUSE_MAX: Duration = Duration::from_secs(10);
/// Entries read at once when an agent's earlier lines are read again.
const REREAD_ENTRIES: u32 = 16;

/// What is to be done with a claimed command.
enum Next {
    /// Start it there, or attach to it.
    Supervise(Pod, Box<Started>),
    /// Nothing can run any more: it ends.
    End(Outcome),
    /// Its place may become ready. It has waited for that since then.
    Later(Timestamp),
}

impl Executor {
    /// Runs a claimed command to its end, or gives it back for a while if its place is not ready. Dropping
    /// the future leaves the command running, and everything stored so that another call goes on where
    /// this one stopped.
    ///
    /// A store that is not available is waited for.
    ///
    /// # Errors
    /// `LeaseLost` when another worker has taken over.
    pub(crate) async fn run(&self, claim: &Claim) -> Result<()> {
        // Held from the beginning, so that a wish to cancel is heard whenever it comes.
        let tail = self.live.work_on(&claim.fence.id);
        if claim.job.schedule.attempts > 0 {
            tail.tail.forget();
        }
        match self.next(claim, &tail).await? {
            Next::End(outcome) => {
                // What is asked for once it has ended is not for this run.
                drop(tail);
                let (seq, attempt) = (claim.last_seq.next(), claim.job.schedule.attempts);
                match claim.job.state {
                    JobState::Running { .. } => {
                        self.lose(claim).await?;
                        self.conclude(claim, attempt, seq, outcome, true).await
                    }
                    // What cannot be started at all is no attempt, and trying again would not end.
                    JobState::Pending | JobState::Ended { .. } => self.finish(claim, seq, outcome).await,
                }
            }
            Next::Later(since) => self.postpone(claim, since).await,
            Next::Supervise(pod, started) => self.attach(claim, tail, pod, *started).await,
        }
    }

    /// Gives a claim back until its place may be ready. Those that wait for the same are spread a little.
    async fn postpone(&self, claim: &Claim, since: Timestamp) -> Result<()> {
        let now = self.clock.now();
        let pause = (now.since(since) / 2).clamp(PLACE_PAUSE_MIN, PLACE_PAUSE_MAX);
        let until = now + pause.mul_f64(1.0 - self.random.fraction() / 4.0);
        until_available(&claim.fence.id, || self.queue.postpone(&claim.fence, until)).await
    }

    async fn next(&self, claim: &Claim, tail: &CommandTail) -> Result<Next> {
        let job = &claim.job;
        let pod_ref = match (job.target(), &claim.slot) {
            (Target::Project(id), _) => PodRef::Project(id),
            (Target::Pool, Some(slot)) => PodRef::Worker(slot.worker.clone()),
            (Target::Pool, None) => return self.next_in_pool(claim, tail).await,
        };
        if let (Some(uid), JobState::Running { started_at, .. }) = (&claim.pod_uid, &job.state) {
            return self.next_of_started(claim, tail, (&pod_ref, uid, *started_at)).await;
        }
        let standing = match self.pods.readiness(&pod_ref).await {
            // Nothing is known of any place, so it is not known to be ready.
            Err(Error::Unavailable { .. }) => return Ok(Next::Later(waiting_since(job))),
            standing => standing?,
        };
        match standing {
            Some(Readiness::Ready(pod)) => self.start(claim, tail, pod, claim.slot.as_ref()).await,
            Some(Readiness::NotReady { .. }) if job.cancel_requested => Ok(Next::End(never_started())),
            Some(Readiness::NotReady { cause: failure, since }) => {
                let since = since.max(waiting_since(job));
                if self.clock.now().since(since) <= self.place_patience {
                    return Ok(Next::Later(since));
                }
                Ok(Next::End(failed(failure.reason, failure.message)))
            }
            Some(Readiness::Unusable { cause: failure }) => {
                Ok(Next::End(failed(failure.reason, failure.message)))
            }
            None => Ok(Next::End(failed(Reason::PodLost, format!("{pod_ref} is gone")))),
        }
    }

    /// A command was started before, in this place: it goes on there, whatever has come beside it, or is to go.
    async fn next_of_started(
        &self,
        claim: &Claim,
        tail: &CommandTail,
        pod: (&PodRef, &str, Timestamp),
    ) -> Result<Next> {
        let (pod_ref, uid, started_at) = pod;
        let failure = match self.pods.reach(pod_ref, uid).await {
            Ok(Reach::Reachable(pod)) => return self.start(claim, tail, pod, claim.slot.as_ref()).await,
            Ok(Reach::Unreachable { cause: failure, since }) => {
                let (since, patience) = (since.max(started_at), unreached_max(&claim.job));
                if self.clock.now().since(since) <= patience {
                    return Ok(Next::Later(since));
                }
                failure
            }
            Ok(Reach::Lost(failure)) => self.why_gone(claim, pod, failure).await?,
            Err(Error::Unavailable { .. }) => return Ok(Next::Later(started_at)),
            Err(error) => return Err(error),
        };
        Ok(Next::End(failed(failure.reason, failure.message)))
    }

    /// A task of the pool takes the first seat that is free, among workers with as many tasks, and waits while there is
    /// none. All workers are asked at once: one that does not answer keeps nobody from another.
    async fn next_in_pool(&self, claim: &Claim, tail: &CommandTail) -> Result<Next> {
        if claim.job.cancel_requested {
            return Ok(Next::End(never_started()));
        }
        let occupancy = until_available(&claim.fence.id, || self.pool.occupancy()).await?;
        let workers = match self.pods.workers().await {
            Err(Error::Unavailable { .. }) => Vec::new(),
            workers => workers?,
        };
        let mut seats: Vec<Slot> = workers.iter().flat_map(|worker| occupancy.free_slots(worker)).collect();
        seats.sort_by_key(|slot| slot.number);
        let mut free: Vec<PodRef> = seats.iter().map(|slot| PodRef::Worker(slot.worker.clone())).collect();
        free.sort();
        free.dedup();
        let asked: FuturesUnordered<_> =
            free.iter().map(async |pod_ref| (pod_ref, self.pods.readiness(pod_ref).await)).collect();
        // Those that answer at once are one chunk.
        let mut answers = asked.ready_chunks(free.len().max(1));
        while let Some(answers) = answers.next().await {
            let mut ready = HashMap::new();
            for (pod_ref, answer) in answers {
                match answer {
                    Ok(Some(Readiness::Ready(pod))) => drop(ready.insert(pod_ref, pod)),
                    Ok(_) | Err(Error::Unavailable { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            for slot in &seats {
                let Some(pod) = ready.get(&PodRef::Worker(slot.worker.clone())) else { continue };
                match self.start(claim, tail, pod.clone(), Some(slot)).await {
                    Err(Error::Conflict { conflict: rdev_domain::Conflict::SlotTaken, .. }) => {}
                    next => return next,
                }
            }
        }
        Ok(Next::Later(waiting_since(&claim.job)))
    }

    async fn start(&self, claim: &Claim, tail: &CommandTail, pod: Pod, slot: Option<&Slot>) -> Result<Next> {
        let (fence, now) = (&claim.fence, self.clock.now());
        let start = || self.queue.start(fence, &pod.uid, slot, now);
        let started = until_available(&fence.id, start).await?;
        let is_first = started.entry.is_some();
        if let Some(entry) = &started.entry {
            self.live.publish(entry.clone());
        }
        if is_first && (started.cancel_requested || tail.stop.is_cancelled()) {
            return Ok(Next::End(never_started()));
        }
        Ok(Next::Supervise(pod, Box::new(started)))
    }

    async fn attach(&self, claim: &Claim, tail: CommandTail, pod: Pod, started: Started) -> Result<()> {
        if started.cancel_requested {
            tail.stop.cancel();
        }
        let agent = match &claim.job.spec {
            JobSpec::Command { request: CommandRequest::Claude(_), .. } => Some(self.reread(claim).await?),
            JobSpec::Command { .. } | JobSpec::Task(_) => None,
        };
        let attempt = started.attempt;
        let refusals = Refusals::new(started.entry.is_some());
        let (last_seq, was_there, starts) = (claim.last_seq, false, started.entry.is_some());
        let mut execution = Attachment {
            to: self,
            claim,
            tail,
            pod,
            started,
            last_seq,
            agent,
            refusals,
            was_there,
            starts,
            bystander: false,
        };
        let (outcome, seq) = execution.attach().await?;
        let (pod, started, tail) = (execution.pod, execution.started, execution.tail);
        let counts = !execution.bystander;
        self.collect(claim, &pod, &started, &tail.stop).await?;
        // What is asked for once it has ended is not for this run.
        drop(tail);
        self.conclude(claim, attempt, seq, outcome, counts).await?;
        let folder = checkout(&claim.job, &pod, started.slot.as_ref(), attempt);
        let folder = (!claim.job.spec.artefacts().is_empty()).then_some(folder);
        let pod_ref = pod.pod_ref.clone();
        self.journal_gc.ended(pod, RunId::of(&claim.job, attempt), folder);
        if !matches!(self.pods.readiness(&pod_ref).await, Ok(Some(Readiness::Ready(_)))) {
            // It may be about to go, and wait for its journals to be taken.
            self.journal_gc.hurry();
        }
        Ok(())
    }

    /// An attempt is over: it is tried again, or this was its end. One that does not count was ended by what it had no
    /// part in.
    async fn conclude(
        &self,
        claim: &Claim,
        attempt: u32,
        seq: Seq,
        outcome: Outcome,
        counts: bool,
    ) -> Result<()> {
        let outcome = outcome.storable();
        let schedule = &claim.job.schedule;
        let again =
            schedule.allows_retry(attempt, outcome.ending) || !counts && schedule.allows_uncounted_retry();
        let done = if again {
            self.retry(claim, attempt, &outcome, counts).await
        } else {
            self.finish(claim, seq, outcome).await
        };
        if claim.job.spec.is_task() {
            // Its worker is free for the next one.
            self.live.work_came();
        }
        done
    }

    async fn retry(&self, claim: &Claim, attempt: u32, outcome: &Outcome, counts: bool) -> Result<()> {
        let pause = claim.job.schedule.backoff(attempt, self.random.fraction());
        let now = self.clock.now();
        let retry = Retry {
            reason: outcome.ending.reason().unwrap_or_default().to_owned(),
            error: attempt_error(outcome),
            run_after: now + pause,
            counts,
        };
        let entry = until_available(&claim.fence.id, || self.queue.retry(&claim.fence, retry.clone(), now));
        self.live.publish(entry.await?);
        Ok(())
    }

    async fn finish(&self, claim: &Claim, seq: Seq, outcome: Outcome) -> Result<()> {
        let now = self.clock.now();
        let entry =
            until_available(&claim.fence.id, || self.queue.finish(&claim.fence, seq, outcome.clone(), now));
        self.live.publish(entry.await?);
        // The next command of its key, if there is one.
        self.live.work_for_others();
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
            let id = &claim.fence.id;
            let read = || self.log.read_job(id, after, REREAD_ENTRIES);
            let entries = until_available(id, read).await?;
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

/// Since when a command that has not started has waited for a place.
fn waiting_since(job: &Job) -> Timestamp {
    job.schedule.run_after.map_or(job.created_at, |due| due.max(job.created_at))
}
