//! A store that is away, or loses its answers, costs no command more than time.

use std::time::Duration;

use rdev_domain::Error;
use tokio::time::Instant;

use crate::support::{Answer, Bench, Fault};

const WRITES: [&str; 3] = ["start", "append", "finish"];

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_waited_for_and_nothing_is_let_go() {
    for what in WRITES {
        let bench = Bench::new([Answer::Runs(3)]);
        bench.store.fail(what, Fault::Away, 20);
        let id = bench.submit(1).await;
        let (job, _) = bench.ended(&id).await;
        assert_eq!(job.state.status().as_str(), "completed", "{what}");
        assert_eq!(bench.told(&id).await, ["pending", "running", "output 1-3", "completed 4"]);
        assert_eq!((bench.store.calls("release"), bench.store.calls(what)), (0, 21), "{what}");
        assert_eq!(bench.pods.orders.lock().unwrap().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_is_read_back_and_the_journal_is_freed() {
    for what in WRITES {
        let bench = Bench::new([Answer::Runs(3)]);
        bench.store.fail(what, Fault::AnswerLost, 3);
        let id = bench.submit(1).await;
        bench.ended(&id).await;
        assert_eq!(bench.told(&id).await, ["pending", "running", "output 1-3", "completed 4"]);
        let freed = || bench.pods.controls.lock().unwrap().iter().flatten().any(|word| *word == id.as_str());
        bench.when(&id, |_| freed()).await;
        assert_eq!(bench.store.calls("release"), 0, "{what}: nothing was taken for lost");
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_to_go_does_not_wait_for_its_journals_to_be_freed() {
    for (ready, waits) in [(true, true), (false, false)] {
        let bench = Bench::new([Answer::Hangs("")]);
        let id = bench.submit(1).await;
        bench.when(&id, |_| bench.pods.listened_to() == 1).await;
        bench.pods.set_ready(ready);
        bench.cancel(&id).await;
        bench.ended(&id).await;
        let freed =
            || bench.pods.controls.lock().unwrap().iter().any(|argv| argv.iter().any(|word| word == "gc"));
        let (_, took) = bench.when(&id, |_| freed()).await;
        assert_eq!(took > Duration::from_secs(1), waits, "ready {ready}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_accept_whose_answer_was_lost_is_told_and_runs_once() {
    for fault in [Fault::Away, Fault::AnswerLost] {
        let bench = Bench::new([Answer::Runs(3)]);
        bench.store.fail("enqueue", fault, 3);
        let id = bench.post().await.unwrap();
        bench.ended(&id).await;
        assert_eq!(bench.told(&id).await, ["pending", "running", "output 1-3", "completed 4"]);
        assert_eq!(bench.pods.orders.lock().unwrap().len(), 1);
        assert_eq!(bench.store.calls("enqueue"), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_is_told_of_a_store_that_stays_away() {
    let bench = Bench::new([Answer::Runs(3)]);
    bench.store.fail("enqueue", Fault::Away, u32::MAX);
    let since = Instant::now();
    let told = bench.post().await;
    assert!(matches!(told, Err(Error::Unavailable { system: "database", .. })), "{told:?}");
    assert_eq!(since.elapsed(), Duration::from_secs(3));
    assert!(bench.pods.orders.lock().unwrap().is_empty());
}
