//! A worker that is to go, while its server restarts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rdev_client::types::Status;
use serde_json::json;
use tokio::process::Command;

use crate::support::{Runtime, eventually};

const GRACE: Duration = Duration::from_secs(3600);
const FILE_BYTES: u64 = 8 << 20;

/// The runner that was copied into a pod.
fn runner_in(runs: &Path) -> Option<PathBuf> {
    std::fs::read_dir(runs.join("bin")).ok()?.flatten().map(|entry| entry.path()).next()
}

#[tokio::test]
async fn a_drained_worker_waits_for_its_output_and_files_over_a_restart_of_the_server() {
    let mut server = Runtime::Double.server().await;
    let pod = server.double().add_worker("worker-a");
    server.client().has_worker("worker-a").await;
    let go = server.fixture().data_dir().join("go");
    let steps = format!(
        "echo up; until [ -e {} ]; do sleep 0.02; done; head -c {FILE_BYTES} /dev/urandom > out; seq 10000",
        go.display()
    );
    let body = json!({"type": "shell", "steps": [steps], "artefacts": ["out"], "max_attempts": 1});
    let task = server.client().add_task(&body).await;
    server.client().task_in(&task.id, Status::Running).await;
    let runs = pod.run_folder().unwrap();
    let run = runs.join(format!("{}-1", task.id));
    eventually("its run", async || run.join("journal").exists().then_some(())).await;

    // What a kubelet does: the pod is marked, and preStop has the time that it needs.
    pod.delete(GRACE).unwrap();
    let mut drain = Command::new(runner_in(&runs).unwrap());
    let mut drain = drain
        .args(["drain", "--wait", "600"])
        .env("RDEV_RUNS_DIR", &runs)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    server.kill9().await;
    std::fs::write(&go, "").unwrap();
    eventually("the end of its run", async || (!run.join("socket").exists()).then_some(())).await;
    assert!(drain.try_wait().unwrap().is_none(), "nobody has what it has left");
    server.restart().await;
    assert!(drain.wait().await.unwrap().success());
    pod.delete(Duration::ZERO).unwrap();

    let client = server.client();
    let ended = client.task_in(&task.id, Status::Completed).await;
    assert_eq!((ended.attempts, ended.progress.exit_code), (1, Some(0)));
    let lines: String = (1..=10_000).map(|line| format!("{line}\n")).collect();
    let output = client.task_output(&task.id).await;
    assert!(output.ends_with(&format!("\nup\n{lines}")), "{} of {} bytes", output.len(), lines.len());
    let files = client.artefacts(&task.id).await;
    assert_eq!((files.len(), files[0].size, files[0].problem), (1, FILE_BYTES, None));
}
