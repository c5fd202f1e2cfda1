//! A container that goes for want of memory: the command that had it, and those beside it.

use std::fs;

use rdev_client::types::{Reason, Status, WorkerStatus};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Runtime, eventually};

const GIB: u64 = 1 << 30;

/// A control group of version 2 in which the kernel ends everything at once, and of whose memory half is left.
fn group() -> TempDir {
    let group = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("memory.max", format!("{GIB}\n")),
        ("memory.oom.group", "1\n".to_owned()),
        ("memory.stat", format!("anon {}\n", GIB / 4 * 3)),
    ] {
        fs::write(group.path().join(file), text).unwrap();
    }
    group
}

#[tokio::test]
async fn one_task_of_a_container_without_memory_is_told_so_and_the_others_run_again() {
    let server = Runtime::Double.server().await;
    let (client, group) = (server.client(), group());
    let pod = server.double().add_worker_as("wide", |new| {
        new.annotation("rdev.orchard9.ai/capacity", "2").env("RDEV_CGROUP_DIR", group.path())
    });
    client.has_worker("wide").await;
    let go = server.fixture().data_dir().join("go");
    let small = format!("until [ -e {} ]; do sleep 0.02; done", go.display());
    let small = client.add_task(&json!({"type": "shell", "steps": [small], "max_attempts": 2})).await;
    let large = "{ head -c 100000000 /dev/zero; sleep 1000; } | tail -n 1";
    let large = client.add_task(&json!({"type": "shell", "steps": [large], "max_attempts": 1})).await;
    let runs = pod.run_folder().unwrap();
    let kept = |task: &str| {
        let text = fs::read_to_string(runs.join(format!("{task}-1")).join("memory")).unwrap_or_default();
        text.split_whitespace().next().and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or_default()
    };
    let both = async || (kept(&small.id) > 0 && kept(&large.id) > 50_000_000).then_some(());
    eventually("what they hold", both).await;
    let worker = client.worker("wide").await;
    assert_eq!((worker.status, worker.reason.as_deref()), (WorkerStatus::Busy, Some("OomGroup")));
    assert!(worker.message.unwrap().contains("memory.oom.group"));

    pod.oom_kill("worker").unwrap();
    let large = client.task_in(&large.id, Status::Failed).await;
    assert_eq!((large.progress.reason, large.attempts), (Some(Reason::OomKilled), 1));
    let again = async || Some(client.task(&small.id).await).filter(|task| task.last_error.is_some());
    let again = eventually("its next attempt", again).await;
    let error = again.last_error.unwrap();
    assert!(error.starts_with("pod_restarted: another command needed"), "{error}");
    fs::write(&go, "").unwrap();
    let small = client.task_in(&small.id, Status::Completed).await;
    // The attempt that was ended by what it had no part in is beside the two that it may have.
    assert_eq!((small.attempts, small.max_attempts), (2, 3));
}
