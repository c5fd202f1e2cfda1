//! One command, from its claim to its end: where it runs, start or attach, finish.

use std::sync::Arc;
use std::time::Duration;

use rdev_domain::{
    Ending, Error, Home, Outcome, Position, Reason, Request, Result, Schedule, Seq, State, Timestamp,
    attempt_error,
};
use rdev_ports::{
    Artefacts, Chance, Claim, Clock, EventLog, Fate, Place, Pods, PoolQueue, Retry, Seat, Site, Standing,
    Started, TaskQueue, Trouble,
};
use rdev_runner::frame::decode_all;

use crate::agent::AgentWatch;
use crate::invocation::{checkout, run_id};
use crate::janitor::Janitor;
use crate::live::Live;
use crate::supervise::{Execution, UNREACHED_MAX, until_stored};

/// A command whose place is not ready is looked at again after this time, and holds up nobody until then.
const PLACE_PAUSE: Duration = Duration::from_secs(1);
/// Entries read at once when an agent's earlier lines are read again.
const REREAD_ENTRIES: u32 = 16;

/// What every execution needs.
pub(crate) struct Executor {
    pub(crate) pods: Arc<dyn Pods>,
    pub(crate) queue: Arc<dyn TaskQueue>,
    pub(crate) pool: Arc<dyn PoolQueue>,
    pub(crate) artefacts: Arc<dyn Artefacts>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chance: Arc<dyn Chance>,
    pub(crate) live: Live,
    pub(crate) janitor: Janitor,
    /// How long a command waits for its place to be ready.
    pub(crate) place_patience: Duration,
}

/// What is to be done with a claimed command.
enum Next {
    /// Start it there, or attach to it.
    Supervise(Place, Box<Started>),
    /// Nothing can run any more: it ends.
    End(Outcome),
    /// Its place may become ready.
    Later,
}

impl Executor {
    /// Runs a claimed command to its end, or gives it back for a while if its place is not ready. Dropping
    /// the future leaves the command running, and everything stored so that another call goes on where
    /// this one stopped.
    ///
    /// # Errors
    /// `LeaseLost` when another worker has taken over; `Unavailable` when a store failed.
    pub(crate) async fn run(&self, claim: &Claim) -> Result<()> {
        if let Some(of) = self.live.existing(&claim.fence.id).filter(|_| claim.command.schedule.tries > 0) {
            of.tail.forget();
        }
        match self.next(claim).await? {
            Next::End(outcome) => {
                let (seq, tries) = (claim.last_seq.next(), claim.command.schedule.tries);
                match claim.command.state {
                    State::Running { .. } => {
                        self.lose(claim).await?;
                        self.conclude(claim, tries, seq, outcome).await
                    }
                    // What cannot be started at all is no attempt, and trying again would not end.
                    State::Pending | State::Ended { .. } => self.finish(claim, seq, outcome).await,
                }
            }
            Next::Later => self.queue.postpone(&claim.fence, self.clock.now() + PLACE_PAUSE).await,
            Next::Supervise(place, started) => self.supervise(claim, place, *started).await,
        }
    }

    async fn next(&self, claim: &Claim) -> Result<Next> {
        let command = &claim.command;
        let site = match (&command.home, &claim.seat) {
            (Home::Project(id), _) => Site::Project(id.clone()),
            (Home::Pool, Some(seat)) => Site::Worker(seat.worker.clone()),
            (Home::Pool, None) => return self.next_in_pool(claim).await,
        };
        let standing = self.pods.place(&site).await?;
        if let (Some(uid), State::Running { started_at }) = (&claim.place_uid, &command.state)
            && !matches!(&standing, Some(Standing::Ready(place)) if place.uid == *uid)
        {
            return self.next_away_from(uid, *started_at, standing, claim).await;
        }
        match standing {
            Some(Standing::Ready(place)) => self.start(claim, place, claim.seat.as_ref()).await,
            Some(Standing::Waiting(..)) if command.cancel_requested => Ok(Next::End(never_started())),
            Some(Standing::Waiting(trouble, since)) => {
                let waited = self.clock.now().since(since.max(command.created_at));
                if waited <= self.place_patience {
                    return Ok(Next::Later);
                }
                Ok(Next::End(failed(trouble.reason, trouble.message)))
            }
            Some(Standing::Unusable(trouble)) => Ok(Next::End(failed(trouble.reason, trouble.message))),
            None => Ok(Next::End(failed(Reason::PodLost, format!("{site} is gone")))),
        }
    }

    /// A command was started before in the place `uid`, which is not where its project's commands run now.
    async fn next_away_from(
        &self,
        uid: &str,
        started_at: Timestamp,
        standing: Option<Standing>,
        claim: &Claim,
    ) -> Result<Next> {
        let trouble = match (self.pods.fate(uid, started_at).await?, standing) {
            (Fate::Gone(trouble), _) => trouble,
            (_, Some(Standing::Waiting(trouble, since))) => {
                let patience = claim.command.timeout + UNREACHED_MAX;
                if self.clock.now().since(since.max(started_at)) <= patience {
                    return Ok(Next::Later);
                }
                trouble
            }
            (_, Some(Standing::Unusable(_))) => return Ok(Next::Later),
            (Fate::Interrupted(trouble), _) => trouble,
            (Fate::Unknown | Fate::Undisturbed, _) => replaced(),
        };
        Ok(Next::End(failed(trouble.reason, trouble.message)))
    }

    /// A task of the pool takes the first seat that is free, among workers with as many tasks, and waits while
    /// there is none.
    async fn next_in_pool(&self, claim: &Claim) -> Result<Next> {
        if claim.command.cancel_requested {
            return Ok(Next::End(never_started()));
        }
        let occupancy = self.pool.occupancy().await?;
        let workers = self.pods.workers().await?;
        let mut seats: Vec<Seat> = workers.iter().flat_map(|worker| occupancy.free_seats(worker)).collect();
        seats.sort_by_key(|seat| seat.number);
        for seat in seats {
            let site = Site::Worker(seat.worker.clone());
            let Some(Standing::Ready(place)) = self.pods.place(&site).await? else {
                continue;
            };
            match self.start(claim, place, Some(&seat)).await {
                Err(Error::Conflict { code: "WORKER_TAKEN", .. }) => {}
                next => return next,
            }
        }
        Ok(Next::Later)
    }

    async fn start(&self, claim: &Claim, place: Place, seat: Option<&Seat>) -> Result<Next> {
        let started = self.queue.start(&claim.fence, &place.uid, seat, self.clock.now()).await?;
        let is_first = started.entry.is_some();
        if let Some(entry) = &started.entry {
            self.live.publish(entry.clone());
        }
        if started.cancel_requested && is_first {
            return Ok(Next::End(never_started()));
        }
        Ok(Next::Supervise(place, Box::new(started)))
    }

    async fn supervise(&self, claim: &Claim, place: Place, started: Started) -> Result<()> {
        let tail = self.live.tail(&claim.fence.id);
        if started.cancel_requested {
            tail.stop.cancel();
        }
        let agent = match &claim.command.request {
            Request::Claude(_) => Some(self.reread(claim).await?),
            Request::Shell(_) | Request::Git(_) | Request::Work(_) => None,
        };
        let tries = started.tries;
        let mut execution =
            Execution { to: self, claim, tail, place, started, last_seq: claim.last_seq, agent };
        let (outcome, seq) = execution.supervise().await?;
        let (place, started, tail) = (execution.place, execution.started, execution.tail);
        self.collect(claim, &place, &started, &tail.stop).await?;
        self.conclude(claim, tries, seq, outcome).await?;
        let folder = checkout(&claim.command, &place, started.seat.as_ref(), tries);
        let folder = (!claim.command.request.artefacts().is_empty()).then_some(folder);
        self.janitor.ended(place, run_id(&claim.command, tries), folder);
        Ok(())
    }

    /// Why what ran in a place that was left is no more.
    pub(crate) async fn trouble_of(&self, place_uid: &str, since: Timestamp) -> Result<Trouble> {
        match self.pods.fate(place_uid, since).await? {
            Fate::Gone(trouble) | Fate::Interrupted(trouble) => Ok(trouble),
            Fate::Unknown | Fate::Undisturbed => Ok(replaced()),
        }
    }

    /// An attempt is over: it is tried again, or this was its end.
    async fn conclude(&self, claim: &Claim, tries: u32, seq: Seq, outcome: Outcome) -> Result<()> {
        let done = if claim.command.schedule.tries_again(tries, outcome.ending) {
            self.retry(claim, tries, &outcome).await
        } else {
            self.finish(claim, seq, outcome).await
        };
        if claim.command.home == Home::Pool {
            // Its worker is free for the next one.
            self.live.work_came();
        }
        done
    }

    async fn retry(&self, claim: &Claim, tries: u32, outcome: &Outcome) -> Result<()> {
        let pause = Schedule::backoff(tries, self.chance.fraction());
        let retry = Retry {
            reason: outcome.ending.reason().unwrap_or_default().to_owned(),
            error: attempt_error(outcome),
            run_after: self.clock.now() + pause,
        };
        let entry =
            until_stored(&claim.fence.id, || self.queue.retry(&claim.fence, retry.clone(), self.clock.now()));
        self.live.publish(entry.await?);
        Ok(())
    }

    async fn finish(&self, claim: &Claim, seq: Seq, outcome: Outcome) -> Result<()> {
        let entry = until_stored(&claim.fence.id, || {
            self.queue.finish(&claim.fence, seq, outcome.clone(), self.clock.now())
        });
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

fn never_started() -> Outcome {
    Outcome::without_process(Ending::Cancelled, "cancelled before it started")
}

fn replaced() -> Trouble {
    Trouble::new(Reason::PodLost, "the place it ran in was replaced, its end is unknown")
}

/// The end of a command of whose process nothing is known.
pub(crate) fn failed(reason: Reason, message: impl Into<String>) -> Outcome {
    Outcome::without_process(Ending::Failed(reason), message)
}
