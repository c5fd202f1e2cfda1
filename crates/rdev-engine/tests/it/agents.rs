//! Agents that do not end after their result.

use std::time::Duration;

use rdev_domain::{Ending, JobState, Reason};

use crate::support::{Answer, Bench};

const RESULT: &str = "result\n";
const WORKING: &str = "work\n";

#[tokio::test(start_paused = true)]
async fn an_agent_that_hangs_after_its_result_is_ended_with_the_cause() {
    let bench = Bench::new([Answer::Hangs(RESULT)]).await;
    let id = bench.ask_agent().await;
    let (ended, after) = bench.ended(&id).await;
    let JobState::Ended { outcome, .. } = ended.state else { panic!("it has ended") };
    assert_eq!(outcome.ending, Ending::Failed(Reason::HungAfterResult), "{outcome:?}");
    assert!((10..15).contains(&after.as_secs()), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_cancelled_after_its_result_or_still_works_is_not_hung() {
    for (line, wait) in [(RESULT, 5), (WORKING, 20)] {
        let bench = Bench::new([Answer::Hangs(line)]).await;
        let id = bench.ask_agent().await;
        tokio::time::sleep(Duration::from_secs(wait)).await;
        bench.cancel(&id).await;
        let (ended, _) = bench.ended(&id).await;
        let JobState::Ended { outcome, .. } = ended.state else { panic!("it has ended") };
        assert_eq!(outcome.ending, Ending::Cancelled, "{line}");
    }
}
