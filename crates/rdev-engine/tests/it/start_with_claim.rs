//! Commands of projects whose pods are known to be ready start with their claim.

use rdev_domain::Job;
use rdev_ports::Clock;
use rdev_ports::testing::job;

use crate::support::{Answer, Bench, Fault};

const TOLD: [&str; 4] = ["pending", "running", "output 1-3", "completed 4"];

/// Has the `n`th command accepted by this process, and returns it.
async fn accepted(bench: &Bench, n: u64) -> Job {
    let new = Job { created_at: bench.clock.now(), ..job("demo", n) };
    bench.submitter().submit(new, None).await.expect("it is new").0
}

#[tokio::test(start_paused = true)]
async fn the_next_command_of_a_project_needs_no_start_of_its_own() {
    let bench = Bench::new([Answer::Runs(3)]).await;
    let first = bench.submit(1).await;
    bench.ended(&first).await;
    let starts = bench.store.calls("start");
    let next = accepted(&bench, 2).await;
    bench.ended(&next.id).await;
    assert_eq!(bench.told(&next.id).await, TOLD);
    assert_eq!(bench.store.calls("start"), starts);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_not_ready_is_waited_for() {
    let bench = Bench::new([Answer::Runs(3)]).await;
    bench.pods.set_ready(false);
    let job = accepted(&bench, 1).await;
    bench.when(&job.id, |_| bench.store.calls("postpone") > 0).await;
    bench.pods.set_ready(true);
    bench.ended(&job.id).await;
    assert_eq!(bench.told(&job.id).await, TOLD);
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_answer_was_lost_is_made_good() {
    let bench = Bench::new([Answer::Runs(3)]).await;
    bench.store.fail("claim_and_start", Fault::AnswerLost, 1);
    let job = accepted(&bench, 1).await;
    bench.ended(&job.id).await;
    assert_eq!(bench.told(&job.id).await, TOLD);
    assert_eq!(bench.pods.orders.lock().unwrap().len(), 1);
    assert_eq!(bench.store.calls("release_all_but"), 1);
}
