//! Renewals of leases, and the consequences of their findings.

use std::time::Duration;

use rdev_domain::JobStatus;
use tokio::time::sleep;

use crate::support::{Answer, Bench, Fault};

const LEASE: Duration = Duration::from_secs(3);

#[tokio::test(start_paused = true)]
async fn a_command_whose_end_is_just_being_stored_is_not_taken_for_lost() {
    let bench = Bench::with_lease(LEASE, [Answer::Hangs("")]).await;
    let id = bench.submit(1).await;
    bench.when(&id, |_| bench.pods.listened_to() == 1).await;
    // Its end is stored at once, and the answer comes after many renewals.
    bench.store.fail("finish", Fault::AnswerLost, 9);
    bench.cancel(&id).await;
    let (ended, _) = bench.ended(&id).await;
    assert_eq!(ended.state.status(), JobStatus::Cancelled);
    let before = bench.store.calls("renew");
    let controls = || bench.pods.controls.lock().unwrap().clone();
    let freed =
        |words: &Vec<String>| words.iter().any(|word| word == "gc") && words.contains(&id.to_string());
    bench.when(&id, |_| controls().iter().any(freed)).await;
    assert!(bench.store.calls("renew") > before + 5, "there was time to renew");
    assert_eq!((bench.store.calls("finish"), bench.store.calls("release")), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn an_execution_whose_job_another_worker_holds_is_aborted() {
    let bench = Bench::with_lease(LEASE, [Answer::Hangs("")]).await;
    let id = bench.submit(1).await;
    bench.when(&id, |_| bench.pods.listened_to() == 1).await;
    bench.store.fail("renew", Fault::Away, u32::MAX);
    // The lease includes its last moment.
    sleep(LEASE + Duration::from_millis(1)).await;
    assert_eq!(bench.taken_over().await, 1);
    bench.store.fail("renew", Fault::Away, 0);
    let (_, took) = bench.when(&id, |_| bench.pods.listened_to() == 0).await;
    assert!(took <= LEASE, "{took:?}");
    assert_eq!(bench.told(&id).await, ["pending", "running"]);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_without_an_answer_leaves_time_for_another() {
    let bench = Bench::with_lease(LEASE, [Answer::Hangs("")]).await;
    let id = bench.submit(1).await;
    bench.when(&id, |_| bench.pods.listened_to() == 1).await;
    for _ in 0..5 {
        bench.store.fail("renew", Fault::Hangs, 1);
        sleep(LEASE).await;
        assert_eq!(bench.taken_over().await, 0);
    }
    assert_eq!(bench.pods.listened_to(), 1);
}

/// The lease of a worker that lives does not expire, so a claim that nobody works on is released.
#[tokio::test(start_paused = true)]
async fn an_execution_that_panics_is_released_and_goes_on() {
    for releases_that_fail in [0, 1] {
        let bench = Bench::with_lease(LEASE, [Answer::Panics, Answer::Runs(1)]).await;
        bench.store.fail("release", Fault::Fails, releases_that_fail);
        let id = bench.submit(1).await;
        let (ended, took) = bench.ended(&id).await;
        assert_eq!(ended.state.status(), JobStatus::Completed);
        assert!(took < LEASE, "{took:?}");
        assert_eq!(bench.store.calls("release_all_but"), releases_that_fail);
    }
}
