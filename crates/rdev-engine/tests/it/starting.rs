//! Starts by a worker that died: nobody knows whether it had sent the request to the runner.

use std::time::Duration;

use rdev_domain::{JobId, Result, Timestamp};
use rdev_ports::testing::{START, chunk, id, job, slots};
use rdev_ports::{EventLog, Retry, TaskLeases, TaskQueue};
use rdev_runner::spec::Mode;

use crate::support::{Answer, Bench, LEASE};

/// Steps of another worker before it died.
struct Before {
    /// Attempts that it began; those before the last wrote a line and failed.
    attempts: u32,
    /// The last one wrote a line, too.
    wrote: bool,
    at: Timestamp,
}

/// Returns the mode of the request that the next worker sends.
async fn next_mode(before: Before) -> Mode {
    let bench = Bench::without_worker([Answer::Runs(1)]).await;
    let id = begun(&bench, &before).await.expect("the store is there");
    bench.begin(LEASE);
    bench.ended(&id).await;
    let orders = bench.pods.orders.lock().expect("nobody has panicked");
    assert_eq!(orders.len(), 1);
    orders[0].mode
}

/// Takes the steps of the other worker, before the worker of the bench begins.
async fn begun(bench: &Bench, before: &Before) -> Result<JobId> {
    let (store, at) = (&bench.sound, before.at);
    let stored = job("demo", 1);
    store.enqueue(&stored, None).await?;
    for attempt in 1..=before.attempts {
        let mut claims =
            store.claim(&id("worker-0"), slots(1), START, START + Duration::from_secs(30)).await?;
        let claim = claims.pop().expect("it can be claimed");
        store.start(&claim.fence, "place-1", None, at).await?;
        let is_last = attempt == before.attempts;
        if !is_last || before.wrote {
            let next = claim.last_seq.next().0;
            store.append(&claim.fence, vec![chunk(next, next)], at).await?;
        }
        if is_last {
            store.release(&[claim.fence]).await?;
        } else {
            let retry = Retry {
                reason: "exit_code".to_owned(),
                error: "exit_code: 2".to_owned(),
                run_after: at,
                counts: true,
            };
            store.retry(&claim.fence, retry, at).await?;
        }
    }
    Ok(stored.id)
}

#[tokio::test(start_paused = true)]
async fn a_run_that_may_not_have_been_requested_may_start_for_half_a_day() {
    let [lately, long_ago] = [11 * 3600, 13 * 3600].map(|ago| START - Duration::from_secs(ago));
    for (attempts, wrote, at, mode) in [
        (1, false, lately, Mode::Start),
        (2, false, lately, Mode::Start),
        // This cannot be distinguished from the case above; the runner's mark refuses a second start.
        (2, true, lately, Mode::Start),
        (1, true, lately, Mode::Attach),
        (1, false, long_ago, Mode::Attach),
        (2, false, long_ago, Mode::Attach),
    ] {
        let found = next_mode(Before { attempts, wrote, at }).await;
        assert_eq!(found, mode, "{attempts} attempts, wrote {wrote}, at {at}");
    }
}
