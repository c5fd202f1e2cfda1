//! Disturbances of pods and connections by a cluster, and the outcomes of the commands in them. The cluster is a double,
//! so that each fault comes when a story wants it; faults that only a real cluster shows are in `cluster`.

use std::time::Duration;

use rdev_client::types::{Command, Event, Project, ProjectStatus, Reason, Status};
use rdev_kube_double::{Cut, How, PodHandle, Refusal, Times};

use crate::many_lines::Numbered;
use crate::support::{Item, Runtime, Server, eventually};

async fn server() -> Server {
    Runtime::Double.server().await
}

/// Runs a command until something happens to it, and returns how it ended.
async fn end_after(server: &Server, act: impl FnOnce(&PodHandle)) -> Command {
    let client = server.client();
    let accepted = client.shell("echo ran >> ran; echo up; sleep 300").await;
    let mut events = client.follow(&accepted.stream_id, None).await;
    while !matches!(events.event().await.event, Event::Output(line) if line.line == "up") {}
    act(&server.double().pod());
    let ended = client.ended(&accepted.id).await;
    // What it had said is kept, and it was not started again.
    assert_eq!(client.output(&accepted.id).await, "up\n");
    assert_eq!(server.file("ran").await.as_deref(), Some("ran\n"));
    ended
}

fn told(command: &Command) -> (Status, Option<Reason>, Option<i32>) {
    (command.accepted.status, command.progress.reason, command.progress.exit_code)
}

#[tokio::test]
async fn a_command_goes_with_its_pod_and_the_next_pod_works() {
    let server = server().await;
    let ended = end_after(&server, |pod| pod.replace().unwrap()).await;
    assert_eq!(told(&ended), (Status::Failed, Some(Reason::PodLost), None));
    let message = ended.progress.message.unwrap();
    assert!(message.contains("deleted"), "{message}");
    server.knows("demo").await;
    assert_eq!(server.client().run("echo well").await.0, ["well"]);
}

#[tokio::test]
async fn an_evicted_pod_says_so() {
    let server = server().await;
    let ended = end_after(&server, |pod| pod.evict("the node was low on memory").unwrap()).await;
    assert_eq!(told(&ended), (Status::Failed, Some(Reason::PodEvicted), None));
    assert!(ended.progress.message.unwrap().contains("low on memory"));
}

#[tokio::test]
async fn a_container_without_memory_says_so() {
    let server = server().await;
    let ended = end_after(&server, |pod| pod.oom_kill("claudebox").unwrap()).await;
    assert_eq!(told(&ended), (Status::Failed, Some(Reason::OomKilled), None));
}

#[tokio::test]
async fn a_restarted_container_says_so_with_and_without_its_folder_of_runs() {
    for keep_run in [true, false] {
        let server = server().await;
        let ended =
            end_after(&server, |pod| pod.restart_container("claudebox", keep_run, "Error", 1).unwrap()).await;
        assert_eq!(
            told(&ended),
            (Status::Failed, Some(Reason::PodRestarted), None),
            "folder of runs kept: {keep_run}"
        );
        assert_eq!(server.client().run("echo well").await.0, ["well"]);
    }
}

#[tokio::test]
async fn a_pod_that_comes_back_is_attached_to_again() {
    let server = server().await;
    let client = server.client();
    let accepted =
        client.shell("echo ran >> ran; echo up; until [ -e go ]; do sleep 0.02; done; echo down").await;
    let mut events = client.follow(&accepted.stream_id, None).await;
    while !matches!(events.event().await.event, Event::Output(line) if line.line == "up") {}
    let double = server.double();
    double.pod().node_lost().unwrap();
    double.cluster().cut_execs_now(How::Close);
    server.touch("go").await;
    // It has ended while nobody could see it; now it is seen.
    double.pod().node_back().unwrap();
    let ended = client.ended(&accepted.id).await;
    assert_eq!(told(&ended), (Status::Completed, None, Some(0)));
    assert_eq!(client.output(&accepted.id).await, "up\ndown\n");
    assert_eq!(server.file("ran").await.as_deref(), Some("ran\n"));
}

#[tokio::test]
async fn a_running_command_outlives_a_restart_of_the_api_server() {
    let server = server().await;
    let client = server.client();
    let accepted = client.shell("echo up; until [ -e go ]; do sleep 0.02; done; echo down").await;
    let mut events = client.follow(&accepted.stream_id, None).await;
    while !matches!(events.event().await.event, Event::Output(line) if line.line == "up") {}
    let cluster = server.double().cluster();
    cluster.stop().await;
    // Projects and history are answered from memory and store; what is accepted now runs later.
    let late = client.shell("echo late").await;
    server.touch("go").await;
    cluster.start_again(true).await.unwrap();
    assert_eq!(told(&client.ended(&accepted.id).await), (Status::Completed, None, Some(0)));
    assert_eq!(client.output(&accepted.id).await, "up\ndown\n");
    assert_eq!(told(&client.ended(&late.id).await), (Status::Completed, None, Some(0)));
}

#[tokio::test]
async fn a_server_that_was_away_tells_what_became_of_the_pod() {
    let mut server = server().await;
    let accepted = server.client().shell("echo up; sleep 300").await;
    let mut events = server.client().follow(&accepted.stream_id, None).await;
    while !matches!(events.event().await.event, Event::Output(line) if line.line == "up") {}
    server.kill9().await;
    server.double().pod().replace().unwrap();
    server.restart().await;
    server.knows("demo").await;
    assert_eq!(
        told(&server.client().ended(&accepted.id).await),
        (Status::Failed, Some(Reason::PodLost), None)
    );
}

#[tokio::test]
async fn a_command_waits_for_its_pod_and_holds_up_nobody() {
    let server = Runtime::Double.fixture().with("RDEV_WORKER_CONCURRENCY", "1").start().await;
    let client = server.client();
    server.add_project("other").await;
    server.double().pod().set_waiting("ImagePullBackOff", "no such image: nowhere/claudebox:9").unwrap();
    project_is(&server, ProjectStatus::Failing, Some("ImagePullBackOff")).await;
    let waits = client.shell("echo at last").await;

    // With one worker for both: the other project goes on.
    let other = client.shell_in("other", "echo beside").await;
    assert_eq!(client.ended_in("other", &other.id).await.accepted.status, Status::Completed);
    assert_eq!(client.command(&waits.id).await.accepted.status, Status::Pending);

    server.double().pod().run().unwrap();
    server.double().pod().set_ready(true).unwrap();
    assert_eq!(told(&client.ended(&waits.id).await), (Status::Completed, None, Some(0)));
}

async fn project_is(server: &Server, status: ProjectStatus, reason: Option<&str>) -> Project {
    let client = server.client();
    let looked = async || {
        let project = client.project("demo").await.expect("it is known");
        (project.status == status && project.reason.as_deref() == reason).then_some(project)
    };
    eventually(status.as_str(), looked).await
}

#[tokio::test]
async fn a_command_does_not_wait_for_ever() {
    let server = Runtime::Double.fixture().with("RDEV_POD_WAIT_SECONDS", "1").start().await;
    let pod = server.double().pod();
    pod.set_waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container").unwrap();
    let project = project_is(&server, ProjectStatus::Failing, Some("CrashLoopBackOff")).await;
    assert!(project.message.unwrap().contains("back-off"));
    let accepted = server.client().shell("echo never").await;
    let ended = server.client().ended(&accepted.id).await;
    assert_eq!(told(&ended), (Status::Failed, Some(Reason::PodNotReady), None));
    assert!(ended.progress.message.unwrap().contains("CrashLoopBackOff"));
    assert_eq!(ended.progress.started_at, None);

    pod.delete(Duration::ZERO).unwrap();
    project_is(&server, ProjectStatus::Gone, Some("Gone")).await;
    let accepted = server.client().shell("echo never").await;
    assert_eq!(
        told(&server.client().ended(&accepted.id).await),
        (Status::Failed, Some(Reason::PodLost), None)
    );
}

#[tokio::test]
async fn a_waiting_command_can_be_cancelled() {
    let server = server().await;
    server.double().pod().set_waiting("ImagePullBackOff", "no such image").unwrap();
    project_is(&server, ProjectStatus::Failing, Some("ImagePullBackOff")).await;
    let accepted = server.client().shell("echo never").await;
    server.client().cancel(&accepted.id).await;
    assert_eq!(
        told(&server.client().ended(&accepted.id).await),
        (Status::Cancelled, Some(Reason::Cancelled), None)
    );
}

#[tokio::test]
async fn a_refusal_of_the_cluster_that_passes_is_waited_out() {
    let server = server().await;
    for refusal in [Refusal::Forbidden, Refusal::Unauthorized, Refusal::TooManyRequests(1)] {
        // Three commands wait for the first look at a container that was started just now.
        server.double().pod().restart_container("claudebox", false, "Error", 1).unwrap();
        server.double().cluster().refuse("get", "pods/exec", Times::Next(2), refusal);
        let mut waiting = Vec::new();
        for _ in 0..3 {
            waiting.push(server.client().shell("echo well").await);
        }
        for accepted in waiting {
            let ended = server.client().ended(&accepted.id).await;
            assert_eq!(
                told(&ended),
                (Status::Completed, None, Some(0)),
                "{refusal:?}: {:?}",
                ended.progress.message
            );
        }
    }
}

#[tokio::test]
async fn a_refusal_of_the_cluster_after_a_command_has_its_place_is_told_and_waited_out() {
    let server = server().await;
    let client = server.client();
    // Whoever is refused first has the place looked at again: that is to be the command, so the search for old runs is over.
    let searched = async || (server.double().cluster().execs("--older-than") > 0).then_some(());
    eventually("the search for old runs", searched).await;
    for (refusal, words) in [(Refusal::Forbidden, "pods/exec"), (Refusal::Unauthorized, "token")] {
        client.run("true").await;
        server.double().cluster().refuse("get", "pods/exec", Times::All, refusal);
        let accepted = client.shell("echo well").await;
        let stalled = eventually("the reason", async || {
            Some(client.command(&accepted.id).await).filter(|command| command.progress.reason.is_some())
        });
        let stalled = stalled.await;
        assert_eq!(told(&stalled), (Status::Running, Some(Reason::ExecForbidden), None));
        assert!(stalled.progress.message.unwrap().contains(words));
        server.double().cluster().refuse_nothing();
        assert_eq!(told(&client.ended(&accepted.id).await), (Status::Completed, None, Some(0)));
    }
}

#[tokio::test]
async fn a_refusal_of_the_cluster_that_lasts_is_the_reason_of_the_end() {
    let server = Runtime::Double.fixture().with("RDEV_POD_WAIT_SECONDS", "1").start().await;
    for (refusal, words) in [(Refusal::Forbidden, "pods/exec"), (Refusal::Unauthorized, "token")] {
        server.double().pod().restart_container("claudebox", false, "Error", 1).unwrap();
        server.double().cluster().refuse("get", "pods/exec", Times::All, refusal);
        let accepted = server.client().shell("echo never").await;
        let ended = server.client().ended(&accepted.id).await;
        assert_eq!(told(&ended), (Status::Failed, Some(Reason::ExecForbidden), None));
        assert!(ended.progress.message.unwrap().contains(words));
        server.double().cluster().refuse_nothing();
    }
}

#[tokio::test]
async fn an_image_without_a_shell_says_so() {
    let nothing = tempfile::tempdir().unwrap();
    let path = nothing.path().display().to_string();
    let server = Runtime::Double.fixture().for_commands("PATH", path).start().await;
    let accepted = server.client().shell("echo never").await;
    assert_eq!(
        told(&server.client().ended(&accepted.id).await),
        (Status::Failed, Some(Reason::NoShell), None)
    );
}

/// Longest time that two connections cost which fall silent one after the other, twice.
const SILENCES: Duration = Duration::from_secs(120);

#[tokio::test]
async fn no_line_is_lost_however_the_connection_and_the_server_fail() {
    const LINES: u64 = 100_000;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut server = server().await;
    // Connections are lost one after the other, each at a byte of its own; two of them fall silent. The one
    // after such a one brings lines: a reader is not to sit through both silences in one.
    let mut cuts: Vec<Cut> = (0..18).map(|_| Cut::close(random.u64(0..40_000))).collect();
    for at in [random.usize(10..18), random.usize(0..9)] {
        let silent = Cut::half_open(random.u64(0..40_000));
        cuts.splice(at..at, [silent, Cut::close(random.u64(20_000..40_000))]);
    }
    server.client().run("true").await;
    server.double().cluster().cut_next(cuts);
    let command = format!(
        "echo started >> side-effect; from=1
        while [ $from -le {LINES} ]; do seq $from $((from + 499)); from=$((from + 500)); sleep 0.02; done; exit 3"
    );
    let accepted = server.client().shell(&command).await;

    let mut reader = Numbered::default();
    for kill_at in [random.u64(1_000..40_000), random.u64(40_000..90_000)] {
        let events = reader.open(&server.client(), &accepted.stream_id).await;
        let mut events = events.patient_for(SILENCES);
        while reader.last < kill_at {
            match events.next().await {
                Some(Item::Event(event)) => reader.take(&event),
                Some(Item::Retry(_)) => {}
                None => panic!("seed {seed}: the stream ended after {}", reader.last),
            }
        }
        server.kill9().await;
        server.restart().await;
        server.knows("demo").await;
    }
    let events = reader.open(&server.client(), &accepted.stream_id).await;
    reader.read_to_the_end(&mut events.patient_for(SILENCES)).await;
    assert_eq!(reader.last, LINES, "seed {seed}");
    let complete = reader.complete.expect("it has read to the end");
    assert_eq!((complete.status, complete.exit_code), (Status::Failed, Some(3)), "seed {seed}");
    assert_eq!(server.file("side-effect").await.as_deref(), Some("started\n"));
}

#[tokio::test]
async fn the_doctor_looks_at_everything_and_names_what_is_wrong() {
    let server = server().await;
    let examine = async || {
        let output = server.fixture().program().arg("doctor").output().await.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = examine().await;
    assert_eq!(code, Some(0), "{text}");
    for what in [
        "database:",
        "master key:",
        "API server:",
        "clock of the API server:",
        "may get pods:",
        "may create pods/exec:",
        "projects: 1 pods",
        "exec: works",
        "runner:",
        "clock of pod demo:",
        "network policy:",
        "silent exec: lived",
    ] {
        assert!(text.contains(what), "{what} is not in\n{text}");
    }
    server.double().cluster().refuse("get", "pods/exec", Times::All, Refusal::Forbidden);
    let (code, text) = examine().await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("FAIL  exec:") && text.contains("fix: "), "{text}");
    server.double().cluster().stop().await;
    let (code, text) = examine().await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("FAIL  API server:"), "{text}");
}
