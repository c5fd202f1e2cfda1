//! Periodic jobs. Every process on a store is ready for them, and one process does a job at a time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{Result, Timestamp};
use rdev_ports::{Clock, PeriodicLeases, StepReport};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

/// Pause between two checks of whether a job is due: the longest delay after the death of the process that did it.
const CHECK: Duration = Duration::from_secs(5);
/// Shortest pause between two steps. A pause is as long as the step was, so half of the time is for requests.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// Job that is done once in a period.
#[async_trait]
pub trait PeriodicJob: Send + Sync {
    /// Returns the name of the job's lease, the same in all processes on a store.
    fn name(&self) -> &'static str;

    /// Returns the period. A step takes less: another process begins when the job has been silent for so long.
    fn period(&self) -> Duration;

    /// Does a small part of the job. The next step goes on wherever this one was interrupted.
    async fn step(&self, now: Timestamp) -> Result<StepReport>;
}

/// Does the periodic jobs whose leases this process acquires.
pub struct Periodic {
    leases: Arc<dyn PeriodicLeases>,
    clock: Arc<dyn Clock>,
    jobs: Vec<Arc<dyn PeriodicJob>>,
}

impl Periodic {
    /// Wires the service.
    pub fn new(
        leases: Arc<dyn PeriodicLeases>,
        clock: Arc<dyn Clock>,
        jobs: Vec<Arc<dyn PeriodicJob>>,
    ) -> Self {
        Self { leases, clock, jobs }
    }

    /// Works until `shutdown`. No job waits for another.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut running = JoinSet::new();
        for job in self.jobs {
            let (leases, clock) = (self.leases.clone(), self.clock.clone());
            running.spawn(shutdown.clone().run_until_cancelled_owned(repeat(leases, clock, job)));
        }
        running.join_all().await;
    }
}

async fn repeat(leases: Arc<dyn PeriodicLeases>, clock: Arc<dyn Clock>, job: Arc<dyn PeriodicJob>) {
    let mut check = interval(CHECK);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        check.tick().await;
        let periodic_job = job.name();
        match run_if_due(&*leases, &*clock, &*job).await {
            Ok(0) => {}
            Ok(done) => tracing::info!(periodic_job, done, "periodic job done"),
            Err(error) => {
                tracing::warn!(periodic_job, ?error, "periodic job failed, retrying when it is due")
            }
        }
    }
}

/// Does a job to its end, if it is due and this process acquires its lease; returns how many things were dealt with.
async fn run_if_due(leases: &dyn PeriodicLeases, clock: &dyn Clock, job: &dyn PeriodicJob) -> Result<u64> {
    let mut lease = leases.try_acquire(job.name(), job.period(), clock.now()).await?;
    let mut done = 0;
    while let Some(held) = lease {
        let begun = Instant::now();
        let report = job.step(clock.now()).await?;
        done += report.done;
        if !report.more {
            break;
        }
        sleep(begun.elapsed().max(PAUSE_MIN)).await;
        lease = leases.extend(held, clock.now()).await?;
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use rdev_ports::testing::{FakeClock, MemoryStore};

    use super::*;

    const PERIOD: Duration = Duration::from_secs(60);

    /// Job of so many steps, each of which takes so long.
    struct Slow {
        clock: Arc<FakeClock>,
        steps_max: u64,
        step: Duration,
        steps: AtomicU64,
    }

    #[async_trait]
    impl PeriodicJob for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }

        fn period(&self) -> Duration {
            PERIOD
        }

        async fn step(&self, _now: Timestamp) -> Result<StepReport> {
            self.clock.advance(self.step);
            let steps = self.steps.fetch_add(1, Ordering::SeqCst) + 1;
            Ok(StepReport { done: 1, more: !steps.is_multiple_of(self.steps_max) })
        }
    }

    fn slow(clock: &Arc<FakeClock>, steps_max: u64, step: Duration) -> Slow {
        Slow { clock: clock.clone(), steps_max, step, steps: AtomicU64::new(0) }
    }

    #[tokio::test]
    async fn a_job_is_done_to_its_end_and_comes_again_after_the_period() {
        let (store, clock) = (MemoryStore::default(), Arc::new(FakeClock::default()));
        // Longer than a period in all, and each step extends the lease.
        let job = slow(&clock, 3, PERIOD / 2);
        assert_eq!(run_if_due(&store, &*clock, &job).await.unwrap(), 3);
        assert_eq!(run_if_due(&store, &*clock, &job).await.unwrap(), 0);
        clock.advance(PERIOD);
        assert_eq!(run_if_due(&store, &*clock, &job).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_process_whose_lease_was_taken_stops() {
        let (store, clock) = (MemoryStore::default(), Arc::new(FakeClock::default()));
        let hung = slow(&clock, 3, PERIOD * 2);
        let (first, second) = tokio::join!(run_if_due(&store, &*clock, &hung), async {
            store.try_acquire("slow", PERIOD, clock.now()).await
        });
        assert_eq!(first.unwrap(), 1);
        assert!(second.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_job_without_an_end_is_stopped_in_the_middle() {
        let (store, clock) = (Arc::new(MemoryStore::default()), Arc::new(FakeClock::default()));
        let stop = CancellationToken::new();
        let job = Arc::new(slow(&clock, u64::MAX, Duration::ZERO));
        let periodic = Periodic::new(store, clock, vec![job.clone()]);
        let running = tokio::spawn(periodic.run(stop.clone()));
        while job.steps.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        running.await.unwrap();
    }
}
