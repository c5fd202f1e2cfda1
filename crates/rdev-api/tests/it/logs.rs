//! The log: what an operator reads in it, and that one which cannot be written loses lines, and nothing else.

use std::fs::File;
use std::io::{Write, pipe};
use std::process::Stdio;

use clap::Parser;
use rdev_api::config::Config;
use rdev_api::telemetry;
use rdev_client::types::Status;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::process::Command;

use crate::support::{Client, Fixture, Item, Server, eventually, free_address, within};

/// Nobody reads it any more.
const CLOSED: &str = "exec \"$0\" 2> >(:)";
/// There is no room.
const FULL: &str = "exec \"$0\" 2>/dev/full";
/// Somebody has it open, and does not read.
const STALLED: &str = "mkfifo log.pipe; exec 9<>log.pipe; exec \"$0\" 2>log.pipe";

#[tokio::test]
async fn a_log_that_nobody_can_write_stops_and_stalls_nothing() {
    for log in [CLOSED, FULL, STALLED] {
        let fixture = Fixture::new().started_by(log).with("RDEV_LOG", "debug");
        let mut server = fixture.start().await;
        let client = server.client();
        // More lines than a pipe holds.
        for _ in 0..600 {
            assert_eq!(client.get("/projects").send().await.status, 200, "{log}");
        }
        // The worker warns of a command that is cancelled while it starts, or of one whose runner is cut.
        let accepted = client.shell("sleep 300").await;
        client.begun(&accepted.id).await;
        client.cancel(&accepted.id).await;
        assert_eq!(client.ended(&accepted.id).await.accepted.status, Status::Cancelled, "{log}");
        assert_eq!(client.run("echo after").await.0, ["after"], "{log}");
        if log != STALLED {
            let lost = async || {
                let metrics = client.get("/metrics").send().await.text().to_owned();
                let line = metrics.lines().find(|line| line.starts_with("rdev_log_lines_lost_total "))?;
                (!line.ends_with(" 0")).then_some(())
            };
            eventually("lines that are counted", lost).await;
        }
        server.terminate();
        assert!(server.wait().await.success(), "{log}");
    }
}

/// Standard output takes nothing; neither does standard error, in the pipe that is full.
const NOBODY_IS_TOLD: [&str; 2] = [
    "exec \"$0\" >/dev/full",
    "mkfifo out; exec 8<>out; dd if=/dev/zero of=out oflag=nonblock bs=4096 count=16 2>/dev/null; \
     exec \"$0\" >&8 2>&8",
];

#[tokio::test]
async fn a_greeting_that_nobody_takes_keeps_no_server_from_starting_and_from_ending() {
    for line in NOBODY_IS_TOLD {
        let address = free_address();
        let fixture = Fixture::new().started_by(line).with("RDEV_BIND", address.to_string());
        let log = File::create(fixture.data_dir().with_extension("log")).unwrap();
        let mut process = fixture.program().stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let client = Client::new(address, None);
        let serves =
            async || client.get("/ready").try_send().await.ok().filter(|answer| answer.status == 200);
        eventually("an answer", serves).await;
        let pid = Pid::from_raw(process.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        assert!(within("its end", process.wait()).await.unwrap().success(), "{line}");
    }
}

#[tokio::test]
async fn a_panic_waits_for_no_log() {
    let (_nobody_reads, stderr) = pipe().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "logs::panics_beside_a_log_that_is_stuck", "--ignored", "--nocapture"]);
    let output = child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true).spawn();
    let output = within("its end", output.unwrap().wait_with_output()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("it went on"), "{said}");
}

#[test]
#[ignore = "what a_panic_waits_for_no_log runs in a process of its own"]
fn panics_beside_a_log_that_is_stuck() {
    let log = telemetry::init(&Config::parse_from(["rdev-api"])).unwrap();
    // More than the pipe holds.
    for _ in 0..200 {
        tracing::info!("{}", "x".repeat(1024));
    }
    assert!(std::panic::catch_unwind(|| panic!("as it happens")).is_err());
    drop(log);
    writeln!(std::io::stdout(), "it went on").unwrap();
}

#[tokio::test]
async fn log_lines_of_a_request_carry_its_id_and_no_ticket() {
    for format in ["text", "json"] {
        let fixture = Fixture::new().with("RDEV_LOG", "debug").with("RDEV_LOG_FORMAT", format);
        let mut server = fixture.start().await;
        let call = server.client().with_key(None);
        let call = call.get("/projects/demo/events?ticket=sesame");
        call.header("x-request-id", "my-id-1").send().await.failure(401, "UNAUTHORIZED");
        let log = server.whole_log().await;
        let line = log.lines().find(|line| line.contains("answered") && line.contains("my-id-1"));
        let line = line.unwrap_or_else(|| panic!("{format}: {log}"));
        assert!(line.contains("/projects/demo/events") && line.contains("401"), "{line}");
        assert!(!log.contains("sesame"), "{log}");
    }
}

/// Lines of a log that contain these words, in their order.
fn assert_story(log: &str, story: &[&[&str]]) {
    let mut lines = log.lines();
    for words in story {
        let told = lines.any(|line| words.iter().all(|word| line.contains(word)));
        assert!(told, "{words:?} is not told, or not in its place: {log}");
    }
}

#[tokio::test]
async fn the_log_of_a_day_reads_as_a_story() {
    for format in ["text", "json"] {
        let mut server = Fixture::new().with("RDEV_LOG_FORMAT", format).start().await;
        let client = server.client();
        let fine = client.shell("echo fine").await.id;
        client.ended(&fine).await;
        let wrong = client.shell("exit 3").await.id;
        client.ended(&wrong).await;
        let slow = client.shell_on("nightly", "until [ -e go ]; do sleep 0.02; done").await.id;
        // The log is written behind the work: a server that is killed has lines yet to write.
        server.logged(&["command started", &slow]).await;
        server.kill9().await;
        server.restart().await;
        server.logged(&["was running, attached to it"]).await;
        server.touch("go").await;
        server.client().ended(&slow).await;
        let log = server.whole_log().await;
        let (completed, failed) = match format {
            "text" => ("status=completed", ["status=failed", "reason=exit_code"]),
            _ => (r#""status":"completed""#, [r#""status":"failed""#, r#""exit_code":3"#]),
        };
        // Each command has a story of its own: the line of its end may come after the start of the next one.
        let started = |id| ["command started", id, "shell", "demo", "admin", "waited_ms"];
        assert_story(&log, &[&started(&fine), &["command ended", &fine, completed]]);
        assert_story(&log, &[&started(&wrong), &["command ended", &wrong, failed[0], failed[1]]]);
        let starts = [
            "rdev-api starts to serve",
            "version",
            "commit",
            "bind",
            "local",
            "rdev.db",
            "schema",
            "retention_days",
        ];
        assert_story(
            &log,
            &[
                &starts,
                &["command started", &slow, "nightly"],
                &starts,
                &["jobs were running before this start", "commands"],
                &["command was running, attached to it", &slow],
                &["command ended", &slow, "nightly", "duration_ms"],
                &["stopping"],
                &["stopped"],
            ],
        );
        // The answer's line may come after that of the start, and even of the end.
        for id in [&fine, &wrong, &slow] {
            let location = format!("/projects/demo/commands/{id}");
            let words = ["answered", "202", "POST", "/projects/demo/shell", &location, "admin", "127.0.0.1"];
            assert_story(&log, &[&words]);
        }
        for quiet in ["/ready", "Some(", "SELECT"] {
            assert!(!log.contains(quiet), "{quiet}: {log}");
        }
    }
}

#[tokio::test]
async fn attempts_of_a_task_and_operations_are_told() {
    let mut server = Server::start().await;
    let client = server.client();
    assert_eq!(client.post("/projects", &json!({"name": "shop"})).send().await.status, 202);
    eventually("the project", async || client.project("shop").await).await;
    let body = json!({"type": "shell", "steps": ["exit 9"], "max_attempts": 2});
    let task = client.add_task(&body).await;
    client.task_in(&task.id, Status::Failed).await;
    let log = server.whole_log().await;
    assert_story(
        &log,
        &[
            &["operation started", "type=create_project", "project=shop", "created_by=admin"],
            &["operation ended", "type=create_project", "status=completed"],
            &["task started", &task.id, "type=shell", "attempt=1"],
            &[
                "task failed, another attempt follows",
                &task.id,
                "reason=exit_code",
                "exit_code=9",
                "pause_ms",
            ],
            &["task started", &task.id, "attempt=2"],
            &["task ended", &task.id, "status=failed"],
        ],
    );
}

#[tokio::test]
async fn the_end_of_a_job_that_never_began_is_told() {
    let mut server = Fixture::new().with_workers(1).start().await;
    let client = server.client();
    let body = json!({"type": "shell", "steps": ["while :; do sleep 0.05; done"]});
    let (running, waiting) = (client.add_task(&body).await, client.add_task(&body).await);
    client.task_in(&running.id, Status::Running).await;
    for task in [&waiting, &running] {
        client.api().cancel_task(&task.id).await.unwrap();
    }
    client.task_in(&running.id, Status::Cancelled).await;
    let log = server.whole_log().await;
    assert_story(&log, &[&["task ended", &waiting.id, "status=cancelled"], &["task ended", &running.id]]);
}

#[tokio::test]
async fn every_line_on_every_stream_is_json_where_that_is_asked() {
    #[derive(serde::Deserialize)]
    struct Line {
        level: String,
        message: String,
        timestamp: String,
    }
    let parsed = |line: &str| -> Line {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
    };
    let address = free_address();
    let fixture = Fixture::new().with("RDEV_LOG_FORMAT", "json").with("RDEV_BIND", address.to_string());
    let process = fixture.program().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let client = Client::new(address, None);
    let serves = async || client.get("/ready").try_send().await.ok().filter(|answer| answer.status == 200);
    eventually("an answer", serves).await;
    client.get("/projects").send().await.failure(401, "UNAUTHORIZED");
    let pid = Pid::from_raw(process.id().unwrap().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let output = within("its end", process.wait_with_output()).await.unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let greeting: Vec<Line> = stdout.lines().map(parsed).collect();
    assert_eq!(greeting.len(), 1, "{stdout}");
    assert!(greeting[0].message.contains(&address.to_string()) && greeting[0].timestamp.ends_with('Z'));
    assert!(stderr.lines().map(parsed).any(|line| line.message == "answered"), "{stderr}");

    let refusal = fixture.with("RDEV_LEASE_SECONDS", "1").refused().await;
    let line = parsed(refusal.stderr.trim_end());
    assert!(line.level == "ERROR" && line.message.contains("RDEV_LEASE_SECONDS"), "{}", refusal.stderr);
}

#[tokio::test]
async fn sql_is_logged_where_it_is_named() {
    for (filter, is_named) in [("debug", false), ("debug,sqlx=debug", true)] {
        let mut server = Fixture::new().with("RDEV_LOG", filter).start().await;
        server.client().run("echo hello").await;
        assert_eq!(server.whole_log().await.contains("SELECT"), is_named, "{filter}");
    }
}

#[tokio::test]
async fn a_variable_that_is_no_setting_is_named_with_the_most_similar_one() {
    let fixture = Fixture::new()
        .with("RDEV_WORKER_CONCURENCY", "4")
        .with("RDEV_API_SERVICE_HOST", "10.0.0.1")
        .with("RDEV_TEST_SOMETHING", "1");
    let log = fixture.start().await.whole_log().await;
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    let [warning] = warnings[..] else { panic!("{log}") };
    assert!(
        warning.contains("RDEV_WORKER_CONCURENCY") && warning.contains("RDEV_WORKER_CONCURRENCY"),
        "{warning}"
    );
}

#[tokio::test]
async fn a_client_that_is_refused_again_and_again_is_told_of_in_few_lines() {
    let mut server = Server::start().await;
    let stranger = server.client().with_key(Some("rdev_x_a-wrong-key-of-somebody"));
    for _ in 0..20 {
        stranger.get("/projects").send().await.failure(401, "UNAUTHORIZED");
    }
    let log = server.whole_log().await;
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    let [warning] = warnings[..] else { panic!("{log}") };
    assert!(warning.contains("no accepted key") && warning.contains("client=127.0.0.1"), "{warning}");
}

#[tokio::test]
async fn a_server_that_was_started_by_nohup_outlives_its_terminal() {
    let mut server = Fixture::new().started_by("exec nohup \"$0\"").start().await;
    let client = server.client();
    let accepted = client.shell("until [ -e go ]; do sleep 0.02; done; echo after").await;
    let mut events = client.connection(&accepted.stream_id, None).await;
    client.begun(&accepted.id).await;
    server.hang_up();
    assert_eq!(client.get("/projects").send().await.status, 200);
    server.touch("go").await;
    let items = events.rest().await;
    assert!(!items.iter().any(|item| matches!(item, Item::Retry(500))), "{items:?}");
    assert_eq!(client.ended(&accepted.id).await.accepted.status, Status::Completed);
    server.terminate();
    assert!(server.wait().await.success());
}

#[tokio::test]
async fn a_hangup_says_goodbye_as_a_stop_does() {
    // The tests themselves may have been started by nohup, whose children ignore it.
    let mut server = Fixture::new().started_by("exec env --default-signal=HUP \"$0\"").start().await;
    let client = server.client();
    let accepted = client.shell("until [ -e go ]; do sleep 0.02; done; echo after").await;
    let mut events = client.connection(&accepted.stream_id, None).await;
    client.begun(&accepted.id).await;
    server.hang_up();
    let items = events.rest().await;
    assert!(matches!(items.last(), Some(Item::Retry(500))), "{items:?}");
    assert!(server.wait().await.success());
    server.restart().await;
    server.touch("go").await;
    assert_eq!(server.client().ended(&accepted.id).await.accepted.status, Status::Completed);
}
