//! Frees the journals that a worker could not free at their command's end, and forgets runs that ended long ago: a
//! chore.
//!
//! A worker frees what it has seen the end of, soon after. What it did not come to, because it died, or the place did
//! not answer, is found here: every place is asked now and then for the runs that are over and that nobody has freed.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{Error, Result, Timestamp};
use rdev_ports::{EventLog, Pod, PodRef, Pods, Readiness, StepReport, TaskQueue, Unfinished};

use crate::PeriodicJob;
use crate::run::control::{FREED_AT_ONCE, RunId, control, free, read};

/// Runs that a place is asked for at once, and most bytes of a line of its answer: an id.
const RUNS_MAX: usize = 512;
const LINE_BYTES_MAX: usize = 129;
/// Runs that ended so long ago are forgotten whole: in seconds, a week.
const FORGET_AFTER_SECONDS: &str = "604800";

/// Asks the places, one after the other.
pub struct Journals {
    pods: Arc<dyn Pods>,
    queue: Arc<dyn TaskQueue>,
    log: Arc<dyn EventLog>,
    period: Duration,
    round: Mutex<Round>,
}

/// One turn of all places. One that another process has interrupted goes on at the next.
#[derive(Default)]
struct Round {
    waiting: VecDeque<PodRef>,
    /// Places that were asked, by their uid: several sites may be in one.
    asked: HashSet<String>,
}

impl Journals {
    /// Wires the chore. Every place is asked once in `period`.
    pub fn new(
        pods: Arc<dyn Pods>,
        queue: Arc<dyn TaskQueue>,
        log: Arc<dyn EventLog>,
        period: Duration,
    ) -> Self {
        Self { pods, queue, log, period, round: Mutex::default() }
    }

    fn round(&self) -> MutexGuard<'_, Round> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The site whose turn it is; all have their turn again after the last one.
    async fn next_site(&self) -> Result<Option<PodRef>> {
        if let Some(pod_ref) = self.round().waiting.pop_front() {
            return Ok(Some(pod_ref));
        }
        let projects = self.pods.projects().await?.into_iter().map(|project| PodRef::Project(project.id));
        let workers = self.pods.workers().await?.into_iter().map(|worker| PodRef::Worker(worker.name));
        let mut round = self.round();
        *round = Round { waiting: projects.chain(workers).collect(), asked: HashSet::new() };
        Ok(round.waiting.pop_front())
    }

    /// Frees what is over in a place; how many journals, and whether there may be more.
    async fn free(&self, pod: &Pod) -> Result<StepReport> {
        let runs = match unfreed(&*self.pods, pod).await {
            Ok(runs) => runs,
            Err(error) => {
                put_off(pod, &error, "its runs were not listed");
                return Ok(StepReport { done: 0, more: false });
            }
        };
        let is_full = runs.len() == RUNS_MAX;
        let over = self.over(runs).await?;
        let mut done = 0;
        if !over.is_empty() {
            // No journal goes before its copy survives the death of the machine.
            self.log.flush().await?;
        }
        for runs in over.chunks(FREED_AT_ONCE) {
            match free(&*self.pods, pod, runs).await {
                Ok(()) => done += runs.len() as u64,
                Err(error) => put_off(pod, &error, "journals were not freed"),
            }
        }
        Ok(StepReport { done, more: is_full && done > 0 })
    }

    /// Those runs whose journal nobody needs: their attempt is over, or the store does not know them.
    async fn over(&self, mut runs: Vec<RunId>) -> Result<Vec<RunId>> {
        let ids: Vec<_> = runs.iter().map(|run| run.job.clone()).collect();
        let unfinished = self.queue.unfinished(&ids).await?;
        runs.retain(|run| !is_needed(run, &unfinished));
        Ok(runs)
    }
}

#[async_trait]
impl PeriodicJob for Journals {
    fn name(&self) -> &'static str {
        "journals"
    }

    fn period(&self) -> Duration {
        self.period
    }

    async fn step(&self, _now: Timestamp) -> Result<StepReport> {
        let Some(pod_ref) = self.next_site().await? else { return Ok(StepReport { done: 0, more: false }) };
        let mut done = 0;
        match self.pods.readiness(&pod_ref).await {
            Ok(Some(Readiness::Ready(pod))) if self.round().asked.insert(pod.uid.clone()) => {
                let progress = self.free(&pod).await?;
                done = progress.done;
                if progress.more {
                    let mut round = self.round();
                    round.asked.remove(&pod.uid);
                    round.waiting.push_back(pod_ref);
                } else if let Err(error) = forget(&*self.pods, &pod).await {
                    put_off(&pod, &error, "old runs were not forgotten");
                }
            }
            // It was asked, or cannot be: its turn comes again.
            Ok(_) | Err(Error::Unavailable { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(StepReport { done, more: !self.round().waiting.is_empty() })
    }
}

/// Runs that are over and not freed. Those of other programs than rdev are theirs.
async fn unfreed(pods: &dyn Pods, pod: &Pod) -> anyhow::Result<Vec<RunId>> {
    let limit = RUNS_MAX.to_string();
    let call = ["list", "--uncollected", "--limit", &limit];
    let text = read(pods, pod, &call, RUNS_MAX * LINE_BYTES_MAX).await?;
    Ok(text.lines().filter_map(|id| id.parse().ok()).collect())
}

/// Tells whether a worker may still read the journal, or is to.
fn is_needed(run: &RunId, unfinished: &[Unfinished]) -> bool {
    let attempt_is_over = |last| run.attempt.is_some_and(|attempt| attempt < last);
    let job = unfinished.iter().find(|known| known.id == run.job);
    job.is_some_and(|known| !attempt_is_over(known.attempt))
}

async fn forget(pods: &dyn Pods, pod: &Pod) -> anyhow::Result<()> {
    control(pods, pod, &["gc", "--older-than", FORGET_AFTER_SECONDS]).await
}

/// A place that fails keeps no other waiting, and has its turn again.
fn put_off(pod: &Pod, error: &anyhow::Error, what: &str) {
    let pod = &pod.pod_ref;
    tracing::warn!(%pod, error = format!("{error:#}"), "{what}, trying again in the next turn");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_of_the_attempt_that_is_not_over_is_needed_alone() {
        let [ended, unfinished] = ["0a", "0b"].map(|digits| format!("cmd-{}", digits.repeat(16)));
        let known = [Unfinished { id: unfinished.parse().unwrap(), attempt: 2 }];
        for (run, needed) in [
            (ended.clone(), false),
            (format!("{ended}-2"), false),
            (unfinished.clone(), true),
            (format!("{unfinished}-1"), false),
            (format!("{unfinished}-2"), true),
            // It was begun after the store was asked.
            (format!("{unfinished}-3"), true),
        ] {
            assert_eq!(is_needed(&run.parse().unwrap(), &known), needed, "{run}");
        }
    }
}
