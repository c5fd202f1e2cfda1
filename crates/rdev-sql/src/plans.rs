//! The queries that run all the time find their rows by an index, however much is stored.

use crate::SqlStore;
use crate::backlog::BACKLOG;
use crate::db::Db;
use crate::events::{
    HEAD, HEAD_ON_POSTGRES, POSITION_OF, READ_COMMAND, READ_COMMAND_ON_POSTGRES, READ_HOME,
    READ_HOME_ON_POSTGRES,
};
use crate::queue::{CLAIM, CLAIM_BESIDE_OTHERS};
use crate::tasks::{TURN_OF_COMMAND, TURN_OF_TASK};
use crate::testing::PostgresDatabase;

/// How SQLite goes about a query.
async fn plan(query: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let store = SqlStore::sqlite(&dir.path().join("rdev.db")).await.unwrap();
    let Db::Sqlite { read, .. } = &store.db else { panic!("SQLite was asked for") };
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"));
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
    let gathered = |step: &str| step.starts_with("SCAN (subquery") || step.starts_with("SCAN turns");
    for step in plan.iter().filter(|step| !allowed.contains(&step.as_str()) && !gathered(step)) {
        assert!(!step.starts_with("SCAN"), "{step}: {plan:#?}");
        assert!(!step.contains("TEMP B-TREE"), "{step}: {plan:#?}");
    }
}

#[tokio::test]
async fn claiming_visits_only_unfinished_commands_and_those_of_their_key() {
    let searches = [
        "SCAN t USING INDEX commands_in_line",
        "SCAN t USING INDEX tasks_waiting_in_pool",
        "SEARCH t USING INDEX tasks_running (pool=?)",
        "SEARCH o USING INDEX tasks_one_under_way_a_key (concurrency_key=?)",
        "SEARCH o USING INDEX tasks_by_concurrency_key (concurrency_key=?)",
    ];
    assert_searches(CLAIM, &searches).await;
}

#[tokio::test]
async fn a_turn_is_found_without_reading_tasks() {
    let searches = [
        "SEARCH tasks USING INDEX tasks_by_share (pool=? AND created_by=? AND share=? AND priority=?)",
        "SEARCH tasks USING COVERING INDEX tasks_running (pool=? AND priority=?)",
    ];
    for (query, in_line) in [
        (TURN_OF_COMMAND, "SEARCH tasks USING INDEX commands_in_line (priority=?)"),
        (TURN_OF_TASK, "SEARCH tasks USING INDEX tasks_waiting_in_pool (priority=?)"),
    ] {
        assert_searches(query, &[&searches[..], &[in_line]].concat()).await;
    }
}

#[tokio::test]
async fn a_log_is_read_from_its_position_on() {
    let by_command = "SEARCH e USING INDEX events_by_task (task_id=? AND position>?)";
    assert_searches(READ_COMMAND, &[by_command]).await;
    let by_project = "SEARCH e USING INDEX events_by_project (project=? AND position>?)";
    assert_searches(READ_HOME, &[by_project]).await;
}

#[tokio::test]
async fn positions_are_found_without_reading_entries() {
    let by_seq = "SEARCH events USING COVERING INDEX events_by_task_and_seq (task_id=? AND last_seq<?)";
    assert_searches(POSITION_OF, &[by_seq]).await;
    let by_project = "SEARCH events USING COVERING INDEX events_by_project (project=?)";
    assert_searches(HEAD, &[by_project]).await;
}

/// Much that has ended, and little that has not.
const FILL: &str = "
    INSERT INTO tasks (id, project, stream, kind, request, timeout_us, created_by, created_us, concurrency_key, status,
                       pool, share, turn)
    SELECT 'cmd-' || lpad(n::TEXT, 32, '0'), 'p' || n % 10, n::TEXT, 'shell', '{}', 0, 'key', 0, 'k' || n % 100,
           CASE WHEN n % 500 = 0 THEN 'pending' ELSE 'completed' END,
           n % 1000 = 0, 'p' || n % 10, n
    FROM generate_series(1, 20000) n;
    INSERT INTO events (task_id, project, kind, first_seq, last_seq, at_us, body)
    SELECT id, project, 'output', 1, 1, 0, 'x' FROM tasks;
    ANALYZE";

#[tokio::test]
async fn postgres_reads_no_table_from_end_to_end() {
    let database = PostgresDatabase::create().await;
    SqlStore::postgres(&database.url()).await.unwrap().close().await;
    let mut connection = database.connect().await;
    sqlx::raw_sql(FILL).execute(&mut connection).await.unwrap();
    let id = "'cmd-00000000000000000000000000000042'";
    for (query, binds, index) in [
        (CLAIM_BESIDE_OTHERS, ["'w'", "1", "1", "8", "8"], "commands_in_line"),
        (CLAIM_BESIDE_OTHERS, ["'w'", "1", "1", "8", "8"], "tasks_waiting_in_pool"),
        (BACKLOG, ["1", "100000", "", "", ""], "tasks_running"),
        (TURN_OF_TASK, ["TRUE", "'k'", "'p3'", "0", ""], "tasks_by_share"),
        (READ_COMMAND_ON_POSTGRES, [id, "0", "32", "", ""], "events_by_task"),
        (READ_HOME_ON_POSTGRES, ["'p3'", "100", "32", "", ""], "events_by_project"),
        (POSITION_OF, [id, "9", "", "", ""], "events_by_task_and_seq"),
        (HEAD_ON_POSTGRES, ["'p3'", "", "", "", ""], "events_by_project"),
    ] {
        let values = (1..).zip(binds);
        let query = values.fold(query.to_owned(), |query, (n, bind)| query.replace(&format!("${n}"), bind));
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN {query}"));
        let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(&mut connection).await.unwrap();
        assert!(plan.iter().any(|step| step.contains(index)), "{index}: {plan:#?}");
        let walks = |step: &String| step.contains("Seq Scan") || step.contains("using events_pkey");
        assert!(!plan.iter().any(walks), "{plan:#?}");
    }
}
