//! A disk that is full for a while.

use rdev_client::types::Status;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::{Fixture, Server, eventually};

/// Has every write of the server fail beyond so many bytes of a file, as on a disk that is full. The server must have
/// been told to ignore the signal that comes with it.
fn limit_files(server: &Server, bytes: Option<u64>) {
    let pid = Pid::from_raw(server.pid().cast_signed());
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("the limit can be set");
}

#[tokio::test]
async fn a_disk_that_was_full_costs_no_restart_and_nothing_that_was_accepted() {
    let server = Fixture::new().started_by("trap '' XFSZ; exec \"$0\"").start().await;
    let client = server.client();
    let running = client.shell_on("s", "echo before; until [ -e go ]; do sleep 0.02; done; echo after").await;
    client.begun(&running.id).await;

    limit_files(&server, Some(4096));
    let body = serde_json::json!({"command": "true"});
    for _ in 0..3 {
        let refused = client.post("/projects/demo/shell", &body).send().await;
        refused.failure(503, "UNAVAILABLE");
        assert!(refused.headers.contains_key("retry-after"));
    }
    let told = async |status| (client.get("/ready").send().await.status == status).then_some(());
    eventually("that it is not ready", || told(503)).await;
    assert_eq!(client.get("/health").send().await.status, 200);
    // What comes meanwhile is in the journal.
    server.touch("go").await;

    limit_files(&server, None);
    eventually("readiness", || told(200)).await;
    assert_eq!(client.run("echo new").await.0, ["new"]);
    assert_eq!(client.ended(&running.id).await.accepted.status, Status::Completed);
    assert_eq!(client.output(&running.id).await, "before\nafter\n");
}
