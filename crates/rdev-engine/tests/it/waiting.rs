//! Commands whose place is not ready cost the store little.

use std::time::Duration;

use tokio::time::sleep;

use crate::support::{Answer, Bench};

const COMMANDS: u64 = 20;

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_place_is_looked_at_less_and_less_often() {
    let bench = Bench::new([Answer::Runs(1)]);
    bench.pods.set_ready(false);
    let mut ids = Vec::new();
    for n in 1..=COMMANDS {
        ids.push(bench.submit(n).await);
    }
    sleep(Duration::from_secs(200)).await;
    let each = f64::from(bench.store.calls("postpone")) / COMMANDS as f64;
    assert!(each < 35.0, "{each} times in 200 s");

    // In the middle of their pauses.
    let before = bench.store.calls("postpone");
    bench.pods.set_ready(true);
    for id in ids {
        let (_, took) = bench.ended(&id).await;
        assert!(took < Duration::from_secs(1), "they need not wait for the end of a pause: {took:?}");
    }
    assert_eq!((bench.store.calls("hurry"), bench.store.calls("postpone")), (1, before));
}
