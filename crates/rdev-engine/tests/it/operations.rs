//! Operations: driven over failures, cancellations, lost answers and deaths of their worker.

use std::sync::PoisonError;
use std::time::Duration;

use rdev_domain::{JobState, OnFailure, OperationStatus, StepStatus};
use tokio::time::Instant;

use crate::support::{Bench, Fault, for_good, passing};

/// Changes of a step that is made at the first attempt.
fn made(step: &str) -> [String; 2] {
    [format!("{step} running 1"), format!("{step} done 1")]
}

fn undone(step: &str, error: &str) -> [String; 2] {
    [format!("{step} undoing 1{error}"), format!("{step} undone 1{error}")]
}

fn lines(of: &[&[String]]) -> Vec<String> {
    of.concat()
}

/// Returns what the log tells of an operation after its start.
async fn told(bench: &Bench, id: &rdev_domain::JobId) -> Vec<String> {
    let told = bench.told(id).await;
    assert_eq!(told[..2], ["pending", "running"]);
    told[2..].to_vec()
}

#[tokio::test(start_paused = true)]
async fn an_operation_makes_its_steps_one_after_the_other() {
    let bench = Bench::new([]).await;
    let id = bench.operate(OnFailure::Rollback).await;
    assert_eq!(bench.operation_ended(&id, OperationStatus::Completed).await, None);
    let end = ["completed 7".to_owned()];
    assert_eq!(told(&bench, &id).await, lines(&[&made("one"), &made("two"), &made("three"), &end]));
    let steps = bench.steps(&id).await;
    assert!(steps.iter().all(|step| step.made.get("of").is_some_and(|of| of == "shop")), "{steps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_for_good_takes_everything_back_in_reverse() {
    let bench = Bench::without_worker([]).await;
    bench.plans.steps[1].fails(for_good, 1);
    bench.begin(crate::support::LEASE);
    let id = bench.operate(OnFailure::Rollback).await;
    let message = bench.operation_ended(&id, OperationStatus::RolledBack).await;
    assert_eq!(message.as_deref(), Some("two: broken"));
    let failed = ["two running 1", "two failed 1: broken"].map(str::to_owned);
    let end = ["failed 9".to_owned()];
    let expected = lines(&[&made("one"), &failed, &undone("two", ": broken"), &undone("one", ""), &end]);
    assert_eq!(told(&bench, &id).await, expected);
    assert!(bench.plans.steps[2].seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failure_may_be_kept_and_retried_by_hand() {
    let bench = Bench::new([]).await;
    bench.plans.steps[1].fails(for_good, 1);
    let id = bench.operate(OnFailure::Keep).await;
    let message = bench.operation_ended(&id, OperationStatus::Degraded).await;
    assert_eq!(message.as_deref(), Some("two: broken; kept: one"));
    bench.retry_operation(&id).await;
    bench.operation_ended(&id, OperationStatus::Completed).await;
    let first =
        ["two running 1", "two failed 1: broken", "failed 5", "retry retried", "running"].map(str::to_owned);
    let end = ["completed 10".to_owned()];
    assert_eq!(told(&bench, &id).await, lines(&[&made("one"), &first, &made("two"), &made("three"), &end]));
    assert_eq!(bench.plans.steps[0].seen(), ["ensure"], "what is done is not made again");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_passes_is_waited_out_with_growing_pauses() {
    let bench = Bench::new([]).await;
    bench.plans.steps[0].fails(passing, 4);
    let since = Instant::now();
    let id = bench.operate(OnFailure::Rollback).await;
    bench.operation_ended(&id, OperationStatus::Completed).await;
    // Three quarters of 1, 2, 4 and 8 s.
    let waited = since.elapsed();
    assert!((Duration::from_secs(11)..Duration::from_secs(13)).contains(&waited), "{waited:?}");
    let told = told(&bench, &id).await;
    assert_eq!(
        told[..3],
        [
            "one running 1",
            "one running 2: the outside is not available: busy",
            "one running 3: the outside is not available: busy"
        ]
    );
    assert_eq!(told[5], "one done 5");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_does_not_pass_is_given_up_after_a_quarter_of_an_hour() {
    let bench = Bench::new([]).await;
    bench.plans.steps[1].fails(passing, 1000);
    let since = Instant::now();
    let id = bench.operate(OnFailure::Rollback).await;
    bench.operation_ended(&id, OperationStatus::RolledBack).await;
    let waited = since.elapsed();
    assert!((Duration::from_secs(12 * 60)..Duration::from_secs(16 * 60)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_taken_back_is_named_and_the_rest_goes() {
    let bench = Bench::new([]).await;
    bench.plans.steps[2].fails(for_good, 1);
    bench.plans.steps[1].stays(for_good, 1);
    let id = bench.operate(OnFailure::Rollback).await;
    let message = bench.operation_ended(&id, OperationStatus::Stuck).await;
    assert_eq!(message.as_deref(), Some("three: broken; two: taking it back: broken; left: two"));
    let statuses = async || bench.steps(&id).await.iter().map(|step| step.state.status()).collect::<Vec<_>>();
    assert_eq!(statuses().await, [StepStatus::Undone, StepStatus::Stuck, StepStatus::Undone]);
    // By hand it is taken back again, and not made again.
    bench.retry_operation(&id).await;
    bench.operation_ended(&id, OperationStatus::RolledBack).await;
    assert_eq!(bench.plans.steps[1].seen(), ["ensure", "undo", "undo"]);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_operation_finishes_its_step_and_takes_all_back() {
    let bench = Bench::new([]).await;
    let gate = bench.plans.steps[1].wait_for();
    let id = bench.operate(OnFailure::Keep).await;
    bench.operation_when(&id, |_, steps| steps.get(1).is_some_and(|step| step.attempt == 1)).await;
    bench.cancel_operation(&id).await;
    gate.notify_one();
    bench.operation_ended(&id, OperationStatus::Cancelled).await;
    let end = ["cancelled 9".to_owned()];
    let expected = lines(&[&made("one"), &made("two"), &undone("two", ""), &undone("one", ""), &end]);
    assert_eq!(told(&bench, &id).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_is_heard_while_a_step_waits_for_its_next_attempt() {
    let bench = Bench::new([]).await;
    bench.plans.steps[0].fails(passing, 1000);
    let id = bench.operate(OnFailure::Rollback).await;
    bench.operation_when(&id, |_, steps| steps.first().is_some_and(|step| step.attempt == 8)).await;
    let since = Instant::now();
    bench.cancel_operation(&id).await;
    bench.operation_ended(&id, OperationStatus::Cancelled).await;
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    assert_eq!(bench.plans.steps[0].seen().last(), Some(&"undo"));
}

#[tokio::test(start_paused = true)]
async fn past_its_point_of_no_return_an_operation_goes_on_whoever_cancels_it() {
    let bench = Bench::without_worker([]).await;
    *bench.plans.no_return_from.lock().unwrap_or_else(PoisonError::into_inner) = Some("two");
    bench.plans.steps[1].fails(passing, 3);
    bench.begin(crate::support::LEASE);
    let id = bench.operate(OnFailure::Rollback).await;
    bench.operation_when(&id, |_, steps| steps.get(1).is_some_and(|step| step.attempt == 2)).await;
    bench.cancel_operation(&id).await;
    bench.operation_ended(&id, OperationStatus::Completed).await;
    assert_eq!(bench.plans.steps[0].seen(), ["ensure"]);
    assert_eq!(bench.plans.steps[1].seen().len(), 4, "its pauses are kept");
}

#[tokio::test(start_paused = true)]
async fn answers_of_the_store_may_be_lost_or_late() {
    let bench = Bench::without_worker([]).await;
    for (what, fault, times) in [
        ("advance", Fault::AnswerLost, 2),
        ("plan", Fault::AnswerLost, 1),
        ("start", Fault::Away, 2),
        ("finish", Fault::AnswerLost, 1),
    ] {
        bench.store.fail(what, fault, times);
    }
    bench.begin(crate::support::LEASE);
    let id = bench.operate(OnFailure::Rollback).await;
    bench.operation_ended(&id, OperationStatus::Completed).await;
    let end = ["completed 7".to_owned()];
    assert_eq!(told(&bench, &id).await, lines(&[&made("one"), &made("two"), &made("three"), &end]));
}

/// The first worker hangs in a call, and loses its lease; another one goes on from the rows.
#[tokio::test(start_paused = true)]
async fn another_worker_goes_on_where_the_first_one_stopped() {
    let lease = Duration::from_secs(30);
    let bench = Bench::without_worker([]).await;
    let gate = bench.plans.steps[1].wait_for();
    bench.store.fail("renew", Fault::Hangs, 1000);
    bench.begin(lease);
    let id = bench.operate(OnFailure::Rollback).await;
    bench.operation_when(&id, |_, steps| steps.get(1).is_some_and(|step| step.attempt == 2)).await;
    gate.notify_one();
    gate.notify_one();
    bench.operation_ended(&id, OperationStatus::Completed).await;
    assert_eq!(bench.plans.steps[0].seen(), ["ensure"], "what is done is skipped");
    assert!(bench.plans.steps[1].seen().len() >= 2, "what ran is made again");
}

/// The worker ends in each attempt of a step, so no error is ever returned.
#[tokio::test(start_paused = true)]
async fn a_step_in_which_every_worker_ends_is_given_up() {
    let bench = Bench::without_worker([]).await;
    let _gate = bench.plans.steps[1].wait_for();
    bench.store.fail("renew", Fault::Hangs, 100_000);
    bench.begin(Duration::from_secs(30));
    let id = bench.operate(OnFailure::Rollback).await;
    let message = bench.operation_ended(&id, OperationStatus::RolledBack).await;
    assert_eq!(message.as_deref(), Some("two: 25 attempts began, and rdev ended during the last one"));
    let seen = bench.plans.steps[1].seen();
    assert_eq!((seen.len(), seen.last()), (26, Some(&"undo")), "{seen:?}");
}

/// A step that no version knows would otherwise be begun for ever.
#[tokio::test(start_paused = true)]
async fn an_operation_that_this_version_cannot_go_on_with_ends_stuck() {
    let bench = Bench::without_worker([]).await;
    let gate = bench.plans.steps[1].wait_for();
    bench.store.fail("renew", Fault::Hangs, 1000);
    bench.begin(Duration::from_secs(30));
    let id = bench.operate(OnFailure::Rollback).await;
    bench.operation_when(&id, |_, steps| steps.get(1).is_some_and(|step| step.attempt == 1)).await;
    let names = |names| *bench.plans.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
    names(["one", "renamed", "three"]);
    let message = bench.operation_ended(&id, OperationStatus::Stuck).await;
    assert_eq!(message.as_deref(), Some("this version has no step two; left: two, three"));
    // The version that knows the step goes on.
    names(["one", "two", "three"]);
    gate.notify_one();
    gate.notify_one();
    bench.retry_operation(&id).await;
    bench.operation_ended(&id, OperationStatus::Completed).await;
    assert_eq!(bench.plans.steps[0].seen(), ["ensure"], "what is done is skipped");
}

#[tokio::test(start_paused = true)]
async fn the_duration_of_an_operation_is_that_of_its_last_round() {
    let bench = Bench::new([]).await;
    bench.plans.steps[1].fails(for_good, 1);
    let id = bench.operate(OnFailure::Keep).await;
    bench.operation_ended(&id, OperationStatus::Degraded).await;
    // Somebody removes the cause meanwhile.
    tokio::time::sleep(Duration::from_secs(600)).await;
    bench.plans.steps[1].fails(passing, 3);
    bench.retry_operation(&id).await;
    let (job, _) = bench.operation_when(&id, |job, _| job.state.is_ended()).await;
    let JobState::Ended { outcome, .. } = job.state else { panic!("{job:?}") };
    let expected = Duration::from_secs(5)..Duration::from_secs(60);
    assert!(expected.contains(&outcome.duration), "{:?}", outcome.duration);
}

/// More calls than a step has attempts: each part begins them anew.
#[tokio::test(start_paused = true)]
async fn a_step_that_makes_progress_goes_on_however_long_it_takes() {
    let bench = Bench::without_worker([]).await;
    bench.plans.steps[0].fails(passing, 2);
    bench.plans.steps[0].has_parts(40);
    bench.begin(crate::support::LEASE);
    let id = bench.operate(OnFailure::Rollback).await;
    bench.operation_ended(&id, OperationStatus::Completed).await;
    assert_eq!(bench.plans.steps[0].seen().len(), 43);
    assert_eq!(bench.steps(&id).await[0].attempt, 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_is_heard_between_the_parts_of_a_step() {
    let bench = Bench::without_worker([]).await;
    let gate = bench.plans.steps[0].wait_for();
    bench.plans.steps[0].has_parts(usize::MAX);
    bench.begin(crate::support::LEASE);
    let id = bench.operate(OnFailure::Rollback).await;
    bench.operation_when(&id, |_, steps| steps.first().is_some_and(|step| step.attempt == 1)).await;
    bench.cancel_operation(&id).await;
    gate.notify_one();
    bench.operation_ended(&id, OperationStatus::Cancelled).await;
    assert_eq!(bench.plans.steps[0].seen().last(), Some(&"undo"));
}
