//! Cancellation at any moment of a command.

use std::time::Duration;

use rdev_domain::JobStatus;
use tokio::time::sleep;

use crate::support::{Answer, Bench, Fault};

#[tokio::test(start_paused = true)]
async fn a_command_is_cancelled_at_once_while_it_starts() {
    let bench = Bench::new([Answer::Hangs("")]).await;
    // The start is stored, and the worker does not know yet.
    bench.store.fail("start", Fault::AnswerLost, 5);
    let job = bench.submit(1).await;
    bench.when(&job, |job| job.state.status() == JobStatus::Running).await;
    bench.cancel(&job).await;
    let (ended, took) = bench.ended(&job).await;
    assert_eq!(ended.state.status(), JobStatus::Cancelled);
    assert!(took < Duration::from_secs(10), "it was heard by the renewal of leases: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_never_started_is_cancelled_while_its_runner_refuses_or_is_not_reached() {
    for answer in [Answer::Fails(73, "cannot create the run: No space left on device"), Answer::Unreached] {
        let bench = Bench::new([answer]).await;
        let job = bench.submit(1).await;
        sleep(Duration::from_secs(5)).await;
        bench.cancel(&job).await;
        let (ended, took) = bench.ended(&job).await;
        assert_eq!(ended.state.status(), JobStatus::Cancelled);
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}
