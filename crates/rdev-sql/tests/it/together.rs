//! Many callers at the same moment, whose writes a store may take together: each is told its own.

use futures_util::future::join_all;
use rdev_domain::{Conflict, Ending, EntryBody, Error, Job, JobStatus, Outcome, Position, Seq, StreamId};
use rdev_ports::testing::{START, chunk, id, job, slots};
use rdev_ports::{Enqueued, EventLog, StartAnswer, TaskLeases, TaskQueue};
use rdev_sql::SqlStore;

use crate::{On, on_both};

on_both! {
    commands_at_the_same_moment_are_all_run,
    a_stream_is_taken_once_at_the_same_moment,
}

const COMMANDS: u64 = 300;
const PROJECTS: u64 = 3;

fn new(n: u64) -> Job {
    job(&format!("p{}", n % PROJECTS), n)
}

async fn commands_at_the_same_moment_are_all_run(on: On) {
    let (store, place) = on.fresh().await;
    let stores = [store.clone(), place.open().await.unwrap()];
    let store_of = |n: u64| &stores[(n % 2) as usize];
    for stored in join_all((0..COMMANDS).map(async |n| store_of(n).enqueue(&new(n), None).await)).await {
        assert!(matches!(stored.unwrap(), Enqueued::New(_)));
    }
    let claims = store.claim(&id("worker-1"), slots(COMMANDS as u32), START, START).await.unwrap();
    assert_eq!(claims.len() as u64, COMMANDS);
    join_all((0..).zip(&claims).map(|(n, claim)| async move {
        let (store, fence) = (store_of(n), &claim.fence);
        let answer = store.start(fence, "pod-1", None, START).await.unwrap();
        let StartAnswer::Started(started) = answer else { panic!("a command needs no slot") };
        assert_eq!((started.attempt, started.started_at), (1, START));
        let output = store.append(fence, vec![chunk(1, 2), chunk(3, 3)], START).await.unwrap();
        assert!(output[0].position < output[1].position);
        let ended = store.finish(fence, Seq(4), outcome(), START).await.unwrap();
        assert_eq!((ended.job, ended.last_seq), (fence.id.clone(), Seq(4)));
    }))
    .await;
    for n in 0..COMMANDS {
        assert_eq!(told(&store, n).await, ["pending", "running", "1-2", "3-3", "complete 4"]);
    }
    for project in 0..PROJECTS {
        let project = rdev_ports::testing::log_of(&format!("p{project}"));
        let mut after = Position::ZERO;
        let mut entries = 0;
        while let page = store.read_view(&project, after, 100).await.unwrap()
            && let Some(last) = page.last()
        {
            (after, entries) = (last.position, entries + page.len() as u64);
        }
        assert_eq!(entries, 5 * COMMANDS / PROJECTS);
    }
}

fn outcome() -> Outcome {
    Outcome::without_process(Ending::Completed, "done")
}

async fn told(store: &SqlStore, n: u64) -> Vec<String> {
    let entries = store.read_job(&new(n).id, Position::ZERO, 10).await.unwrap();
    let told = entries.iter().map(|entry| match &entry.body {
        EntryBody::Status(status) => status.as_str().to_owned(),
        EntryBody::Output(_) => format!("{}-{}", entry.first_seq.0, entry.last_seq.0),
        EntryBody::Complete(_) => format!("complete {}", entry.last_seq.0),
        EntryBody::Retry(_) | EntryBody::FormerEnd(_) => "of another attempt".to_owned(),
        EntryBody::Stalled(_) => "stalled".to_owned(),
        EntryBody::Step(_) => "of an operation".to_owned(),
    });
    told.collect()
}

async fn a_stream_is_taken_once_at_the_same_moment(on: On) {
    let (store, _place) = on.fresh().await;
    let named = |n| {
        let mut new = new(n * PROJECTS);
        new.stream = "the-one".parse::<StreamId>().unwrap();
        new
    };
    let stored = join_all((0..20).map(|n| {
        let (store, new) = (store.clone(), if n % 2 == 0 { named(n) } else { new(n) });
        async move { store.enqueue(&new, None).await }
    }));
    let (stored, refused): (Vec<_>, Vec<_>) = stored.await.into_iter().partition(Result::is_ok);
    assert_eq!((stored.len(), refused.len()), (11, 9));
    for refused in refused {
        let is_taken = matches!(refused, Err(Error::Conflict { conflict: Conflict::StreamIdTaken, .. }));
        assert!(is_taken, "{refused:?}");
    }
}

/// No text of Postgres holds a NUL.
#[tokio::test]
async fn what_cannot_be_stored_fails_alone() {
    let (store, _place) = On::Postgres.fresh().await;
    join_all((0..20).map(async |n| store.enqueue(&new(n), None).await))
        .await
        .into_iter()
        .for_each(|stored| drop(stored.unwrap()));
    let claims = store.claim(&id("worker-1"), slots(20), START, START).await.unwrap();
    let started = join_all((0..).zip(&claims).map(|(n, claim)| {
        let place = if n == 10 { "pod\0" } else { "pod-1" };
        store.start(&claim.fence, place, None, START)
    }));
    for (n, started) in (0..).zip(started.await) {
        let job = store.job(&claims[n].job.target(), &claims[n].fence.id).await.unwrap().unwrap();
        let expected = if n == 10 { JobStatus::Pending } else { JobStatus::Running };
        assert_eq!((started.is_err(), job.state.status()), (n == 10, expected));
    }
}
