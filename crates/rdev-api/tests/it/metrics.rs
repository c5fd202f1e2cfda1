//! Metrics, as Prometheus scrapes them.

use std::collections::BTreeMap;
use std::time::Duration;

use rdev_client::types::Status;
use serde_json::json;

use crate::support::{Fixture, Model, Runtime, Server, eventually, on_every_runtime};

on_every_runtime! { and on postgres:
    the_pools_load_rises_and_falls_with_its_tasks,
    ends_are_counted_by_type_status_and_reason,
    durations_and_waits_are_told,
    space_grows_with_what_is_stored,
    what_retention_is_late_with_is_told_until_it_is_removed,
}

/// Every series with its value; a line that Prometheus could not read fails the story.
async fn scrape(server: &Server) -> BTreeMap<String, f64> {
    let answer = server.client().get("/metrics").send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let (text, mut series, mut kinds) = (answer.text(), BTreeMap::new(), BTreeMap::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            let words: Vec<&str> = comment.splitn(3, ' ').collect();
            assert!(words.len() == 3 && ["HELP", "TYPE"].contains(&words[0]), "{line}");
            let before = if words[0] == "TYPE" {
                kinds.insert(words[1].to_owned(), words[2].to_owned())
            } else {
                None
            };
            assert_eq!(before, None, "{line} comes twice");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let plain = name.split('{').next().unwrap();
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| plain.strip_suffix(end)).unwrap_or(plain);
        let is_ours = plain.starts_with("rdev_") || plain.starts_with("process_");
        assert!(is_ours && kinds.contains_key(family), "{line}");
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert_eq!(series.insert(name.to_owned(), value), None, "{line} comes twice");
    }
    series
}

/// Waits until a series has this value.
async fn shows(server: &Server, name: &str, value: f64) {
    eventually(name, async || (scrape(server).await.get(name) == Some(&value)).then_some(())).await;
}

async fn the_pools_load_rises_and_falls_with_its_tasks(on: Runtime) {
    let server = on.server_with_workers(1).await;
    let client = server.client();
    shows(&server, "rdev_pool_workers{state=\"idle\"}", 1.0).await;
    let still = scrape(&server).await;
    assert_eq!(
        ["store_up", "runtime_up", "pool_load", "pool_capacity"].map(|name| still[&format!("rdev_{name}")]),
        [1.0, 1.0, 0.0, 1.0]
    );
    let wait = "until [ -e ../go ]; do sleep 0.02; done";
    let mut tasks = Vec::new();
    for key in ["a", "b", "b"] {
        let body = json!({"type": "shell", "steps": [wait], "concurrency_key": key});
        tasks.push(client.add_task(&body).await.id);
    }
    let later = json!({"type": "test", "repository": "https://host/x", "steps": ["true"],
                       "run_after": "2999-01-01T00:00:00Z"});
    client.add_task(&later).await;
    client.task_in(&tasks[0], Status::Running).await;
    // Of the two of one key one worker more would run one.
    shows(&server, "rdev_pool_load", 2.0).await;
    let busy = scrape(&server).await;
    for (series, value) in [
        ("rdev_pool_tasks{type=\"shell\",state=\"running\"}", 1.0),
        ("rdev_pool_tasks{type=\"shell\",state=\"waiting\"}", 1.0),
        ("rdev_pool_tasks{type=\"shell\",state=\"blocked\"}", 1.0),
        ("rdev_pool_tasks{type=\"test\",state=\"scheduled\"}", 1.0),
        ("rdev_pool_workers{state=\"busy\"}", 1.0),
        ("rdev_commands{state=\"running\"}", 0.0),
    ] {
        assert_eq!(busy.get(series), Some(&value), "{series}");
    }
    assert!(busy["rdev_pool_oldest_waiting_seconds"] > 0.0);
    server.touch_at("slot-1", "go").await;
    for id in &tasks {
        client.task_in(id, Status::Completed).await;
    }
    shows(&server, "rdev_pool_load", 0.0).await;
    shows(&server, "rdev_pool_oldest_waiting_seconds", 0.0).await;
}

/// The series of the ends of commands or tasks; the reason is empty for those that completed.
fn ends(target: &str, kind: &str, status: &str, reason: &str) -> String {
    format!(
        "rdev_jobs_ended_total{{target=\"{target}\",type=\"{kind}\",status=\"{status}\",reason=\"{reason}\"}}"
    )
}

/// The ends of shell commands that completed.
fn completed() -> String {
    ends("project", "shell", "completed", "")
}

async fn ends_are_counted_by_type_status_and_reason(on: Runtime) {
    let mut server = on.fixture().with_workers(1).with("RDEV_WORKER_CONCURRENCY", "1").start().await;
    let client = server.client();
    for series in [
        ends("project", "claude", "timed_out", "timeout"),
        ends("project", "claude", "failed", "auth"),
        ends("pool", "deploy", "failed", "pod_lost"),
        ends("operations", "create_project", "failed", "stuck"),
    ] {
        shows(&server, &series, 0.0).await;
    }
    client.run("echo well").await;
    client.git(&["status"]).await;
    let failing = client.shell("exit 3").await;
    client.ended(&failing.id).await;
    let running = client.shell("until [ -e go ]; do sleep 0.02; done").await;
    client.begun(&running.id).await;
    let waiting = client.shell("echo never").await;
    client.cancel(&waiting.id).await;
    let task = client.add_task(&json!({"type": "shell", "steps": ["exit 4"], "max_attempts": 2})).await;
    client.task_in(&task.id, Status::Failed).await;
    shows(&server, &completed(), 1.0).await;
    shows(&server, &ends("project", "shell", "failed", "exit_code"), 1.0).await;
    shows(&server, &ends("project", "shell", "cancelled", "cancelled"), 1.0).await;
    shows(&server, &ends("pool", "shell", "failed", "exit_code"), 1.0).await;
    // An attempt that another one follows is no end; a task that is tried again by hand has two.
    client.call("POST", &format!("/queue/tasks/{}/retry", task.id)).send().await;
    shows(&server, &ends("pool", "shell", "failed", "exit_code"), 2.0).await;

    // What ends after the death of a server is counted by the next one.
    server.kill9().await;
    server.touch("go").await;
    server.restart().await;
    let client = server.client();
    client.ended(&running.id).await;
    shows(&server, &completed(), 1.0).await;
    client.run("echo well").await;
    shows(&server, &completed(), 2.0).await;
    shows(&server, "rdev_log_follower_lag_seconds{follower=\"metrics\"}", 0.0).await;
    assert_eq!(scrape(&server).await["rdev_log_follower_gaps_total{follower=\"metrics\"}"], 0.0);
}

#[tokio::test]
async fn each_end_is_counted_by_one_of_two_servers() {
    const COMMANDS: u32 = 24;
    let mut a = Runtime::Double.fixture().with_postgres().start().await;
    let b = Fixture::new().start_beside(&a).await;
    let run = async |from: &Server, count: u32, line: &str| {
        let mut accepted = Vec::new();
        for _ in 0..count {
            accepted.push(from.client().shell(line).await);
        }
        for accepted in accepted {
            from.client().ended(&accepted.id).await;
        }
    };
    let counted = async |servers: &[&Server], series: &str| {
        let mut sum = 0.0;
        for server in servers {
            sum += scrape(server).await[series];
        }
        sum
    };
    let (completed, failed) = (completed(), ends("project", "shell", "failed", "exit_code"));
    run(&a, COMMANDS / 2, "true").await;
    run(&b, COMMANDS / 2, "true").await;
    // Entries are counted in their order: once this one is, so are all before it.
    run(&a, 1, "false").await;
    let both = [&a, &b];
    eventually("the last end", async || (counted(&both, &failed).await > 0.0).then_some(())).await;
    assert_eq!(counted(&both, &failed).await, 1.0);
    assert_eq!(counted(&both, &completed).await, f64::from(COMMANDS));

    // Where one is dead, the other counts.
    let [before, failed_before] = [counted(&[&b], &completed).await, counted(&[&b], &failed).await];
    a.kill9().await;
    run(&b, COMMANDS, "true").await;
    run(&b, 1, "false").await;
    eventually("the last end", async || (counted(&[&b], &failed).await > failed_before).then_some(())).await;
    assert!(counted(&[&b], &completed).await >= before + f64::from(COMMANDS));
}

async fn durations_and_waits_are_told(on: Runtime) {
    let server = on.fixture().with("RDEV_WORKER_CONCURRENCY", "1").start().await;
    let client = server.client();
    let running = client.shell("until [ -e go ]; do sleep 0.02; done").await;
    client.begun(&running.id).await;
    shows(&server, "rdev_commands_oldest_waiting_seconds", 0.0).await;
    let waiting = client.shell("sleep 0.2").await;
    let waits = async || {
        let series = scrape(&server).await;
        (series["rdev_commands_oldest_waiting_seconds"] >= 0.3).then_some(())
    };
    eventually("a wait of 0.3 s", waits).await;
    assert_eq!(scrape(&server).await["rdev_commands{state=\"waiting\"}"], 1.0);
    // One that never starts has neither a wait nor a duration.
    let cancelled = client.shell("echo never").await;
    client.cancel(&cancelled.id).await;
    server.touch("go").await;
    client.ended(&waiting.id).await;
    shows(&server, &completed(), 2.0).await;
    shows(&server, "rdev_commands_oldest_waiting_seconds", 0.0).await;
    let series = scrape(&server).await;
    let of = |figure: &str| series[&format!("rdev_job_{figure}{{target=\"project\",type=\"shell\"}}")];
    assert_eq!([of("duration_seconds_count"), of("wait_seconds_count")], [2.0, 2.0]);
    // The first ran while the second waited.
    assert!(of("wait_seconds_sum") >= 0.3 && of("duration_seconds_sum") >= 0.5, "{series:#?}");
    let bucket = |figure: &str, le: &str| {
        series[&format!("rdev_job_{figure}_seconds_bucket{{target=\"project\",type=\"shell\",le=\"{le}\"}}")]
    };
    assert_eq!([bucket("duration", "0.1"), bucket("duration", "14400")], [0.0, 2.0]);
    assert_eq!([bucket("wait", "+Inf"), bucket("duration", "+Inf")], [2.0, 2.0]);
    // Nothing of another kind has ended.
    assert!(!series.keys().any(|name| name.starts_with("rdev_job_") && name.contains("type=\"git\"")));
}

async fn space_grows_with_what_is_stored(on: Runtime) {
    const STORED: f64 = 2e6;
    let server = on.server().await;
    let before = scrape(&server).await;
    let [size, available] = ["rdev_disk_bytes", "rdev_disk_available_bytes"]
        .map(|name| before[&format!("{name}{{folder=\"data\"}}")]);
    assert!(0.0 < available && available <= size, "{available} of {size}");
    let client = server.client();
    // Letters without repetition: a database may compress others.
    let accepted = client.shell("head -c 2000000 /dev/urandom | base64").await;
    client.ended(&accepted.id).await;
    let grown = async || {
        let bytes = scrape(&server).await["rdev_database_bytes"];
        (bytes >= before["rdev_database_bytes"] + STORED).then_some(())
    };
    eventually("that it is in the database", grown).await;
}

async fn what_retention_is_late_with_is_told_until_it_is_removed(on: Runtime) {
    const LAG: &str = "rdev_retention_lag_seconds";
    let server = on.server().await;
    let client = server.client();
    shows(&server, LAG, 0.0).await;
    let accepted = client.shell("true").await;
    client.ended(&accepted.id).await;
    shows(&server, &completed(), 1.0).await;
    assert_eq!(scrape(&server).await[LAG], 0.0);
    // They are kept for 30.
    server.let_31_days_pass(&accepted.id).await;
    let is_late = async || (scrape(&server).await[LAG] >= 24.0 * 3600.0).then_some(());
    eventually("a day", is_late).await;
    server.sooner("that it is removed", async || (scrape(&server).await[LAG] == 0.0).then_some(())).await;

    let forever = on.fixture().with("RDEV_RETENTION_DAYS", "0").start().await;
    assert!(!scrape(&forever).await.contains_key(LAG));
}

#[tokio::test]
async fn for_a_task_of_a_worker_that_leaves_no_other_one_is_wanted() {
    let server = Runtime::Double.server_with_workers(1).await;
    let client = server.client();
    let wait = json!({"type": "shell", "steps": ["until [ -e ../go ]; do sleep 0.02; done"]});
    let task = client.add_task(&wait).await.id;
    client.task_in(&task, Status::Running).await;
    shows(&server, "rdev_pool_load", 1.0).await;
    let worker = server.double().cluster().pod("rdev", "slot-1");
    worker.delete(Duration::from_secs(60)).unwrap();
    shows(&server, "rdev_pool_load", 0.0).await;
    let series = scrape(&server).await;
    assert_eq!(series["rdev_pool_tasks{type=\"shell\",state=\"running\"}"], 1.0);
    // The next one waits, for a worker that stays.
    client.add_task(&wait).await;
    shows(&server, "rdev_pool_load", 1.0).await;
    server.touch_at("slot-1", "go").await;
    client.task_in(&task, Status::Completed).await;
}

#[tokio::test]
async fn requests_and_streams_are_counted_by_route() {
    let server = Server::start().await;
    let client = server.client();
    let accepted = client.shell("sleep 300").await;
    client.begun(&accepted.id).await;
    for path in ["/projects/demo/commands/nonsense", "/no/such/route", "/projects/other"] {
        client.get(path).send().await;
    }
    let stream = client.follow(&accepted.stream_id, None).await;
    shows(&server, "rdev_streams_open", 1.0).await;
    drop(stream);
    client.cancel(&accepted.id).await;
    shows(&server, "rdev_streams_open", 0.0).await;
    let series = scrape(&server).await;
    let counted = |method: &str, path: &str, status: u16| {
        let labels = format!("method=\"{method}\",path=\"{path}\",status=\"{status}\"");
        series.get(&format!("rdev_http_requests_total{{{labels}}}")).copied()
    };
    assert_eq!(counted("POST", "/projects/{project}/shell", 202), Some(1.0));
    assert_eq!(counted("GET", "/projects/{project}/commands/{command_id}", 404), Some(1.0));
    assert_eq!(counted("GET", "/projects/{project}", 404), Some(1.0));
    assert_eq!(counted("GET", "none", 404), Some(1.0));
    let timed =
        "rdev_http_request_duration_seconds_count{method=\"POST\",path=\"/projects/{project}/shell\"}";
    assert_eq!(series[timed], 1.0);
    assert!(series.keys().any(|name| name.starts_with("rdev_build_info{version=")));
    assert_eq!((series["rdev_panics_total"], series["rdev_log_lines_lost_total"]), (0.0, 0.0));
    // Whoever has no key reads it too: it is for the cluster's inside.
    assert_eq!(client.with_key(None).get("/metrics").send().await.status, 200);
}

#[tokio::test]
async fn an_agent_whose_key_is_refused_is_counted_as_such() {
    let model = Model::start(Runtime::Local).await;
    let server = model.fixture().start().await;
    let client = server.client();
    let accepted = client.claude_in("demo", &json!({"prompt": "@stub error 401"})).await;
    client.ended(&accepted.id).await;
    shows(&server, &ends("project", "claude", "failed", "auth"), 1.0).await;
}

#[tokio::test]
async fn refused_requests_are_counted_by_their_status() {
    let server = Fixture::new().with("RDEV_RATE_LIMIT_PER_MINUTE", "30").start().await;
    let refused = async || {
        let series = scrape(&server).await;
        [401, 403, 429].map(|status| series[&format!("rdev_requests_refused_total{{status=\"{status}\"}}")])
    };
    assert_eq!(refused().await, [0.0, 0.0, 0.0]);
    let client = server.client();
    for _ in 0..2 {
        assert_eq!(client.with_key(None).get("/projects").send().await.status, 401);
    }
    // Three may come at once, and on a slow machine others with time.
    let too_many = async || (client.get("/projects").send().await.status == 429).then_some(());
    eventually("too many", too_many).await;
    assert_eq!(refused().await, [2.0, 0.0, 1.0]);
}

#[tokio::test]
async fn the_process_has_the_figures_that_prometheus_clients_have() {
    let server = Server::start().await;
    let series = scrape(&server).await;
    let of = |name: &str| series[&format!("process_{name}")];
    assert!(of("open_fds") > 2.0 && of("open_fds") < of("max_fds"), "{series:#?}");
    let resident = of("resident_memory_bytes");
    assert!(1e6 < resident && resident < of("virtual_memory_bytes"), "{resident}");
    assert!(of("threads") >= 1.0 && of("cpu_seconds_total") >= 0.0);
    // A command that is accepted now was accepted after the start, both to the second.
    let client = server.client();
    let command = client.command(&client.shell("true").await.id).await;
    let accepted: jiff::Timestamp = command.progress.created_at.to_string().parse().expect("a time");
    let age = accepted.as_second() as f64 - of("start_time_seconds");
    assert!((-1.0..3600.0).contains(&age), "{age}");
}
