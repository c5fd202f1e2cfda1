//! kill -9 at the worst moments.

use rdev_client::Received;
use rdev_client::types::{Event, Reason, Status};
use tokio::process::Command;

use crate::support::{Fixture, Item, Runtime, eventually, on_every_runtime};

on_every_runtime! {
    and on postgres:
    a_command_accepted_just_before_a_kill_runs_once,
    many_accepted_before_a_kill_all_run_once,
    an_end_while_no_server_runs_is_told_by_the_next,
    a_command_whose_supervisor_is_killed_fails_honestly,
}

async fn a_command_accepted_just_before_a_kill_runs_once(on: Runtime) {
    let mut server = on.server().await;
    let accepted = server.client().shell("echo ran >> ran; echo said").await;
    server.kill9().await;
    server.restart().await;
    let client = server.client();
    let ended = client.ended(&accepted.id).await;
    assert_eq!((ended.accepted.status, ended.progress.exit_code), (Status::Completed, Some(0)));
    assert_eq!(server.file("ran").await.as_deref(), Some("ran\n"));
    assert_eq!(client.output(&accepted.id).await, "said\n");
}

async fn many_accepted_before_a_kill_all_run_once(on: Runtime) {
    const COMMANDS: usize = 20;
    let mut server = on.fixture().with("RDEV_WORKER_CONCURRENCY", "4").start().await;
    let mut accepted = Vec::new();
    for number in 0..COMMANDS {
        accepted.push(server.client().shell(&format!("echo {number} >> ran; echo {number}")).await);
        if number % 5 == 4 {
            server.kill9().await;
            server.restart().await;
        }
    }
    let client = server.client();
    for (number, accepted) in accepted.iter().enumerate() {
        assert_eq!(client.ended(&accepted.id).await.accepted.status, Status::Completed);
        assert_eq!(client.output(&accepted.id).await, format!("{number}\n"));
    }
    let ran = server.file("ran").await.unwrap();
    let mut ran: Vec<usize> = ran.lines().map(|line| line.parse().unwrap()).collect();
    ran.sort_unstable();
    assert!(ran.iter().copied().eq(0..COMMANDS), "{ran:?}");
}

async fn an_end_while_no_server_runs_is_told_by_the_next(on: Runtime) {
    let mut server = on.server().await;
    let client = server.client();
    let line = "echo $$ > pid; echo first; until [ -e go ]; do sleep 0.02; done; echo last; exit 7";
    let accepted = client.shell(line).await;
    server.file_written("pid").await;
    let mut events = client.connection(&accepted.stream_id, None).await;
    while !matches!(events.event().await.event, Event::Output(_)) {}
    server.kill9().await;
    assert!(events.rest().await.is_empty(), "a dead server says nothing more");
    server.touch("go").await;
    crate::support::eventually("its end", async || (!server.lives("pid").await).then_some(())).await;
    server.restart().await;
    let items = server.client().connection(&accepted.stream_id, Some("1")).await.rest().await;
    let told: Vec<&Event> = items
        .iter()
        .filter_map(|item| match item {
            Item::Event(Received { event: Event::Status(_) | Event::Heartbeat(_), .. }) | Item::Retry(_) => {
                None
            }
            Item::Event(event) => Some(&event.event),
        })
        .collect();
    let [Event::Output(line), Event::Complete(complete)] = told[..] else { panic!("{told:?}") };
    assert_eq!((line.seq, line.line.as_str()), (2, "last"));
    assert_eq!((complete.seq, complete.status, complete.exit_code), (3, Status::Failed, Some(7)));
}

async fn a_command_whose_supervisor_is_killed_fails_honestly(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    // The supervisor is the parent of the command's own process.
    let line = "(setsid sleep 400 &); echo $$ > pid; echo said; kill -9 $PPID; sleep 400";
    let accepted = client.shell(line).await;
    let ended = client.ended(&accepted.id).await;
    assert_eq!((ended.accepted.status, ended.progress.reason), (Status::Failed, Some(Reason::RunnerLost)));
    assert_eq!(ended.progress.exit_code, None);
    assert!(!server.busy().await, "what is lost works on");
    let (lines, complete) = client.run("echo well").await;
    assert_eq!((lines, complete.exit_code), (vec!["well".to_owned()], Some(0)));
}

/// Whatever removes the folder of a run, a command that frees disk space say, it is not started a second time, and does
/// not work beside what runs after it.
#[tokio::test]
async fn a_run_whose_folder_is_gone_is_lost_and_not_started_again() {
    let mut server = Fixture::new().start().await;
    let line = "echo ran >>effects; rm -rf \"$RDEV_RUNS_DIR\"/cmd-*; echo yes >removed; \
                (setsid sleep 400 &); sleep 400; echo ended >>effects";
    let accepted = server.client().shell(line).await;
    server.file_written("removed").await;
    server.kill9().await;
    server.restart().await;
    let client = server.client();
    let ended = client.ended(&accepted.id).await;
    assert_eq!((ended.accepted.status, ended.progress.reason), (Status::Failed, Some(Reason::RunnerLost)));
    assert!(!server.busy().await, "what is lost works on");
    assert_eq!(server.file("effects").await.as_deref(), Some("ran\n"));
}

/// A machine that was off for a week finds journals that nobody has read, and reads them.
#[tokio::test]
async fn journals_that_nobody_has_read_outlive_every_collection() {
    let mut server = Fixture::new().start().await;
    let client = server.client();
    let first = client.shell("echo 1 >>effects; until [ -e go ]; do sleep 0.02; done; echo said 1").await;
    // It counts as running before its order is given.
    server.file_written("effects").await;
    server.kill9().await;
    server.touch("go").await;
    let runs = server.fixture().data_dir().join("runs");
    let mut programs = std::fs::read_dir(server.fixture().data_dir().join("bin")).unwrap();
    let runner = programs.next().unwrap().unwrap().path();
    let exited = async || {
        let list = Command::new(&runner).args(["list", "--runs"]).arg(&runs).output().await.unwrap();
        String::from_utf8(list.stdout).unwrap().contains("\texited\t").then_some(())
    };
    eventually("its end", exited).await;
    let gc = Command::new(&runner).args(["gc", "--older-than", "0", "--runs"]).arg(&runs).output().await;
    assert!(gc.unwrap().status.success());
    server.restart().await;
    let client = server.client();
    assert_eq!(client.ended(&first.id).await.accepted.status, Status::Completed);
    assert_eq!(client.output(&first.id).await, "said 1\n");
    assert_eq!(server.file("effects").await.as_deref(), Some("1\n"));
}
