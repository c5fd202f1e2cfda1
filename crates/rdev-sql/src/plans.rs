//! The queries that run all the time find their rows by an index, however much is stored.

use sqlx::AssertSqlSafe;

use crate::batch::{Append, BatchedWrite, Enqueue, Finish, Start};
use crate::db::Db;
use crate::db::postgres::{connect, options};
use crate::figures::FIRST_END;
use crate::log::followers::{OLDEST_UNREAD, OLDEST_UNREAD_ON_POSTGRES};
use crate::log::prune::{
    ENDED, ENDED_BESIDE_OTHERS, ENTRIES_BETWEEN, ENTRIES_OF, OF_PROJECT, PARTS, REMOVE_ENTRIES, REMOVE_KEYS,
    REMOVE_OUTPUT, REMOVE_STREAMS,
};
use crate::log::read::{
    END, ENDS_ON_POSTGRES, POSITION_OF, POSITION_OF_ON_POSTGRES, READ_JOB, READ_JOB_ON_POSTGRES,
};
use crate::log::times::{NEXT, NEXT_OF_JOB, NEXT_OF_PROJECT};
use crate::log::views::{
    LAST, LAST_OF_ALL, LAST_ON_POSTGRES, PRUNED, READ_ALL, READ_ALL_ON_POSTGRES, READ_CHANGES,
    READ_CHANGES_OF_PROJECT, READ_CHANGES_OF_PROJECT_ON_POSTGRES, READ_CHANGES_ON_POSTGRES, READ_PROJECT,
    READ_PROJECT_ON_POSTGRES,
};
use crate::operations;
use crate::queue::accept::ENQUEUE;
use crate::queue::claim::{CLAIM, CLAIM_BESIDE_OTHERS};
use crate::queue::heads::{DUE, READY};
use crate::queue::lease::{HELD, HURRY};
use crate::queue::read::{
    JOB_OF_STREAM, JOBS, JOBS_OF_STREAM, UNFINISHED, UNFINISHED_JOBS, UNFINISHED_JOBS_ON_POSTGRES,
};
use crate::store::SqlStore;
use crate::testing::PostgresDatabase;

/// How SQLite goes about a query.
async fn plan(query: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let store = SqlStore::sqlite(&dir.path().join("rdev.db")).await.unwrap();
    let Db::Sqlite { read, .. } = &store.db else { panic!("SQLite was asked for") };
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"));
    let steps: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(read).await.unwrap();
    steps.into_iter().map(|(.., step)| step).collect()
}

/// Each of `searches` is a step of the plan, which walks through no table and sorts nothing itself.
async fn assert_searches(query: &str, searches: &[&str]) {
    let plan = plan(query).await;
    for search in searches {
        assert!(plan.iter().any(|step| step == search), "{search}: {plan:#?}");
    }
    // In their order, until there are enough; and what was gathered so.
    let in_order = "SCAN entries USING INDEX entries_of_followers";
    let gathered = |step: &str| {
        [
            in_order,
            "SCAN (subquery",
            "SCAN times",
            "SCAN ends",
            "SCAN CONSTANT ROW",
            "SCAN json_each",
            "SCAN claimed",
        ]
        .iter()
        .any(|s| step.starts_with(s))
    };
    for step in plan.iter().filter(|step| !gathered(step)) {
        assert!(!step.starts_with("SCAN"), "{step}: {plan:#?}");
        assert!(!step.contains("TEMP B-TREE"), "{step}: {plan:#?}");
    }
}

#[tokio::test]
async fn claiming_visits_the_jobs_in_line_and_no_other_of_their_keys() {
    let searches = [
        "SEARCH q USING INDEX queue_in_line (lane=? AND ready=?)",
        "SEARCH q USING INDEX queue_by_slot (worker>?)",
        "SEARCH l USING INDEX sqlite_autoindex_lease_owners_1 (owner=?)",
        "SEARCH o USING INDEX queue_by_held_key (holds_key=?)",
    ];
    assert_searches(CLAIM, &searches).await;
    assert_searches(CLAIM, &["SEARCH j USING INDEX sqlite_autoindex_jobs_1 (id=?)"]).await;
}

#[tokio::test]
async fn the_next_of_a_key_is_found_without_the_others() {
    let head = "SEARCH queue USING INDEX queue_by_key (concurrency_key=? AND ready=?)";
    for query in [READY, DUE] {
        assert!(plan(query).await.contains(&head.to_owned()), "{query}");
    }
    assert_searches(DUE, &[head]).await;
}

#[tokio::test]
async fn what_was_postponed_is_found_without_looking_at_the_rest() {
    assert_eq!(plan(HURRY).await, ["SCAN queue USING INDEX queue_postponed"]);
}

#[tokio::test]
async fn of_many_jobs_each_is_looked_up_by_its_id() {
    for [query, _] in [UNFINISHED, HELD] {
        assert_searches(query, &["SEARCH queue USING INDEX sqlite_autoindex_queue_1 (id=?)"]).await;
    }
}

#[tokio::test]
async fn jobs_are_listed_without_those_of_others_and_unfinished_ones_without_the_ended() {
    let of_target = "SEARCH j USING INDEX jobs_by_target (target=? AND id>? AND id<?)";
    assert_searches(JOBS, &[of_target]).await;
    let named = "SEARCH n USING INDEX jobs_by_stream (target=? AND stream=?)";
    let by_id = "SEARCH j USING INDEX jobs_by_target (target=? AND id=?)";
    assert_searches(JOB_OF_STREAM, &[named, by_id]).await;
    assert_searches(JOBS_OF_STREAM, &[named, by_id]).await;
    let sorted = [
        "SEARCH q USING INDEX queue_in_line (lane=?)",
        "SEARCH j USING INDEX sqlite_autoindex_jobs_1 (id=?)",
        "USE TEMP B-TREE FOR ORDER BY",
    ];
    assert_eq!(plan(UNFINISHED_JOBS).await, sorted);
}

#[tokio::test]
async fn an_operation_is_found_by_its_project_and_so_are_the_jobs_of_a_deleted_one() {
    let by_key = "SEARCH q USING INDEX queue_by_key (concurrency_key=?)";
    assert_searches(operations::UNFINISHED, &[by_key]).await;
    let later = "SEARCH jobs USING INDEX jobs_by_target (target=? AND id>?)";
    assert_searches(operations::HAS_A_LATER_ONE, &[later]).await;
    assert_searches(OF_PROJECT, &["SEARCH jobs USING INDEX jobs_by_target (target=?)"]).await;
}

#[tokio::test]
async fn a_virtual_time_is_found_without_reading_jobs() {
    let searches = [
        "SEARCH queue USING COVERING INDEX queue_by_caller (lane=? AND created_by=? AND project=? AND priority=?)",
        "SEARCH virtual_clocks USING INDEX sqlite_autoindex_virtual_clocks_1 (lane=? AND priority=?)",
    ];
    assert_searches(ENQUEUE, &searches).await;
}

#[tokio::test]
async fn a_log_is_read_from_its_position_on() {
    let by_command = "SEARCH e USING INDEX entries_by_job (job_id=? AND position>?)";
    assert_searches(READ_JOB, &[by_command]).await;
    let by_project = "SEARCH e USING INDEX entries_by_log (log=? AND position>?)";
    assert_searches(READ_PROJECT, &[by_project]).await;
    let in_order = "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";
    assert_searches(READ_ALL, &[in_order]).await;
}

#[tokio::test]
async fn a_follower_reads_no_output() {
    let in_order = "SEARCH e USING INDEX entries_of_followers (position>? AND position<?)";
    assert_searches(READ_CHANGES, &[in_order]).await;
    let from_there = "SEARCH e USING INDEX entries_of_followers (position>?)";
    assert_searches(READ_CHANGES_OF_PROJECT, &[from_there]).await;
    assert_searches(OLDEST_UNREAD, &["SEARCH e USING INDEX entries_of_followers (position>?)"]).await;
}

#[tokio::test]
async fn positions_are_found_without_reading_entries() {
    let between = [
        "SEARCH entries USING INDEX entries_by_job (job_id=? AND position>? AND position<?)",
        "SEARCH entries USING COVERING INDEX entries_of_output (job_id=? AND last_seq<?)",
        "SEARCH entries USING COVERING INDEX entries_of_output (job_id=? AND last_seq>?)",
    ];
    assert_searches(POSITION_OF, &between).await;
    assert_searches(END, &["SEARCH entries USING COVERING INDEX entries_by_job (job_id=?)"]).await;
    let by_project = "SEARCH entries USING COVERING INDEX entries_by_log (log=? AND position<?)";
    assert_searches(LAST, &[by_project]).await;
    assert_searches(LAST_OF_ALL, &["SEARCH entries USING INTEGER PRIMARY KEY (rowid<?)"]).await;
    for (query, search) in [
        (NEXT, "SEARCH entries USING INTEGER PRIMARY KEY (rowid>?)"),
        (NEXT_OF_PROJECT[0], "SEARCH entries USING INDEX entries_by_log (log=? AND position>?)"),
        (NEXT_OF_JOB[0], "SEARCH entries USING INDEX entries_by_job (job_id=? AND position>?)"),
    ] {
        assert_searches(query, &[search]).await;
    }
}

#[tokio::test]
async fn what_is_to_be_removed_is_found_without_looking_at_the_rest() {
    for (query, search) in [
        (ENDED, "SCAN entries USING INDEX entries_of_followers"),
        (ENDED, "SEARCH j USING INDEX sqlite_autoindex_jobs_1 (id=?)"),
        (FIRST_END, "SCAN entries USING INDEX entries_of_followers"),
        (ENTRIES_OF, "SEARCH entries USING INDEX entries_by_job (job_id>? AND job_id<?)"),
        (REMOVE_ENTRIES, "SEARCH entries USING INDEX entries_by_job (job_id>? AND job_id<?)"),
        (REMOVE_ENTRIES, "SEARCH entries USING INTEGER PRIMARY KEY (rowid=?)"),
        (PARTS, "SEARCH artefact_parts USING INDEX sqlite_autoindex_artefact_parts_1 (job_id=?)"),
        (REMOVE_STREAMS, "SEARCH removed_streams USING INDEX removed_streams_by_age (removed_us<?)"),
        (ENTRIES_BETWEEN, "SEARCH entries USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (REMOVE_OUTPUT, "SEARCH entries USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (REMOVE_KEYS, "SEARCH idempotency_keys USING INDEX idempotency_keys_by_age (created_us<?)"),
        (PRUNED, "SEARCH pruned_logs USING INDEX sqlite_autoindex_pruned_logs_1 (log=?)"),
    ] {
        assert_searches(query, &[search]).await;
    }
}

/// Much that has ended, and little that has not.
const FILL: &str = "
    INSERT INTO jobs (id, target, project, stream, kind, request, timeout_us, created_by, created_us, status, ended_us)
    SELECT 'cmd-' || lpad(n::TEXT, 32, '0'), CASE WHEN n % 1000 <= 1 THEN '@pool' ELSE 'p' || n % 10 END, 'p' || n % 10,
           n::TEXT, 'shell', '{}', 0, 'key', 0, CASE WHEN n % 500 > 1 THEN 'completed' END, CASE WHEN n % 500 > 1 THEN n END
    FROM generate_series(1, 20000) n;
    INSERT INTO queue (id, lane, kind, project, created_by, created_us, priority, virtual_time, ready, concurrency_key,
                       run_after_us, started_us)
    SELECT 'cmd-' || lpad(n::TEXT, 32, '0'), CASE WHEN n % 1000 <= 1 THEN 1 ELSE 0 END, 'shell', 'p' || n % 10, 'key', 0, 0,
           n, n % 500 = 0, CASE WHEN n % 500 = 0 THEN 'k' || n % 100 ELSE 'k' || n END, 0,
           CASE WHEN n % 500 = 1 THEN n END
    FROM generate_series(1, 20000) n WHERE n % 500 <= 1;
    INSERT INTO entries (job_id, log, kind, first_seq, last_seq, at_us, body)
    SELECT id, project, 'output', 1, 1, 0, 'x' FROM jobs;
    INSERT INTO entries (job_id, log, kind, first_seq, last_seq, at_us, body)
    SELECT id, project, 'complete', 2, 2, 0, '' FROM jobs WHERE ended_us IS NOT NULL;
    INSERT INTO log_cursors (follower, position, updated_us) VALUES ('metrics', 100, 0);
    INSERT INTO artefact_parts (job_id, number, part, body)
    SELECT id, 0, 0, 'x' FROM jobs WHERE target = '@pool' OR ended_us > 15000;
    INSERT INTO removed_streams (target, stream, removed_us)
    SELECT 'p' || n % 10, 'removed-' || n, n FROM generate_series(1, 20000) n;
    INSERT INTO idempotency_keys (key_id, value, fingerprint, created_us)
    SELECT 'key-1', n::TEXT, 'x', n FROM generate_series(1, 20000) n;
    ANALYZE";

#[tokio::test]
async fn postgres_reads_no_table_from_end_to_end() {
    let database = PostgresDatabase::create().await;
    SqlStore::postgres(&database.url()).await.unwrap().close().await;
    database.run(FILL).await;
    let mut connection = connect(&options(&database.url()).unwrap()).await.unwrap();
    for (query, binds, index) in [
        (CLAIM_BESIDE_OTHERS, 8, "queue_in_line"),
        (CLAIM_BESIDE_OTHERS, 8, "queue_by_slot"),
        (CLAIM_BESIDE_OTHERS, 8, "queue_by_held_key"),
        (CLAIM_BESIDE_OTHERS, 8, "jobs_pkey"),
        (READY, 1, "queue_by_key"),
        (DUE, 2, "queue_by_key"),
        (HELD[1], 1, "queue_pkey"),
        (ENQUEUE, 10, "queue_by_caller"),
        (READ_JOB_ON_POSTGRES, 3, "entries_by_job"),
        (READ_PROJECT_ON_POSTGRES, 3, "entries_by_log"),
        (READ_ALL_ON_POSTGRES, 3, "entries_pkey"),
        (READ_CHANGES_ON_POSTGRES, 3, "entries_of_followers"),
        (READ_CHANGES_OF_PROJECT_ON_POSTGRES, 3, "entries_of_followers"),
        (LAST_OF_ALL, 1, "entries_pkey"),
        (NEXT, 1, "entries_pkey"),
        (NEXT_OF_PROJECT[1], 2, "entries_by_log"),
        (NEXT_OF_JOB[1], 2, "entries_by_job"),
        (OLDEST_UNREAD_ON_POSTGRES, 1, "entries_of_followers"),
        (POSITION_OF_ON_POSTGRES, 2, "entries_of_output"),
        (POSITION_OF_ON_POSTGRES, 2, "entries_by_job"),
        (LAST_ON_POSTGRES, 2, "entries_by_log"),
        (ENDS_ON_POSTGRES, 1, "entries_by_job"),
        (Enqueue::SQL, 13, "queue_by_caller"),
        (Start::SQL, 4, "queue_pkey"),
        (Start::SQL, 4, "jobs_pkey"),
        (Append::SQL, 9, "queue_pkey"),
        (Append::SQL, 9, "jobs_pkey"),
        (Enqueue::SQL, 13, "removed_streams_pkey"),
        (Finish::SQL, 9, "queue_pkey"),
        (Finish::SQL, 9, "jobs_pkey"),
        (Finish::SQL, 9, "artefact_parts_pkey"),
        (ENDED_BESIDE_OTHERS, 2, "entries_of_followers"),
        (FIRST_END, 0, "entries_of_followers"),
        (ENTRIES_OF, 1, "entries_by_job"),
        (REMOVE_ENTRIES, 2, "entries_by_job"),
        (PARTS, 1, "artefact_parts_pkey"),
        (REMOVE_STREAMS, 1, "removed_streams_by_age"),
        (ENTRIES_BETWEEN, 3, "entries_pkey"),
        (REMOVE_OUTPUT, 2, "entries_pkey"),
        (REMOVE_KEYS, 1, "idempotency_keys_by_age"),
        (UNFINISHED[1], 1, "queue_pkey"),
        (JOB_OF_STREAM, 2, "jobs_by_stream"),
        (JOBS_OF_STREAM, 8, "jobs_by_stream"),
        (UNFINISHED_JOBS_ON_POSTGRES, 9, "jobs_pkey"),
    ] {
        // The plan for all values, which is the one that is kept.
        let values = vec!["NULL"; binds].join(", ");
        let values = if binds == 0 { values } else { format!("({values})") };
        let text = format!("PREPARE asked AS {query}");
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection).await.unwrap();
        let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE asked {values}"));
        let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(&mut connection).await.unwrap();
        sqlx::raw_sql("DEALLOCATE asked").execute(&mut connection).await.unwrap();
        assert!(plan.iter().any(|step| step.contains(index)), "{index}: {plan:#?}");
        // One entry after the other whose position is known, or those in between: no walk.
        let known = index == "entries_pkey" || plan.iter().any(|step| step.contains("(\"position\" = "));
        let walks =
            |step: &String| step.contains("Seq Scan") || !known && step.contains("using entries_pkey");
        assert!(!plan.iter().any(walks), "{plan:#?}");
    }
}
