//! The workers of the pool: who is free, who is drained, and what becomes of a task whose worker dies.

use rdev_client::types::{BlockedBy, Data, Pool, Reason, Status, Worker, WorkerStatus};
use serde_json::json;

use crate::support::{Runtime, Server, eventually, on_every_runtime};

on_every_runtime! { and on postgres:
    a_drained_worker_takes_nothing_new_until_it_is_undone,
}

async fn pool(server: &Server) -> Pool {
    server.client().api().pool().await.unwrap()
}

async fn a_drained_worker_takes_nothing_new_until_it_is_undone(on: Runtime) {
    let mut server = on.server_with_workers(1).await;
    let client = server.client();
    client.has_worker("slot-1").await;
    // A pod that is ready was looked at by then.
    eventually("it", async || (client.worker("slot-1").await.status == WorkerStatus::Ready).then_some(()))
        .await;
    let workers = client.api().workers().await.unwrap();
    assert_eq!(
        (workers.len(), workers[0].id.as_str(), workers[0].status),
        (1, "slot-1", WorkerStatus::Ready)
    );
    // Draining is what a request without a body asks for.
    let drain = client.call("POST", "/workers/slot-1/drain").send().await;
    assert!(drain.json::<Data<Worker>>(200).data.draining);
    server.kill9().await;
    server.restart().await;
    let client = server.client();
    assert!(client.worker("slot-1").await.draining);
    let task = client.add_task(&json!({"type": "shell", "steps": ["true"]})).await;
    assert_eq!(
        client.task(&task.id).await.progress.queue.unwrap().blocked_by,
        Some(BlockedBy::NoReadyWorker)
    );
    assert_eq!(pool(&server).await.queue_depth, 1);
    for body in [json!({"drain": "no"}), json!({"undo": true}), json!([false])] {
        client.post("/workers/slot-1/drain", &body).send().await.failure(400, "INVALID_BODY");
    }
    assert!(!client.api().drain_worker("slot-1", false).await.unwrap().draining);
    client.task_in(&task.id, Status::Completed).await;
    let expected = Pool { capacity: 1, busy: 0, idle: 1, draining: 0, not_ready: 0, queue_depth: 0 };
    assert_eq!(pool(&server).await, expected);
    client.get("/workers/slot-2").send().await.failure(404, "WORKER_NOT_FOUND");
}

#[tokio::test]
async fn a_task_whose_worker_dies_is_tried_elsewhere_unless_it_may_run_but_once() {
    let server = Runtime::Double.server().await;
    let (client, marks) = (server.client(), server.fixture().data_dir());
    let go = marks.join("go");
    let step = format!("until [ -e {} ]; do sleep 0.02; done", go.display());
    let test = client.add_task(&json!({"type": "shell", "steps": [step.clone()]})).await;
    assert_eq!(
        client.task(&test.id).await.progress.queue.unwrap().blocked_by,
        Some(BlockedBy::NoReadyWorker)
    );

    let first = server.double().add_worker("worker-a");
    client.task_in(&test.id, Status::Running).await;
    client.has_worker("worker-a").await;
    assert_eq!(client.worker("worker-a").await.task_ids, std::slice::from_ref(&test.id));
    first.delete(std::time::Duration::ZERO).unwrap();
    server.double().add_worker("worker-b");
    client.has_worker("worker-b").await;
    let moved = async || client.worker("worker-b").await.task_ids.contains(&test.id).then_some(());
    eventually("the other worker", moved).await;
    std::fs::write(&go, "").unwrap();
    let ended = client.task_in(&test.id, Status::Completed).await;
    assert_eq!(ended.attempts, 2);
    assert!(ended.last_error.unwrap().contains("pod_lost"));

    std::fs::remove_file(&go).unwrap();
    let once = json!({"type": "shell", "steps": [step], "max_attempts": 1});
    let deploy = client.add_task(&once).await;
    client.task_in(&deploy.id, Status::Running).await;
    server.double().cluster().pod("rdev", "worker-b").delete(std::time::Duration::ZERO).unwrap();
    let ended = client.task_in(&deploy.id, Status::Failed).await;
    assert_eq!((ended.attempts, ended.dead, ended.progress.reason), (1, true, Some(Reason::PodLost)));
}

#[tokio::test]
async fn a_worker_runs_as_many_tasks_as_its_pod_says() {
    let server = Runtime::Double.server().await;
    let client = server.client();
    let pod = server.double().add_worker("wide");
    let annotate = |value| pod.annotate("rdev.orchard9.ai/capacity", Some(value)).unwrap();
    annotate("many");
    let is = async |status: WorkerStatus| {
        let there = async || Some(client.worker("wide").await).filter(|worker| worker.status == status);
        eventually(status.as_str(), there).await
    };
    client.has_worker("wide").await;
    let refused = is(WorkerStatus::Failing).await;
    assert_eq!((refused.capacity, refused.reason.as_deref()), (0, Some("InvalidCapacity")));
    assert!(refused.message.unwrap().contains("\"many\""));
    let step = "echo made > made; until [ -e ../go ]; do sleep 0.02; done; ls";
    let body = json!({"type": "shell", "steps": [step], "max_attempts": 1});
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(client.add_task(&body).await.id);
    }
    assert_eq!(
        client.task(&tasks[0]).await.progress.queue.unwrap().blocked_by,
        Some(BlockedBy::NoReadyWorker)
    );
    annotate("2");
    let full = is(WorkerStatus::Busy).await;
    assert_eq!((full.capacity, full.busy), (2, 2));
    for id in &tasks[..2] {
        client.task_in(id, Status::Running).await;
    }
    assert_eq!(client.task(&tasks[2]).await.progress.queue.unwrap().blocked_by, Some(BlockedBy::PoolFull));
    let pool = pool(&server).await;
    assert_eq!([pool.capacity, pool.busy, pool.idle], [2, 2, 0]);
    server.touch_at("wide", "go").await;
    for id in &tasks {
        client.task_in(id, Status::Completed).await;
        // None has found, or lost, what another has made.
        let output = client.task_output(id).await;
        assert!(output.ends_with("\nmade\n"), "{output}");
    }
}
