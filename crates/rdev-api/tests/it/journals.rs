//! Journals whose copy is stored take no space, whatever kept their worker from freeing them.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rdev_client::Received;
use rdev_client::types::{Event, Reason, Status};

use crate::support::{Fixture, Item, Server, eventually};

fn fixture() -> Fixture {
    Fixture::new().with("RDEV_JOURNAL_SEARCH_SECONDS", "1")
}

fn run_folder(server: &Server, id: &str) -> PathBuf {
    server.fixture().data_dir().join("runs").join(id)
}

/// Waits until nothing is left of a run's output but how it ended.
async fn freed(server: &Server, id: &str) {
    let folder = run_folder(server, id);
    let freed = async || {
        let small = fs::metadata(folder.join("journal")).is_ok_and(|journal| journal.len() < 100);
        (small && folder.join("collected").exists()).then_some(())
    };
    eventually("a journal without output", freed).await;
}

#[tokio::test]
async fn a_journal_whose_server_died_right_after_the_end_is_freed() {
    let mut server = fixture().start().await;
    let client = server.client();
    let running = client.shell("echo $$ >pid; until [ -e go ]; do sleep 0.02; done; seq 3").await;
    server.file_written("pid").await;
    let ended = client.shell("seq 20000").await;
    client.ended(&ended.id).await;
    server.kill9().await;
    // It ends, and nobody has stored what it says.
    server.touch("go").await;
    server.restart().await;
    freed(&server, &ended.id).await;
    let client = server.client();
    client.ended(&running.id).await;
    assert_eq!(client.output(&running.id).await, "1\n2\n3\n");
    assert!(client.output(&ended.id).await.ends_with(b"\n20000\n"));
}

#[tokio::test]
async fn a_journal_that_was_not_freed_at_first_is_freed_later() {
    let server = fixture().start().await;
    let client = server.client();
    // A folder where the runner writes the smaller journal.
    let line = r#"mkdir "$RDEV_RUNS_DIR/$RDEV_RUN_ID/journal.new"; seq 20000"#;
    let ended = client.shell(line).await;
    client.ended(&ended.id).await;
    server.logged(&["freeing journals or checkouts failed"]).await;
    fs::remove_dir(run_folder(&server, &ended.id).join("journal.new")).unwrap();
    freed(&server, &ended.id).await;
    assert!(client.output(&ended.id).await.ends_with(b"\n20000\n"));
}

/// Ends a command while no server runs, damages its journal where this text ends, and starts a server again.
async fn damaged_at(server: &mut Server, id: &str, text: &[u8]) {
    server.kill9().await;
    server.touch("go").await;
    eventually("its end", async || (!server.lives("pid").await).then_some(())).await;
    let folder = run_folder(server, id);
    // Its supervisor writes last that it has ended, and takes the socket away.
    eventually("its supervisor's end", async || (!folder.join("socket").exists()).then_some(())).await;
    let journal = fs::read(folder.join("journal")).unwrap();
    let at = journal.windows(text.len()).rposition(|bytes| bytes == text).unwrap() + text.len() - 1;
    let file = fs::OpenOptions::new().write(true).open(folder.join("journal")).unwrap();
    file.write_all_at(&[journal[at] ^ 0x55], at as u64).unwrap();
    server.restart().await;
}

#[tokio::test]
async fn damage_is_told_as_a_gap_and_what_follows_is_there() {
    let mut server = Fixture::new().start().await;
    let line = "echo $$ >pid; until [ -e go ]; do sleep 0.02; done
        for word in first second third; do echo $word; sleep 0.1; done";
    let accepted = server.client().shell(line).await;
    server.file_written("pid").await;
    damaged_at(&mut server, &accepted.id, b"second\n").await;
    let items = server.client().connection(&accepted.stream_id, None).await.rest().await;
    let told: Vec<String> = items
        .into_iter()
        .filter_map(|item| match item {
            Item::Event(Received { event: Event::Output(line), .. }) => {
                Some(format!("{} {}", line.seq, line.line))
            }
            Item::Event(Received { event: Event::Gap(gap), .. }) => Some(gap.reason.to_string()),
            Item::Event(Received { event: Event::Complete(complete), .. }) => {
                Some(format!("{} {}", complete.seq, complete.status))
            }
            Item::Event(_) | Item::Retry(_) => None,
        })
        .collect();
    let [first, gap, third, complete] = &told[..] else { panic!("{told:?}") };
    assert_eq!([first, third, complete], ["1 first", "3 third", "4 completed"]);
    assert_eq!(gap, "journal_damaged");
}

#[tokio::test]
async fn a_command_whose_end_is_damaged_ends_and_says_so() {
    let mut server = Fixture::new().start().await;
    let line = "echo $$ >pid; until [ -e go ]; do sleep 0.02; done; echo said";
    let accepted = server.client().shell(line).await;
    server.file_written("pid").await;
    // The byte before the exit entry's last: nothing follows it.
    damaged_at(&mut server, &accepted.id, &[0, 0, 0, 0]).await;
    let client = server.client();
    let ended = client.ended(&accepted.id).await;
    assert_eq!(
        (ended.accepted.status, ended.progress.reason),
        (Status::Failed, Some(Reason::JournalDamaged))
    );
    assert_eq!(client.output(&accepted.id).await, "said\n");
}
