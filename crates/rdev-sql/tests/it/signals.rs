//! Signals between processes on one Postgres.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use rdev_domain::{JobId, Position};
use rdev_ports::testing::job;
use rdev_ports::{Appended, Signal};

use crate::{On, Place};

const PATIENCE: Duration = Duration::from_secs(20);

async fn heard(signals: &mut BoxStream<'static, Signal>) -> Signal {
    tokio::time::timeout(PATIENCE, signals.next()).await.expect("a signal").expect("they never end")
}

fn growth(n: u64, position: u64) -> Appended {
    Appended {
        project: Some(rdev_ports::testing::id("demo")),
        job: job("demo", n).id,
        position: Position(position),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_hears_the_others_and_not_itself() {
    let place = On::Postgres.place().await;
    let (a, b) = (place.open().await.unwrap(), place.open().await.unwrap());
    let (a, b) = (a.signals(), b.signals());
    let (mut at_a, mut at_b) = (a.subscribe(), b.subscribe());
    // Both say when they have begun to listen.
    assert_eq!((heard(&mut at_a).await, heard(&mut at_b).await), (Signal::Resync, Signal::Resync));
    let cancelled: JobId = job("demo", 7).id;
    a.publish(Signal::Cancel(cancelled.clone()));
    assert_eq!(heard(&mut at_b).await, Signal::Cancel(cancelled));
    b.publish(Signal::Work);
    assert_eq!(heard(&mut at_a).await, Signal::Work, "what it has published itself was heard");
    // What comes while others are being told is told together.
    for position in 1..=100 {
        a.publish(Signal::Appended(vec![growth(1, position)]));
    }
    let mut times = 0;
    loop {
        times += 1;
        let Signal::Appended(grown) = heard(&mut at_b).await else { panic!("only growth was told") };
        assert_eq!(grown.len(), 1);
        if grown[0] == growth(1, 100) {
            break;
        }
    }
    assert!(times < 50, "{times} notifications");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_cut_everything_may_have_changed() {
    let place = On::Postgres.place().await;
    let Place::Postgres(database) = &place else { panic!("Postgres was asked for") };
    let (a, b) = (place.open().await.unwrap(), place.open().await.unwrap());
    let (a, b) = (a.signals(), b.signals());
    let mut at_b = b.subscribe();
    assert_eq!(heard(&mut at_b).await, Signal::Resync);
    database.cut_connections().await;
    assert_eq!(heard(&mut at_b).await, Signal::Resync);
    a.publish(Signal::Work);
    // Of the sender's own connections one may have been cut: then it says that anything may have changed.
    while heard(&mut at_b).await == Signal::Resync {
        a.publish(Signal::Work);
    }
}
