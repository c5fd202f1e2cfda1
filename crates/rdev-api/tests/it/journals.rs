//! Journals whose copy is stored take no space, whatever kept their worker from freeing them.

use std::fs;
use std::path::PathBuf;

use crate::support::{Fixture, Server, eventually};

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
    let running = client.shell("until [ -e go ]; do sleep 0.02; done; seq 3").await;
    client.begun(&running.id).await;
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
    let failed = async || server.log().contains("were not freed").then_some(());
    eventually("a failure that is logged", failed).await;
    fs::remove_dir(run_folder(&server, &ended.id).join("journal.new")).unwrap();
    freed(&server, &ended.id).await;
    assert!(client.output(&ended.id).await.ends_with(b"\n20000\n"));
}
