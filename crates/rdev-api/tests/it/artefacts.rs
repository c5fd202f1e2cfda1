//! Files that tasks leave: stored whole, or listed with the reason why not.

use std::time::Duration;

use rdev_client::types::{Artefact, ArtefactProblem, ArtefactSummary, Reason, Status, Task};
use rdev_kube_double::Cut;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::{Client, Runtime, eventually, on_every_runtime};

on_every_runtime! { and on postgres:
    files_are_kept_byte_for_byte_also_when_a_step_fails,
    files_are_kept_whole_through_a_kill_of_the_server,
    the_last_attempt_is_the_one_whose_files_are_kept,
    odd_checkouts_keep_what_can_be_read,
}

/// Reads a file, which must be what the list says of it.
async fn read(client: &Client, file: &Artefact) -> Vec<u8> {
    let url = file.url.as_deref().unwrap_or_else(|| panic!("{file:?}"));
    let answer = client.get(url).send().await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (200, "application/octet-stream"),
        "{url}"
    );
    assert!(answer.header("content-disposition").starts_with("attachment; filename*=UTF-8''"));
    let sum: String = Sha256::digest(&answer.body).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((answer.body.len() as u64, Some(sum)), (file.size, file.sha256.clone()), "{url}");
    answer.body.to_vec()
}

async fn ended(client: &Client, id: &str) -> Task {
    let over = async || Some(client.task(id).await).filter(|task| task.status.is_ended());
    eventually("the task's end", over).await
}

async fn files_are_kept_byte_for_byte_also_when_a_step_fails(on: Runtime) {
    let server = on.server_with_workers(1).await;
    let client = server.client();
    let steps = [
        "mkdir -p dist/deep; printf 'a\\0b\\377\\n' >dist/bytes; : >dist/empty; echo x >dist/.hidden",
        "head -c 3000000 /dev/urandom >'dist/deep/large ü'; sha256sum 'dist/deep/large ü'",
        "head -c 17000000 /dev/zero >huge; ln -s /etc/passwd stolen; mkfifo pipe; echo y >dist/z.log",
        "exit 3",
    ];
    let wanted = ["dist/*.log", "dist/", "none/**/*.xml", "huge", "stolen", "pipe", "dist/bytes"];
    let body = json!({"type": "shell", "steps": steps, "artefacts": wanted, "max_attempts": 1});
    let task = client.add_task(&body).await;
    assert_eq!(task.artefacts, Some(ArtefactSummary { files: 0, bytes: 0, problems: 0 }));
    let ended = ended(&client, &task.id).await;
    assert_eq!((ended.status, ended.progress.exit_code), (Status::Failed, Some(3)));
    let files = client.artefacts(&task.id).await;
    let told: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.size, file.problem)).collect();
    let expected = [
        ("dist/.hidden", 2, None),
        ("dist/bytes", 5, None),
        ("dist/deep/large ü", 3_000_000, None),
        ("dist/empty", 0, None),
        ("dist/z.log", 2, None),
        ("huge", 17_000_000, Some(ArtefactProblem::TooLarge)),
        ("pipe", 0, Some(ArtefactProblem::Unreadable)),
        ("stolen", 0, Some(ArtefactProblem::Unreadable)),
        ("none/**/*.xml", 0, Some(ArtefactProblem::Missing)),
    ];
    assert_eq!(told, expected);
    assert_eq!(ended.artefacts, Some(ArtefactSummary { files: 5, bytes: 3_000_009, problems: 4 }));
    assert_eq!(read(&client, &files[1]).await, b"a\0b\xff\n");
    assert_eq!(read(&client, &files[3]).await, b"");
    read(&client, &files[2]).await;
    let output = client.task_output(&task.id).await;
    assert!(output.contains(files[2].sha256.as_deref().unwrap()), "{output}");
    for path in ["huge", "stolen", "dist", "../dist/bytes", "dist%2Fnone"] {
        let path = format!("/queue/tasks/{}/artefacts/{path}", task.id);
        client.get(&path).send().await.failure(404, "ARTEFACT_NOT_FOUND");
    }
    let encoded = format!("/queue/tasks/{}/artefacts/dist%2Fz.log", task.id);
    assert_eq!(client.get(&encoded).send().await.text(), "y\n");
    // The seat's next task finds nothing of it.
    let after = client.add_task(&json!({"type": "shell", "steps": ["ls -A .."]})).await;
    client.task_in(&after.id, Status::Completed).await;
    let output = client.task_output(&after.id).await;
    assert!(!output.contains(&task.id), "{output}");
}

async fn files_are_kept_whole_through_a_kill_of_the_server(on: Runtime) {
    let mut server = on.server_with_workers(1).await;
    let steps =
        ["echo ran >>../ran; for i in 1 2 3 4 5; do head -c 3000000 /dev/urandom >f$i; done; sha256sum f*"];
    let body = json!({"type": "shell", "steps": steps, "artefacts": ["f*"], "max_attempts": 1});
    let id = server.client().add_task(&body).await.id;
    // As soon as the first is stored, the others are on their way.
    let client = server.client();
    eventually("the first file", async || client.artefacts(&id).await.first().cloned()).await;
    server.kill9().await;
    server.restart().await;
    let client = server.client();
    let ended = client.task_in(&id, Status::Completed).await;
    assert_eq!(ended.artefacts, Some(ArtefactSummary { files: 5, bytes: 15_000_000, problems: 0 }));
    assert_eq!(server.file_at("slot-1", "ran").await.as_deref(), Some("ran\n"));
    let output = client.task_output(&id).await;
    for file in client.artefacts(&id).await {
        read(&client, &file).await;
        assert!(output.contains(file.sha256.as_deref().unwrap()), "{file:?}");
    }
}

async fn the_last_attempt_is_the_one_whose_files_are_kept(on: Runtime) {
    let server = on.server_with_workers(1).await;
    let client = server.client();
    let steps =
        ["echo x >>../tries; cp ../tries report; [ $(wc -l <report) = 2 ] || { touch first; exit 1; }"];
    let body = json!({"type": "shell", "steps": steps, "artefacts": ["report", "first"], "max_attempts": 2});
    let id = client.add_task(&body).await.id;
    client.task_in(&id, Status::Completed).await;
    let files = client.artefacts(&id).await;
    assert_eq!(read(&client, &files[0]).await, b"x\nx\n");
    assert_eq!((files.len(), files[1].problem), (2, Some(ArtefactProblem::Missing)));
}

#[tokio::test]
async fn collecting_goes_on_after_any_cut_and_the_death_of_the_server_in_between() {
    let mut server = Runtime::Double.server_with_workers(1).await;
    // No connection lives long enough for the second file.
    server.double().cluster().cut_every(Some(Cut::close(4_000_000)));
    let steps = ["for i in 1 2 3; do head -c 3000000 /dev/urandom >f$i; done; echo ran >>../ran"];
    let body = json!({"type": "shell", "steps": steps, "artefacts": ["f*"], "max_attempts": 1});
    let client = server.client();
    let id = client.add_task(&body).await.id;
    eventually("the first file", async || client.artefacts(&id).await.first().cloned()).await;
    assert_eq!(client.task(&id).await.status, Status::Running);
    server.kill9().await;
    server.restart().await;
    let client = server.client();
    assert_eq!(client.task(&id).await.status, Status::Running);
    server.double().cluster().cut_every(None);
    let ended = client.task_in(&id, Status::Completed).await;
    assert_eq!(ended.artefacts, Some(ArtefactSummary { files: 3, bytes: 9_000_000, problems: 0 }));
    for file in client.artefacts(&id).await {
        read(&client, &file).await;
    }
    assert_eq!(server.file_at("slot-1", "ran").await.as_deref(), Some("ran\n"));
}

#[tokio::test]
async fn files_that_go_with_their_pod_are_told_as_lost() {
    let server = Runtime::Double.server_with_workers(1).await;
    let client = server.client();
    let body = json!({"type": "shell", "steps": ["echo x >report; sleep 300"], "artefacts": ["report", "*.xml"],
                      "max_attempts": 1});
    let id = client.add_task(&body).await.id;
    client.task_in(&id, Status::Running).await;
    server.double().cluster().pod("rdev", "slot-1").delete(Duration::ZERO).unwrap();
    assert_eq!(client.task_in(&id, Status::Failed).await.progress.reason, Some(Reason::PodLost));
    let files = client.artefacts(&id).await;
    let told: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.problem)).collect();
    assert_eq!(told, [("report", Some(ArtefactProblem::Lost)), ("*.xml", Some(ArtefactProblem::Lost))]);
}

async fn odd_checkouts_keep_what_can_be_read(on: Runtime) {
    let server = on.server_with_workers(1).await;
    let client = server.client();
    let steps = [
        "echo r >report.xml; mkdir fixtures; echo a >\"fixtures/$(printf '\\377')\"; echo b >\"fixtures/$(printf '\\376')\"",
        "ln -s . a; ln -s . b; mkdir d; ln -s .. d/up",
        "for p in a b c d e f; do mkdir -p packages/$p/node_modules; for q in a b c d e f; do \
         [ $p = $q ] || ln -s ../../$q packages/$p/node_modules/$q; done; done",
    ];
    let wanted = ["**/*.xml", "fixtures/", "**/junit.xml"];
    let body = json!({"type": "shell", "steps": steps, "artefacts": wanted, "max_attempts": 1});
    let task = client.add_task(&body).await;
    ended(&client, &task.id).await;
    let files = client.artefacts(&task.id).await;
    let told: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.problem)).collect();
    let expected = [
        ("fixtures/%FE", None),
        ("fixtures/%FF", None),
        ("report.xml", None),
        ("**/junit.xml", Some(ArtefactProblem::Missing)),
    ];
    assert_eq!(told, expected);
    assert_eq!(read(&client, &files[0]).await, b"b\n");
    assert_eq!(read(&client, &files[1]).await, b"a\n");
    assert_eq!(read(&client, &files[2]).await, b"r\n");
}
