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
use crate::log::read::{ENDS_ON_POSTGRES, POSITION_OF, READ_JOB, READ_JOB_ON_POSTGRES};
use crate::log::times::{NEXT, NEXT_OF_JOB, NEXT_OF_PROJECT};
use crate::log::views::{
    LAST, LAST_OF_ALL, LAST_ON_POSTGRES, PRUNED, READ_ALL, READ_ALL_ON_POSTGRES, READ_CHANGES,
    READ_CHANGES_OF_PROJECT, READ_CHANGES_OF_PROJECT_ON_POSTGRES, READ_CHANGES_ON_POSTGRES, READ_PROJECT,
    READ_PROJECT_ON_POSTGRES,
};
use crate::operations;
use crate::queue::backlog::BACKLOG;
use crate::queue::claim::{CLAIM, CLAIM_BESIDE_OTHERS};
use crate::queue::lease::HURRY;
use crate::queue::read::{
    JOBS, JOBS_OF_STREAM, UNFINISHED, UNFINISHED_JOBS, UNFINISHED_JOBS_ON_POSTGRES, UNFINISHED_ON_POSTGRES,
};
use crate::queue::virtual_time::{VIRTUAL_TIME_OF_COMMAND, VIRTUAL_TIME_OF_TASK};
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
    let allowed = ["SCAN t USING INDEX commands_in_line", "SCAN t USING INDEX tasks_waiting_in_pool"];
    let gathered = |step: &str| {
        ["SCAN (subquery", "SCAN turns", "SCAN CONSTANT ROW", "SCAN json_each"]
            .iter()
            .any(|s| step.starts_with(s))
    };
    for step in plan.iter().filter(|step| !allowed.contains(&step.as_str()) && !gathered(step)) {
        assert!(!step.starts_with("SCAN"), "{step}: {plan:#?}");
        assert!(!step.contains("TEMP B-TREE"), "{step}: {plan:#?}");
    }
}

#[tokio::test]
async fn claiming_visits_only_unfinished_commands_and_those_of_their_key() {
    let searches = [
        "SCAN t USING INDEX commands_in_line",
        "SEARCH t USING INDEX operations_in_line (project=?)",
        "SCAN t USING INDEX tasks_waiting_in_pool",
        "SEARCH t USING INDEX tasks_running (pool=?)",
        "SEARCH o USING INDEX tasks_by_held_key (holds_key=?)",
        "SEARCH o USING INDEX tasks_by_concurrency_key (concurrency_key=?)",
    ];
    assert_searches(CLAIM, &searches).await;
}

#[tokio::test]
async fn what_was_postponed_is_found_without_looking_at_what_has_ended() {
    // The index has what has not ended, and nothing else.
    assert_eq!(plan(HURRY).await, ["SCAN tasks USING INDEX tasks_by_share"]);
}

#[tokio::test]
async fn of_many_commands_each_is_looked_up_by_its_id() {
    assert_searches(UNFINISHED, &["SEARCH tasks USING INDEX sqlite_autoindex_tasks_1 (id=?)"]).await;
}

#[tokio::test]
async fn jobs_are_listed_without_those_of_others_and_unfinished_ones_without_the_ended() {
    let of_target = "SEARCH tasks USING INDEX tasks_by_project (project=? AND id>? AND id<?)";
    assert_searches(JOBS, &[of_target]).await;
    assert_searches(JOBS_OF_STREAM, &["SEARCH tasks USING INDEX tasks_by_stream (project=? AND stream=?)"])
        .await;
    let sorted = ["SEARCH tasks USING INDEX tasks_by_share (pool=?)", "USE TEMP B-TREE FOR ORDER BY"];
    assert_eq!(plan(UNFINISHED_JOBS).await, sorted);
}

#[tokio::test]
async fn an_operation_is_found_by_its_project_and_so_are_the_jobs_of_a_deleted_one() {
    let by_key = "SEARCH tasks USING INDEX tasks_by_concurrency_key (concurrency_key=?)";
    assert_searches(operations::UNFINISHED, &[by_key]).await;
    let later = "SEARCH tasks USING INDEX tasks_by_project (project=? AND id>?)";
    assert_searches(operations::HAS_A_LATER_ONE, &[later]).await;
    assert_searches(OF_PROJECT, &["SEARCH tasks USING INDEX tasks_by_project (project=?)"]).await;
}

#[tokio::test]
async fn a_turn_is_found_without_reading_tasks() {
    let searches = [
        "SEARCH tasks USING INDEX tasks_by_share (pool=? AND created_by=? AND share=? AND priority=?)",
        "SEARCH tasks USING COVERING INDEX tasks_running (pool=? AND priority=?)",
    ];
    for (query, queue_position) in [
        (VIRTUAL_TIME_OF_COMMAND, "SEARCH tasks USING INDEX commands_in_line (priority=?)"),
        (VIRTUAL_TIME_OF_TASK, "SEARCH tasks USING INDEX tasks_waiting_in_pool (priority=?)"),
    ] {
        assert_searches(query, &[&searches[..], &[queue_position]].concat()).await;
    }
}

#[tokio::test]
async fn a_log_is_read_from_its_position_on() {
    let by_command = "SEARCH e USING INDEX events_by_task (task_id=? AND position>?)";
    assert_searches(READ_JOB, &[by_command]).await;
    let by_project = "SEARCH e USING INDEX events_by_project (project=? AND position>?)";
    assert_searches(READ_PROJECT, &[by_project]).await;
    let in_order = "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";
    assert_searches(READ_ALL, &[in_order]).await;
}

#[tokio::test]
async fn a_follower_reads_no_output() {
    let in_order = "SEARCH e USING INDEX events_of_followers (position>? AND position<?)";
    assert_searches(READ_CHANGES, &[in_order]).await;
    let from_there = "SEARCH e USING INDEX events_of_followers (position>?)";
    assert_searches(READ_CHANGES_OF_PROJECT, &[from_there]).await;
    assert_searches(OLDEST_UNREAD, &["SEARCH e USING INDEX events_of_followers (position>?)"]).await;
}

#[tokio::test]
async fn positions_are_found_without_reading_entries() {
    let by_seq = "SEARCH events USING COVERING INDEX events_by_task_and_seq (task_id=? AND last_seq<?)";
    assert_searches(POSITION_OF, &[by_seq]).await;
    let by_project = "SEARCH events USING COVERING INDEX events_by_project (project=? AND position<?)";
    assert_searches(LAST, &[by_project]).await;
    assert_searches(LAST_OF_ALL, &["SEARCH events USING INTEGER PRIMARY KEY (rowid<?)"]).await;
    for (query, search) in [
        (NEXT, "SEARCH events USING INTEGER PRIMARY KEY (rowid>?)"),
        (NEXT_OF_PROJECT[0], "SEARCH events USING INDEX events_by_project (project=? AND position>?)"),
        (NEXT_OF_JOB[0], "SEARCH events USING INDEX events_by_task (task_id=? AND position>?)"),
    ] {
        assert_searches(query, &[search]).await;
    }
}

#[tokio::test]
async fn what_is_to_be_removed_is_found_without_looking_at_the_rest() {
    for (query, search) in [
        (ENDED, "SEARCH tasks USING INDEX tasks_by_end (ended_us<?)"),
        (ENTRIES_OF, "SEARCH events USING INDEX events_by_task (task_id>? AND task_id<?)"),
        (REMOVE_ENTRIES, "SEARCH events USING INDEX events_by_task (task_id>? AND task_id<?)"),
        (REMOVE_ENTRIES, "SEARCH events USING INTEGER PRIMARY KEY (rowid=?)"),
        (PARTS, "SEARCH artefact_parts USING INDEX sqlite_autoindex_artefact_parts_1 (task_id=?)"),
        (REMOVE_STREAMS, "SEARCH removed_streams USING INDEX removed_streams_by_age (removed_us<?)"),
        (ENTRIES_BETWEEN, "SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (REMOVE_OUTPUT, "SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (REMOVE_KEYS, "SEARCH idempotency_keys USING INDEX idempotency_keys_by_age (created_us<?)"),
        (FIRST_END, "SEARCH tasks USING COVERING INDEX tasks_by_end (ended_us>?)"),
        (PRUNED, "SEARCH pruned_logs USING INDEX sqlite_autoindex_pruned_logs_1 (project=?)"),
    ] {
        assert_searches(query, &[search]).await;
    }
}

/// Much that has ended, and little that has not.
const FILL: &str = "
    INSERT INTO tasks (id, project, stream, kind, request, timeout_us, created_by, created_us, concurrency_key, status,
                       pool, share, turn, ended_us)
    SELECT 'cmd-' || lpad(n::TEXT, 32, '0'), 'p' || n % 10, n::TEXT, 'shell', '{}', 0, 'key', 0,
           CASE WHEN n % 500 = 0 THEN 'k' || n % 100 ELSE 'k' || n END,
           CASE n % 500 WHEN 0 THEN 'pending' WHEN 1 THEN 'running' ELSE 'completed' END,
           n % 1000 <= 1, 'p' || n % 10, n, CASE WHEN n % 500 <= 1 THEN NULL ELSE n END
    FROM generate_series(1, 20000) n;
    INSERT INTO events (task_id, project, kind, first_seq, last_seq, at_us, body)
    SELECT id, project, 'output', 1, 1, 0, 'x' FROM tasks;
    INSERT INTO events (task_id, project, kind, first_seq, last_seq, at_us, body)
    SELECT id, project, 'complete', 2, 2, 0, '' FROM tasks;
    INSERT INTO log_cursors (follower, position, updated_us) VALUES ('metrics', 100, 0);
    INSERT INTO artefact_parts (task_id, number, part, body)
    SELECT id, 0, 0, 'x' FROM tasks WHERE pool OR ended_us > 15000;
    INSERT INTO removed_streams (project, stream, removed_us)
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
        (CLAIM_BESIDE_OTHERS, 6, "commands_in_line"),
        (CLAIM_BESIDE_OTHERS, 6, "operations_in_line"),
        (CLAIM_BESIDE_OTHERS, 6, "tasks_waiting_in_pool"),
        (VIRTUAL_TIME_OF_TASK, 4, "tasks_by_share"),
        (READ_JOB_ON_POSTGRES, 3, "events_by_task"),
        (READ_PROJECT_ON_POSTGRES, 3, "events_by_project"),
        (READ_ALL_ON_POSTGRES, 3, "events_pkey"),
        (READ_CHANGES_ON_POSTGRES, 3, "events_of_followers"),
        (READ_CHANGES_OF_PROJECT_ON_POSTGRES, 3, "events_of_followers"),
        (LAST_OF_ALL, 1, "events_pkey"),
        (NEXT, 1, "events_pkey"),
        (NEXT_OF_PROJECT[1], 2, "events_by_project"),
        (NEXT_OF_JOB[1], 2, "events_by_task"),
        (OLDEST_UNREAD_ON_POSTGRES, 1, "events_of_followers"),
        (POSITION_OF, 2, "events_by_task_and_seq"),
        (LAST_ON_POSTGRES, 2, "events_by_project"),
        (ENDS_ON_POSTGRES, 1, "events_by_task"),
        (Enqueue::SQL, 14, "tasks_by_share"),
        (Enqueue::SQL, 14, "commands_in_line"),
        (Start::SQL, 4, "tasks_pkey"),
        (Append::SQL, 9, "tasks_pkey"),
        (Enqueue::SQL, 14, "removed_streams_pkey"),
        (Finish::SQL, 9, "tasks_pkey"),
        (Finish::SQL, 9, "artefact_parts_pkey"),
        (ENDED_BESIDE_OTHERS, 2, "tasks_by_end"),
        (FIRST_END, 0, "tasks_by_end"),
        (ENTRIES_OF, 1, "events_by_task"),
        (REMOVE_ENTRIES, 2, "events_by_task"),
        (PARTS, 1, "artefact_parts_pkey"),
        (REMOVE_STREAMS, 1, "removed_streams_by_age"),
        (ENTRIES_BETWEEN, 3, "events_pkey"),
        (REMOVE_OUTPUT, 2, "events_pkey"),
        (REMOVE_KEYS, 1, "idempotency_keys_by_age"),
        (BACKLOG, 2, "tasks_running"),
        (UNFINISHED_ON_POSTGRES, 1, "tasks_pkey"),
        (JOBS_OF_STREAM, 9, "tasks_by_stream"),
        (UNFINISHED_JOBS_ON_POSTGRES, 9, "tasks_by_share"),
    ] {
        // The plan for all values, which is the one that is kept.
        let values = vec!["NULL"; binds].join(", ");
        let values = if binds == 0 { values } else { format!("({values})") };
        let types = if query == VIRTUAL_TIME_OF_TASK { "(BOOLEAN)" } else { "" };
        let text = format!("PREPARE asked {types} AS {query}");
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection).await.unwrap();
        let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE asked {values}"));
        let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(&mut connection).await.unwrap();
        sqlx::raw_sql("DEALLOCATE asked").execute(&mut connection).await.unwrap();
        assert!(plan.iter().any(|step| step.contains(index)), "{index}: {plan:#?}");
        // One entry after the other whose position is known, or those in between: no walk.
        let known = index == "events_pkey" || plan.iter().any(|step| step.contains("(\"position\" = "));
        let walks = |step: &String| step.contains("Seq Scan") || !known && step.contains("using events_pkey");
        assert!(!plan.iter().any(walks), "{plan:#?}");
    }
}
