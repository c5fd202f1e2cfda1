//! A server in a pod: its cluster is the one around it, found by the files of its service account.

use rdev_client::types::{Event, Status};
use rdev_kube_double::How;

use crate::clocks::with_clock;
use crate::support::{IN_A_POD, Runtime};

#[tokio::test]
async fn a_server_in_a_pod_finds_its_cluster_and_takes_its_new_token() {
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "+0\n").unwrap();
    let server = with_clock(Runtime::Double.fixture(), &clock).started_by(IN_A_POD).start().await;
    let (client, double) = (server.client(), server.double());
    assert_eq!(client.run("echo well").await.0, ["well"]);
    let accepted = client.shell("echo up; until [ -e go ]; do sleep 0.02; done; echo down").await;
    let mut events = client.follow(&accepted.stream_id, None).await;
    while !matches!(events.event().await.event, Event::Output(line) if line.line == "up") {}

    // The kubelet writes another token long before the one from before ends. The file is read once a minute.
    let before = double.account().rotate().unwrap();
    std::fs::write(&clock, "+2m\n").unwrap();
    assert!(double.cluster().revoke(&before));
    double.cluster().forget_requests();
    double.cluster().cut_watches_now(How::Close);
    double.cluster().cut_execs_now(How::Close);
    server.touch("go").await;
    assert_eq!(client.ended(&accepted.id).await.accepted.status, Status::Completed);
    assert_eq!(client.output(&accepted.id).await, "up\ndown\n");
    assert_eq!(client.run("echo well").await.0, ["well"]);
    double.cluster().request(|request| request.is("watch", "pods")).await.unwrap();
    let requests = double.cluster().requests();
    assert!(requests.iter().all(|request| request.user.is_some()), "{requests:?}");
}
