//! Refusals: a command that cannot start shows the cause within seconds, and ends within a minute.

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
async fn a_command_that_cannot_start_shows_the_cause_in_seconds_and_ends_in_a_minute() {
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
async fn a_command_that_starts_after_refusals_shows_no_cause_any_more() {
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
async fn a_command_that_may_run_is_attached_to_until_its_timeout() {
    // A request whose connection was cut may have been carried out; code 70 does not exclude it.
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

/// Returns the runs that were requested for a task of so many attempts, whose worker does not answer the first two
/// requests.
async fn requested(attempt: u32) -> Vec<String> {
    let bench = Bench::new([Answer::Silent, Answer::Silent, Answer::Runs(1)]);
    let id = bench.submit_tries(&[], attempt).await;
    bench.task_when(&id, |task, _| task.state.status() == rdev_domain::JobStatus::Completed).await;
    let orders = bench.pods.orders.lock().expect("nobody has panicked");
    orders.iter().map(|order| order.id.trim_start_matches(id.as_str()).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_answer_loses_a_task_that_may_be_retried() {
    assert_eq!(requested(2).await, ["-1", "-1", "-2"]);
    assert_eq!(requested(1).await, ["-1", "-1", "-1"]);
}
