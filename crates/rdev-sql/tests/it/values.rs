//! Everything that can be stored comes back as it was.

use std::time::Duration;

use bytes::Bytes;
use rdev_domain::{
    AgentRequest, Chunk, CommandRequest, Ending, EntryBody, GitRequest, Job, JobSpec, JobState, Outcome,
    Position, Reason, Result, Seq, ShellRequest, Timestamp,
};
use rdev_ports::testing::{START, id, job, slots};
use rdev_ports::{EventLog, Fence, TaskLeases, TaskQueue};
use rdev_sql::SqlStore;

use crate::{On, on_both};

on_both! {
    every_kind_of_request,
    every_ending,
    times_to_the_microsecond,
    a_large_chunk_of_every_byte,
}

/// Odd to the microsecond, so that any rounding shows.
const ODD: Timestamp = Timestamp::from_micros(START.as_micros() + 123_457);

async fn stored(store: &SqlStore, job: &Job) -> Result<Job> {
    let found = store.job(&job.target(), &job.id).await?;
    Ok(found.expect("the command is stored"))
}

/// Stores a command, and leaves it running.
async fn run(store: &SqlStore, job: Job) -> Result<Fence> {
    store.enqueue(&job, None).await?;
    let until = ODD + Duration::from_secs(30);
    let mut claims = store.claim(&id("worker-1"), slots(1), ODD, until).await?;
    let fence = claims.remove(0).fence;
    store.start(&fence, "pod-1", None, ODD).await?;
    Ok(fence)
}

async fn every_kind_of_request(on: On) {
    let (store, _dir) = on.fresh().await;
    let requests = [
        CommandRequest::Claude(AgentRequest {
            prompt: "Sag \"hallo\"\n\u{1F600}\\".to_owned(),
            session_id: Some("s-1".to_owned()),
            model: Some("a/b:c".to_owned()),
            max_turns: Some(u32::MAX),
        }),
        CommandRequest::Claude(AgentRequest::default()),
        CommandRequest::Shell(ShellRequest {
            command: "printf '%s' \"$A\"".to_owned(),
            env: [("A".to_owned(), "ä\t'\"".to_owned())].into(),
        }),
        CommandRequest::Git(GitRequest {
            args: vec!["log".to_owned(), String::new(), "--format=%H %s".to_owned()],
        }),
        CommandRequest::Git(GitRequest::default()),
    ];
    for (n, request) in (1..).zip(requests) {
        let mut job = job("demo", n);
        job.spec = JobSpec::Command { project: id("demo"), request };
        store.enqueue(&job, None).await.unwrap();
        assert_eq!(stored(&store, &job).await.unwrap(), job);
    }
}

async fn every_ending(on: On) {
    let (store, _dir) = on.fresh().await;
    let reasons = [
        Reason::ExitCode,
        Reason::Signal,
        Reason::SpawnFailed,
        Reason::RunnerLost,
        Reason::PodLost,
        Reason::NoResult,
        Reason::Auth,
        Reason::Quota,
        Reason::ModelUnavailable,
        Reason::AgentError,
        Reason::MaxTurns,
    ];
    let asked_for = [Ending::Completed, Ending::Cancelled, Ending::TimedOut];
    for (n, ending) in (1..).zip(asked_for.into_iter().chain(reasons.map(Ending::Failed))) {
        let job = job("demo", n);
        let fence = run(&store, job.clone()).await.unwrap();
        let outcome = Outcome {
            ending,
            exit_code: [None, Some(0), Some(i32::MAX), Some(-1)][n as usize % 4],
            message: (n % 2 == 0).then(|| format!("message {n}")),
            duration: Duration::from_micros(n),
        };
        let complete = store.finish(&fence, Seq(1), outcome.clone(), ODD).await.unwrap();
        let entries = store.read_job(&job.id, Position::ZERO, 10).await.unwrap();
        assert_eq!(entries.last(), Some(&complete));
        assert_eq!(complete.body, EntryBody::Complete(outcome.clone()));
        let ended = JobState::Ended { started_at: Some(ODD), ended_at: ODD, outcome };
        assert_eq!(stored(&store, &job).await.unwrap().state, ended);
    }
}

async fn times_to_the_microsecond(on: On) {
    let (store, _dir) = on.fresh().await;
    let mut job = job("demo", 1);
    job.created_at = ODD;
    job.timeout = Duration::from_micros(604_800_000_001);
    let fence = run(&store, job.clone()).await.unwrap();
    job.state = JobState::running(ODD);
    job.schedule.attempts = 1;
    assert_eq!(stored(&store, &job).await.unwrap(), job);
    let later = ODD + Duration::from_micros(1);
    let outcome =
        Outcome { duration: Duration::from_micros(1), ..Outcome::without_process(Ending::TimedOut, "") };
    store.finish(&fence, Seq(1), outcome.clone(), later).await.unwrap();
    job.state = JobState::Ended { started_at: Some(ODD), ended_at: later, outcome };
    assert_eq!(stored(&store, &job).await.unwrap(), job);
    let entries = store.read_job(&job.id, Position::ZERO, 10).await.unwrap();
    let times: Vec<_> = entries.iter().map(|entry| entry.at).collect();
    assert_eq!(times, [ODD, ODD, later]);
}

async fn a_large_chunk_of_every_byte(on: On) {
    let (store, _dir) = on.fresh().await;
    let fence = run(&store, job("demo", 1)).await.unwrap();
    let frames: Bytes = (0..=u8::MAX).cycle().take(128 * 1024).collect();
    let chunk = Chunk { first_seq: Seq(1), last_seq: Seq(9000), frames };
    let entries = store.append(&fence, vec![chunk.clone()], ODD).await.unwrap();
    assert_eq!(entries[0].body, EntryBody::Output(chunk.frames));
    let read = store.read_job(&fence.id, Position::ZERO, 10).await.unwrap();
    assert_eq!(read[2..], entries);
}
