//! Periodic work. Every process on a store is ready for it, and one does it at a time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdev_domain::{Result, Timestamp};
use rdev_ports::{Clock, PeriodicLeases, StepReport};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

/// Pause between two looks at whether a chore is due: so late it is after the process that did it has died.
const LOOK: Duration = Duration::from_secs(5);
/// Least pause between two steps. It is as long as the step was: half of the time is for requests.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// Work that is done now and then.
#[async_trait]
pub trait PeriodicJob: Send + Sync {
    /// Its name, which all processes on a store give it.
    fn name(&self) -> &'static str;

    /// It is done once in this time. No step may take as long: another process would begin.
    fn period(&self) -> Duration;

    /// Does a little of it, in a moment. Whatever it is stopped in, the next step goes on.
    async fn step(&self, now: Timestamp) -> Result<StepReport>;
}

/// Does the chores whose turn is this process's.
pub struct Periodic {
    turns: Arc<dyn PeriodicLeases>,
    clock: Arc<dyn Clock>,
    periodic: Vec<Arc<dyn PeriodicJob>>,
}

impl Periodic {
    /// Wires the service.
    pub fn new(
        turns: Arc<dyn PeriodicLeases>,
        clock: Arc<dyn Clock>,
        periodic: Vec<Arc<dyn PeriodicJob>>,
    ) -> Self {
        Self { turns, clock, periodic }
    }

    /// Works until `shutdown`. None of them waits for another.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut running = JoinSet::new();
        for job_name in self.periodic {
            let (turns, clock) = (self.turns.clone(), self.clock.clone());
            running.spawn(shutdown.clone().run_until_cancelled_owned(repeat(turns, clock, job_name)));
        }
        running.join_all().await;
    }
}

async fn repeat(turns: Arc<dyn PeriodicLeases>, clock: Arc<dyn Clock>, job_name: Arc<dyn PeriodicJob>) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let name = job_name.name();
        match turn(&*turns, &*clock, &*job_name).await {
            Ok(0) => {}
            Ok(done) => tracing::info!(job_name = name, done, "this server did what was due"),
            Err(error) => tracing::warn!(job_name = name, ?error, "left undone, trying again when it is due"),
        }
    }
}

/// Does a chore to its end, if this process has the turn; how many things were dealt with.
pub(crate) async fn turn(
    turns: &dyn PeriodicLeases,
    clock: &dyn Clock,
    job_name: &dyn PeriodicJob,
) -> Result<u64> {
    let mut turn = turns.try_acquire(job_name.name(), job_name.period(), clock.now()).await?;
    let mut done = 0;
    while let Some(taken) = turn {
        let begun = Instant::now();
        let progress = job_name.step(clock.now()).await?;
        done += progress.done;
        if !progress.more {
            break;
        }
        sleep(begun.elapsed().max(PAUSE_MIN)).await;
        turn = turns.extend(taken, clock.now()).await?;
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use rdev_ports::testing::{FakeClock, MemoryStore};

    use super::*;

    const PERIOD: Duration = Duration::from_secs(60);

    /// Takes so many steps, and so long for each.
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
    async fn a_turn_is_taken_to_its_end_and_comes_again_after_the_period() {
        let (store, clock) = (MemoryStore::default(), Arc::new(FakeClock::default()));
        // Longer than a period in all, and each step is a sign of life.
        let job_name = slow(&clock, 3, PERIOD / 2);
        assert_eq!(turn(&store, &*clock, &job_name).await.unwrap(), 3);
        assert_eq!(turn(&store, &*clock, &job_name).await.unwrap(), 0);
        clock.advance(PERIOD);
        assert_eq!(turn(&store, &*clock, &job_name).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn whoever_was_followed_stops() {
        let (store, clock) = (MemoryStore::default(), Arc::new(FakeClock::default()));
        let hung = slow(&clock, 3, PERIOD * 2);
        let (first, second) = tokio::join!(turn(&store, &*clock, &hung), async {
            store.try_acquire("slow", PERIOD, clock.now()).await
        });
        assert_eq!(first.unwrap(), 1);
        assert!(second.unwrap().is_some());
    }

    #[tokio::test]
    async fn what_has_no_end_is_stopped_in_the_middle() {
        let (store, clock) = (Arc::new(MemoryStore::default()), Arc::new(FakeClock::default()));
        let stop = CancellationToken::new();
        let job_name = Arc::new(slow(&clock, u64::MAX, Duration::ZERO));
        let periodic = Periodic::new(store, clock, vec![job_name.clone()]);
        let running = tokio::spawn(periodic.run(stop.clone()));
        while job_name.steps.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        running.await.unwrap();
    }
}
