//! What cannot start says so within seconds, and ends within a minute.

use std::time::Duration;

use rdev_domain::{Ending, Failure, JobState, Reason};

use crate::support::{Answer, Bench};

const FULL: &str = "cannot create /runs/.x: No space left on device";

fn failure(job: &rdev_domain::Job) -> Option<&Failure> {
    match &job.state {
        JobState::Running { failure, .. } => failure.as_ref(),
        JobState::Pending | JobState::Ended { .. } => None,
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_start_is_told_in_seconds_and_ends_in_a_minute() {
    for answer in [Answer::Fails(73, FULL), Answer::NotStarted(FULL)] {
        let bench = Bench::new([answer]);
        let id = bench.submit(1).await;
        let (stalled, told_after) = bench.when(&id, |job| failure(job).is_some()).await;
        assert_eq!(failure(&stalled), Some(&Failure::new(Reason::RunnerFailed, FULL)));
        let (ended, ended_after) = bench.ended(&id).await;
        let JobState::Ended { outcome, .. } = ended.state else { panic!("it has ended") };
        assert_eq!(outcome.ending, Ending::Failed(Reason::RunnerFailed));
        assert_eq!(outcome.message.as_deref(), Some(FULL));
        assert!(told_after < Duration::from_secs(6), "{told_after:?}");
        assert!(told_after + ended_after < Duration::from_secs(60), "{ended_after:?}");
        let stalled = format!("stalled runner_failed: {FULL}");
        assert_eq!(bench.told(&id).await, ["pending", "running", &stalled, "failed 1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_starts_in_the_end_says_that_nothing_keeps_it_any_more() {
    let refused = std::iter::repeat_n(Answer::Fails(73, FULL), 8);
    let bench = Bench::new(refused.chain([Answer::Runs(1)]));
    let id = bench.submit(1).await;
    let (ended, _) = bench.ended(&id).await;
    assert_eq!(ended.state.status().as_str(), "completed");
    let stalled = format!("stalled runner_failed: {FULL}");
    let told = ["pending", "running", &stalled, "running", "output 1-1", "completed 2"];
    assert_eq!(bench.told(&id).await, told);
}

#[tokio::test(start_paused = true)]
async fn what_may_run_is_attached_to_for_as_long_as_it_may() {
    // A cut order may have been carried out; code 70 does not say that it was not.
    for doubt in [Answer::Cut, Answer::Fails(70, "cannot follow it")] {
        let bench = Bench::new([doubt, Answer::Fails(73, FULL)]);
        let id = bench.submit(1).await;
        let (ended, after) = bench.ended(&id).await;
        let JobState::Ended { outcome, .. } = ended.state else { panic!("it has ended") };
        assert_eq!(outcome.ending, Ending::Failed(Reason::RunnerLost));
        assert!(after > Duration::from_secs(360), "its own time, and five minutes: {after:?}");
        assert_eq!(bench.told(&id).await[2], format!("stalled runner_failed: {FULL}"));
    }
}

/// The runs that were ordered for a task which may be tried so often, as its worker says no word to the first two orders.
async fn ordered(attempt: u32) -> Vec<String> {
    let bench = Bench::new([Answer::Silent, Answer::Silent, Answer::Runs(1)]);
    let id = bench.submit_tries(&[], attempt).await;
    bench.task_when(&id, |task, _| task.state.status() == rdev_domain::JobStatus::Completed).await;
    let orders = bench.pods.orders.lock().expect("nobody has panicked");
    orders.iter().map(|order| order.id.trim_start_matches(id.as_str()).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_says_no_word_loses_what_may_be_tried_elsewhere() {
    assert_eq!(ordered(2).await, ["-1", "-1", "-2"]);
    assert_eq!(ordered(1).await, ["-1", "-1", "-1"]);
}
