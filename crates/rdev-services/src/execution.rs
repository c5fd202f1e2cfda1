//! One command, from its claim to its end: where it runs, start or attach, finish.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rdev_domain::{
    Command, Error, Home, Outcome, Position, Reason, Request, Result, Seq, State, Timestamp, attempt_error,
};
use rdev_ports::{Claim, Place, Reach, Retry, Seat, Site, Standing, Started};
use rdev_runner::frame::decode_all;

use crate::agent::AgentWatch;
use crate::endings::{failed, never_started};
use crate::executor::Executor;
use crate::invocation::checkout;
use crate::live::CommandTail;
use crate::patience::until_available;
use crate::refusal::Refusals;
use crate::runner::RunId;
use crate::supervise::{Execution, unreached_max};

/// A command whose place is not ready holds up nobody until it is looked at again: after half of the time that it
/// has waited, within these bounds, or at once when its place tells that it is ready.
const PLACE_PAUSE_MIN: Duration = Duration::from_secs(1);
const PLACE_PAUSE_MAX: Duration = Duration::from_secs(10);
/// Entries read at once when an agent's earlier lines are read again.
const REREAD_ENTRIES: u32 = 16;

/// What is to be done with a claimed command.
enum Next {
    /// Start it there, or attach to it.
    Supervise(Place, Box<Started>),
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
        if claim.command.schedule.tries > 0 {
            tail.tail.forget();
        }
        match self.next(claim, &tail).await? {
            Next::End(outcome) => {
                // What is asked for once it has ended is not for this run.
                drop(tail);
                let (seq, tries) = (claim.last_seq.next(), claim.command.schedule.tries);
                match claim.command.state {
                    State::Running { .. } => {
                        self.lose(claim).await?;
                        self.conclude(claim, tries, seq, outcome, true).await
                    }
                    // What cannot be started at all is no attempt, and trying again would not end.
                    State::Pending | State::Ended { .. } => self.finish(claim, seq, outcome).await,
                }
            }
            Next::Later(since) => self.postpone(claim, since).await,
            Next::Supervise(place, started) => self.supervise(claim, tail, place, *started).await,
        }
    }

    /// Gives a claim back until its place may be ready. Those that wait for the same are spread a little.
    async fn postpone(&self, claim: &Claim, since: Timestamp) -> Result<()> {
        let now = self.clock.now();
        let pause = (now.since(since) / 2).clamp(PLACE_PAUSE_MIN, PLACE_PAUSE_MAX);
        let until = now + pause.mul_f64(1.0 - self.chance.fraction() / 4.0);
        until_available(&claim.fence.id, || self.queue.postpone(&claim.fence, until)).await
    }

    async fn next(&self, claim: &Claim, tail: &CommandTail) -> Result<Next> {
        let command = &claim.command;
        let site = match (&command.home, &claim.seat) {
            (Home::Project(id), _) => Site::Project(id.clone()),
            (Home::Pool, Some(seat)) => Site::Worker(seat.worker.clone()),
            (Home::Pool, None) => return self.next_in_pool(claim, tail).await,
        };
        if let (Some(uid), State::Running { started_at, .. }) = (&claim.place_uid, &command.state) {
            return self.next_of_started(claim, tail, (&site, uid, *started_at)).await;
        }
        let standing = match self.pods.place(&site).await {
            // Nothing is known of any place, so it is not known to be ready.
            Err(Error::Unavailable { .. }) => return Ok(Next::Later(waiting_since(command))),
            standing => standing?,
        };
        match standing {
            Some(Standing::Ready(place)) => self.start(claim, tail, place, claim.seat.as_ref()).await,
            Some(Standing::Waiting(..)) if command.cancel_requested => Ok(Next::End(never_started())),
            Some(Standing::Waiting(trouble, since)) => {
                let since = since.max(waiting_since(command));
                if self.clock.now().since(since) <= self.place_patience {
                    return Ok(Next::Later(since));
                }
                Ok(Next::End(failed(trouble.reason, trouble.message)))
            }
            Some(Standing::Unusable(trouble)) => Ok(Next::End(failed(trouble.reason, trouble.message))),
            None => Ok(Next::End(failed(Reason::PodLost, format!("{site} is gone")))),
        }
    }

    /// A command was started before, in this place: it goes on there, whatever has come beside it, or is to go.
    async fn next_of_started(
        &self,
        claim: &Claim,
        tail: &CommandTail,
        place: (&Site, &str, Timestamp),
    ) -> Result<Next> {
        let (site, uid, started_at) = place;
        let trouble = match self.pods.reach(site, uid).await {
            Ok(Reach::There(place)) => return self.start(claim, tail, place, claim.seat.as_ref()).await,
            Ok(Reach::Later(trouble, since)) => {
                let (since, patience) = (since.max(started_at), unreached_max(&claim.command));
                if self.clock.now().since(since) <= patience {
                    return Ok(Next::Later(since));
                }
                trouble
            }
            Ok(Reach::Gone(trouble)) => self.why_gone(claim, place, trouble).await?,
            Err(Error::Unavailable { .. }) => return Ok(Next::Later(started_at)),
            Err(error) => return Err(error),
        };
        Ok(Next::End(failed(trouble.reason, trouble.message)))
    }

    /// A task of the pool takes the first seat that is free, among workers with as many tasks, and waits while there is
    /// none. All workers are asked at once: one that does not answer keeps nobody from another.
    async fn next_in_pool(&self, claim: &Claim, tail: &CommandTail) -> Result<Next> {
        if claim.command.cancel_requested {
            return Ok(Next::End(never_started()));
        }
        let occupancy = until_available(&claim.fence.id, || self.pool.occupancy()).await?;
        let workers = match self.pods.workers().await {
            Err(Error::Unavailable { .. }) => Vec::new(),
            workers => workers?,
        };
        let mut seats: Vec<Seat> = workers.iter().flat_map(|worker| occupancy.free_seats(worker)).collect();
        seats.sort_by_key(|seat| seat.number);
        let mut free: Vec<Site> = seats.iter().map(|seat| Site::Worker(seat.worker.clone())).collect();
        free.sort();
        free.dedup();
        let asked: FuturesUnordered<_> =
            free.iter().map(async |site| (site, self.pods.place(site).await)).collect();
        // Those that answer at once are one chunk.
        let mut answers = asked.ready_chunks(free.len().max(1));
        while let Some(answers) = answers.next().await {
            let mut ready = HashMap::new();
            for (site, answer) in answers {
                match answer {
                    Ok(Some(Standing::Ready(place))) => drop(ready.insert(site, place)),
                    Ok(_) | Err(Error::Unavailable { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            for seat in &seats {
                let Some(place) = ready.get(&Site::Worker(seat.worker.clone())) else { continue };
                match self.start(claim, tail, place.clone(), Some(seat)).await {
                    Err(Error::Conflict { code: "WORKER_TAKEN", .. }) => {}
                    next => return next,
                }
            }
        }
        Ok(Next::Later(waiting_since(&claim.command)))
    }

    async fn start(
        &self,
        claim: &Claim,
        tail: &CommandTail,
        place: Place,
        seat: Option<&Seat>,
    ) -> Result<Next> {
        let (fence, now) = (&claim.fence, self.clock.now());
        let start = || self.queue.start(fence, &place.uid, seat, now);
        let started = until_available(&fence.id, start).await?;
        let is_first = started.entry.is_some();
        if let Some(entry) = &started.entry {
            self.live.publish(entry.clone());
        }
        if is_first && (started.cancel_requested || tail.stop.is_cancelled()) {
            return Ok(Next::End(never_started()));
        }
        Ok(Next::Supervise(place, Box::new(started)))
    }

    async fn supervise(
        &self,
        claim: &Claim,
        tail: CommandTail,
        place: Place,
        started: Started,
    ) -> Result<()> {
        if started.cancel_requested {
            tail.stop.cancel();
        }
        let agent = match &claim.command.request {
            Request::Claude(_) => Some(self.reread(claim).await?),
            Request::Shell(_) | Request::Git(_) | Request::Work(_) => None,
        };
        let tries = started.tries;
        let refusals = Refusals::new(started.entry.is_some());
        let (last_seq, was_there, starts) = (claim.last_seq, false, started.entry.is_some());
        let mut execution = Execution {
            to: self,
            claim,
            tail,
            place,
            started,
            last_seq,
            agent,
            refusals,
            was_there,
            starts,
            bystander: false,
        };
        let (outcome, seq) = execution.supervise().await?;
        let (place, started, tail) = (execution.place, execution.started, execution.tail);
        let counts = !execution.bystander;
        self.collect(claim, &place, &started, &tail.stop).await?;
        // What is asked for once it has ended is not for this run.
        drop(tail);
        self.conclude(claim, tries, seq, outcome, counts).await?;
        let folder = checkout(&claim.command, &place, started.seat.as_ref(), tries);
        let folder = (!claim.command.request.artefacts().is_empty()).then_some(folder);
        let site = place.site.clone();
        self.janitor.ended(place, RunId::of(&claim.command, tries), folder);
        if !matches!(self.pods.place(&site).await, Ok(Some(Standing::Ready(_)))) {
            // It may be about to go, and wait for its journals to be taken.
            self.janitor.hurry();
        }
        Ok(())
    }

    /// An attempt is over: it is tried again, or this was its end. One that does not count was ended by what it had no
    /// part in.
    async fn conclude(
        &self,
        claim: &Claim,
        tries: u32,
        seq: Seq,
        outcome: Outcome,
        counts: bool,
    ) -> Result<()> {
        let outcome = outcome.storable();
        let schedule = &claim.command.schedule;
        let again =
            schedule.tries_again(tries, outcome.ending) || !counts && schedule.tries_again_uncounted();
        let done = if again {
            self.retry(claim, tries, &outcome, counts).await
        } else {
            self.finish(claim, seq, outcome).await
        };
        if claim.command.home == Home::Pool {
            // Its worker is free for the next one.
            self.live.work_came();
        }
        done
    }

    async fn retry(&self, claim: &Claim, tries: u32, outcome: &Outcome, counts: bool) -> Result<()> {
        let pause = claim.command.schedule.backoff(tries, self.chance.fraction());
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
            let read = || self.log.read_command(id, after, REREAD_ENTRIES);
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
fn waiting_since(command: &Command) -> Timestamp {
    command.schedule.run_after.map_or(command.created_at, |due| due.max(command.created_at))
}
