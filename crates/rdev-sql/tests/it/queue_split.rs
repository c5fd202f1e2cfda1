//! Jobs of version 16, which had all in one table, go on in the tables of the queue, whatever their state.

use std::time::Duration;

use rdev_domain::{
    BlockedBy, Ending, Failure, Job, JobId, JobSpec, JobState, JobStatus, Outcome, Position, Reason,
    Schedule, Seq, Target, TaskKind, Timestamp, WaitingFor,
};
use rdev_ports::testing::{START, agent, chunk, id, job, keyed, log_of, operation, slots, target, task};
use rdev_ports::{
    Artefacts, Claim, EventLog, JobFilter, OperationSteps, Operations, PoolQueue, Retention, Retry,
    StartAnswer, TaskLeases, TaskQueue,
};
use rdev_sql::SqlStore;

use crate::{On, Place, on_both, sqlite_connection};

on_both! {
    jobs_in_every_state_are_as_they_were,
    jobs_in_every_state_go_on,
    of_each_key_the_right_one_is_next,
    what_has_ended_is_counted_and_goes_with_its_files,
}

/// Time of claims: later than every time in the rows.
const NOW: Timestamp = Timestamp::from_micros(START.as_micros() + 60_000_000);
const UNTIL: Timestamp = Timestamp::from_micros(NOW.as_micros() + 30_000_000);

/// A row of version 16: the columns that a job's acceptance sets, and those that its state has.
fn row(job: &Job, state: &str) -> String {
    let (request, project, share, pool) = match &job.spec {
        JobSpec::Command { project, request } => {
            (serde_json::to_string(request).unwrap(), project.as_str(), project.as_str(), false)
        }
        JobSpec::Task(task) => {
            let share = task.project.as_ref().map_or("", |project| project.as_str());
            (serde_json::to_string(task).unwrap(), "@pool", share, true)
        }
        JobSpec::Operation(request) => {
            (serde_json::to_string(request).unwrap(), "@operations", request.project().as_str(), false)
        }
    };
    let key = job.spec.concurrency_key().map_or("NULL".to_owned(), |key| format!("'{key}'"));
    let (at, schedule) = (job.created_at.as_micros(), &job.schedule);
    format!(
        "INSERT INTO tasks (id, project, stream, kind, request, timeout_us, created_by, created_us, concurrency_key,
                            pool, share, priority, turn, max_attempts, status)
         VALUES ('{id}', '{project}', '{stream}', '{kind}', '{request}', 60000000, '{by}', {at}, {key}, {pool},
                 '{share}', {priority}, 1, {attempts}, 'pending');
         UPDATE tasks SET {state} WHERE id = '{id}';
         INSERT INTO events (task_id, project, kind, first_seq, last_seq, at_us, body)
         SELECT id, CASE WHEN pool AND share <> '' THEN share ELSE project END, 'status', 0, 0, {at},
                BYTES'70656e64696e67' FROM tasks WHERE id = '{id}';\n",
        id = job.id,
        stream = job.stream,
        kind = job.spec.kind().as_str(),
        by = job.created_by,
        priority = schedule.priority,
        attempts = schedule.max_attempts,
    )
}

const PENDING: &str = "status = 'pending'";
const CLAIMED: &str = "attempt = 7, lease_owner = 'worker-old', lease_until_us = 1769284830000000";
const RUNNING: &str =
    "status = 'running', attempt = 7, lease_owner = 'worker-old', lease_until_us = 1769284830000000,
    place_uid = 'pod-1', started_us = 1769284800000000, tries = 1, last_seq = 5";
const COMPLETED: &str =
    "status = 'completed', attempt = 7, place_uid = 'pod-1', started_us = 1769284800000000, tries = 1,
    last_seq = 1, ended_us = 1769284801000000, exit_code = 0, duration_us = 1000000";

async fn opened(on: On, rows: &str) -> (SqlStore, Place) {
    let place = on.place().await;
    place.of_version(16, rows).await;
    let store = place.open().await.unwrap();
    if let Place::Sqlite(dir) = &place {
        let mut connection = sqlite_connection(dir).await;
        let broken: Vec<(String, i64)> =
            sqlx::query_as("SELECT \"table\", rowid FROM pragma_foreign_key_check")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        assert!(broken.is_empty(), "{broken:?}");
        let sound: String =
            sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
        assert_eq!(sound, "ok");
    }
    (store, place)
}

async fn found(store: &SqlStore, job: &Job) -> Job {
    store.job(&job.target(), &job.id).await.unwrap().expect("the job is stored")
}

/// Jobs in every state, as version 16 had them.
struct Jobs {
    waits: Job,
    claimed: Job,
    runs: Job,
    later: Job,
    postponed: Job,
    stalled: Job,
    asks: Job,
    retried: Job,
    creation: Job,
}

impl Jobs {
    fn new() -> Self {
        Self {
            waits: job("demo", 1),
            claimed: job("demo", 2),
            runs: job("demo", 3),
            later: job("demo", 4),
            postponed: job("other", 5),
            stalled: job("other", 6),
            asks: task(TaskKind::Test, 7),
            retried: task(TaskKind::Build, 8),
            creation: operation("shop", 9),
        }
    }

    fn rows(&self) -> String {
        let retried =
            "tries = 2, earlier_tries = 1, attempt = 9, last_error = 'step 2 failed', last_seq = 12";
        [
            row(&self.waits, "status = 'pending', cancel_requested = TRUE"),
            row(&self.claimed, CLAIMED),
            row(&self.runs, RUNNING),
            row(&self.later, "run_after_us = 9000000000000000"),
            row(&self.postponed, "attempt = 3, lease_until_us = 9000000000000000"),
            row(&self.stalled, &format!("{RUNNING}, reason = 'pod_lost', message = 'its pod is gone'")),
            row(&self.asks, &format!("{RUNNING}, worker = 'slot-1', seat = 1, waiting_for = 'approval'")),
            row(&self.retried, retried),
            row(&self.creation, RUNNING),
            format!(
                "INSERT INTO operation_steps (operation_id, number, name, state)
                 VALUES ('{}', 1, 'workspace', 'running');",
                self.creation.id
            ),
            format!(
                "INSERT INTO events (task_id, project, kind, first_seq, last_seq, at_us, body)
                 VALUES ('{}', 'demo', 'output', 1, 5, 1769284800000000, BYTES'01');",
                self.runs.id
            ),
        ]
        .concat()
    }
}

async fn jobs_in_every_state_are_as_they_were(on: On) {
    let jobs = Jobs::new();
    let (store, _place) = opened(on, &jobs.rows()).await;
    assert!(found(&store, &jobs.waits).await.cancel_requested);
    assert_eq!(found(&store, &jobs.claimed).await, jobs.claimed);
    let later = Some(Timestamp::from_micros(9_000_000_000_000_000));
    assert_eq!(found(&store, &jobs.later).await.schedule.run_after, later);
    let failure = Some(Failure { reason: Reason::PodLost, message: "its pod is gone".to_owned() });
    for (job, failure, waiting_for) in [
        (&jobs.runs, None, None),
        (&jobs.stalled, failure, None),
        (&jobs.asks, None, Some(WaitingFor::Approval)),
    ] {
        let state = JobState::Running { started_at: START, failure, waiting_for };
        assert_eq!(found(&store, job).await.state, state);
    }
    let schedule = Schedule {
        attempts: 2,
        earlier_attempts: 1,
        last_error: Some("step 2 failed".to_owned()),
        ..jobs.retried.schedule.clone()
    };
    assert_eq!(found(&store, &jobs.retried).await.schedule, schedule);
    let position = async |seq| store.position_of(&jobs.runs.id, Seq(seq)).await.unwrap();
    assert_eq!(position(4).await, position(0).await);
    assert!(position(5).await > position(4).await);
}

async fn jobs_in_every_state_go_on(on: On) {
    let jobs = Jobs::new();
    let (store, _place) = opened(on, &jobs.rows()).await;
    // No lease of a former program counts: everything that is due is claimed, by tokens that are new.
    let claims = store.claim(&id("worker-1"), slots(20), NOW, UNTIL).await.unwrap();
    let Jobs { waits, claimed, runs, postponed, stalled, asks, retried, creation, .. } = &jobs;
    assert_eq!(ids(&claims), sorted([waits, claimed, runs, stalled, asks, retried, creation]));
    assert!(claims.iter().all(|claim| claim.fence.token > 9));
    assert_eq!(store.hurry(&[target("other")]).await.unwrap(), 1);
    let hurried = store.claim(&id("worker-1"), slots(20), NOW, UNTIL).await.unwrap();
    assert_eq!(ids(&hurried), sorted([postponed]));

    let claim = |job: &Job| claims.iter().find(|claim| claim.fence.id == job.id).unwrap();
    assert_eq!((claim(runs).last_seq, claim(runs).pod_uid.as_deref()), (Seq(5), Some("pod-1")));
    let slot = claim(asks).slot.clone().unwrap();
    assert_eq!((slot.worker.as_str(), slot.number), ("slot-1", 1));
    let other_task = store.start(&claim(retried).fence, "pod-2", Some(&slot), NOW).await.unwrap();
    assert!(matches!(other_task, StartAnswer::SlotTaken), "{other_task:?}");
    store.append(&claim(runs).fence, vec![chunk(6, 9)], NOW).await.unwrap();
    let outcome = Outcome::without_process(Ending::Completed, "");
    store.finish(&claim(runs).fence, Seq(10), outcome, NOW).await.unwrap();
    assert!(found(&store, runs).await.state.is_ended());
    assert_eq!(store.read_job(&runs.id, Position::ZERO, 9).await.unwrap().len(), 4);
    assert_eq!(store.plan(&claim(creation).fence, &[]).await.unwrap().len(), 1);
    assert_eq!(store.steps(std::slice::from_ref(&creation.id)).await.unwrap().len(), 1);
}

fn ids(claims: &[Claim]) -> Vec<JobId> {
    let mut ids: Vec<JobId> = claims.iter().map(|claim| claim.fence.id.clone()).collect();
    ids.sort();
    ids
}

fn sorted<const N: usize>(jobs: [&Job; N]) -> [JobId; N] {
    let mut ids = jobs.map(|job| job.id.clone());
    ids.sort();
    ids
}

async fn of_each_key_the_right_one_is_next(on: On) {
    let [runs, behind, old, young] = [1, 2, 3, 4].map(|n| agent(if n < 3 { "busy" } else { "free" }, n));
    let keyed = |n, priority| {
        let schedule = Schedule { priority, ..task(TaskKind::Test, n).schedule };
        Job { schedule, ..keyed(task(TaskKind::Test, n), "live") }
    };
    let (low, high) = (keyed(5, 0), keyed(6, 9));
    let rows = [
        row(&runs, RUNNING),
        row(&behind, PENDING),
        row(&young, PENDING),
        row(&old, PENDING),
        row(&low, PENDING),
        row(&high, PENDING),
    ];
    let (store, _place) = opened(on, &rows.concat()).await;
    let blocked = store.queue_position(&behind.id, NOW).await.unwrap().unwrap();
    assert_eq!(blocked.blocked_by, Some(BlockedBy::Workspace));
    let claims = store.claim(&id("worker-1"), slots(9), NOW, UNTIL).await.unwrap();
    assert_eq!(ids(&claims), sorted([&runs, &old, &high]));
    for claim in &claims {
        let retry = Retry {
            reason: "lost".to_owned(),
            error: "lost".to_owned(),
            run_after: NOW + Duration::from_secs(9),
            counts: false,
        };
        let slot = (claim.job.target() == Target::Pool)
            .then(|| rdev_ports::Slot { worker: id("slot-1"), number: 0 });
        store.start(&claim.fence, "pod-1", slot.as_ref(), NOW).await.unwrap();
        store.retry(&claim.fence, retry, NOW).await.unwrap();
    }
    let claims = store.claim(&id("worker-1"), slots(9), NOW, UNTIL).await.unwrap();
    assert_eq!(ids(&claims), sorted([&behind, &young, &low]));
}

async fn what_has_ended_is_counted_and_goes_with_its_files(on: On) {
    let (done, failed, command) = (task(TaskKind::Test, 1), task(TaskKind::Test, 2), job("demo", 3));
    let end = |job: &Job, log: &str| {
        format!(
            "INSERT INTO events (task_id, project, kind, first_seq, last_seq, at_us, body)
             VALUES ('{}', '{log}', 'complete', 1, 1, 1769284801000000, BYTES'');",
            job.id
        )
    };
    let rows = [
        row(&done, COMPLETED),
        end(&done, "@pool"),
        row(&failed, &COMPLETED.replace("completed", "failed").replace("exit_code = 0", "exit_code = 2, reason = 'exit_code'")),
        end(&failed, "@pool"),
        row(&command, COMPLETED),
        end(&command, "demo"),
        format!("INSERT INTO artefacts (task_id, number, path, size, sha256) VALUES ('{0}', 0, 'a.log', 1, BYTES'{1}');
                 INSERT INTO artefact_parts (task_id, number, part, body) VALUES ('{0}', 0, 0, BYTES'61');", done.id, "00".repeat(32)),
    ];
    let (store, place) = opened(on, &rows.concat()).await;
    let (completed, broken) =
        ((TaskKind::Test, JobStatus::Completed, 1), (TaskKind::Test, JobStatus::Failed, 1));
    assert_eq!(store.stats().await.unwrap().counts, [completed, broken]);
    assert_eq!(store.artefacts(&done.id).await.unwrap().len(), 1);
    assert_eq!(store.read_view(&log_of("demo"), Position::ZERO, 9).await.unwrap().len(), 2);

    // The other task is retried, and is no failure any more.
    store.reopen(&Target::Pool, &failed.id, None, NOW).await.unwrap().unwrap();
    assert_eq!(store.stats().await.unwrap().counts, [completed, (TaskKind::Test, JobStatus::Pending, 1)]);
    let before = UNTIL + rdev_ports::FOLLOWER_PATIENCE;
    while store.prune(rdev_ports::PruneRule::Ended { before, now: before }).await.unwrap().more {}
    assert_eq!(store.jobs(&Target::Pool, &JobFilter::default(), None, 9).await.unwrap().len(), 1);
    assert_eq!(store.stats().await.unwrap().counts, [(TaskKind::Test, JobStatus::Pending, 1)]);
    assert_eq!(store.artefacts(&done.id).await.unwrap(), []);
    drop(place);
}
