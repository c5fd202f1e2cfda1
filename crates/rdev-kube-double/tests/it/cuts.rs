//! Lost connections.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rdev_kube_double::{Cluster, Cut, How, NewPod};
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::Message;

use crate::raw::{V5, bytes_of, open, path, run};
use crate::{appears, soon};

/// Time that proves silence: no event reports it.
const SILENCE: Duration = Duration::from_millis(200);

async fn cluster() -> Cluster {
    let cluster = Cluster::start().await.unwrap();
    cluster.add_pod(NewPod::new("default", "demo")).unwrap();
    cluster
}

async fn count(cluster: &Cluster) -> usize {
    let mut bytes = Vec::new();
    // The end arrives without the end of TLS, which is an error after the bytes.
    soon(bytes_of(cluster, &["sh", "-c", "printf 0123456789; exec cat"]).await.read_to_end(&mut bytes))
        .await
        .ok();
    bytes.len()
}

#[tokio::test]
async fn exactly_so_many_bytes_arrive() {
    let cluster = cluster().await;
    // The empty first message, and ten bytes with their header.
    let whole: u64 = 3 + 13;
    cluster.cut_next((0..=whole).map(Cut::close));
    for wanted in 0..=whole {
        assert_eq!(count(&cluster).await as u64, wanted);
    }
}

#[tokio::test]
async fn cuts_meet_one_connection_after_the_other() {
    let cluster = cluster().await;
    cluster.cut_every(Some(Cut::close(2)));
    cluster.cut_next([Some(Cut::close(5)), None]);
    assert_eq!(count(&cluster).await, 5);
    assert_eq!(run(&cluster, V5, &["echo", "whole"]).await.exit_code(), Some("0"));
    assert_eq!(count(&cluster).await, 2);
    cluster.cut_every(None);
    assert_eq!(run(&cluster, V5, &["echo", "whole"]).await.exit_code(), Some("0"));
}

#[tokio::test]
async fn a_lost_connection_has_no_close_frame_and_the_process_goes_on() {
    let cluster = cluster().await;
    let mut exec = open(&cluster, &path(&["sh", "-c", "echo on; read line; touch ended"]), V5).await.unwrap();
    assert_eq!(exec.next().await.unwrap(), (1, b"on\n".to_vec()));
    cluster.cut_execs_now(How::Close);
    let got = exec.rest().await;
    assert!(!got.closed && got.status.is_none());
    let file = cluster.pod("default", "demo").workspace().unwrap().join("ended");
    appears(&file).await;
}

#[tokio::test]
async fn a_half_open_connection_is_silent() {
    let cluster = cluster().await;
    cluster.cut_next([Cut::half_open(3 + 3 + 3)]);
    let mut exec =
        open(&cluster, &path(&["sh", "-c", "echo on; until [ -e go ]; do sleep 0.01; done; echo more"]), V5)
            .await
            .unwrap();
    assert_eq!(exec.next().await.unwrap(), (1, b"on\n".to_vec()));
    std::fs::write(cluster.pod("default", "demo").workspace().unwrap().join("go"), "").unwrap();
    soon(exec.socket.send(Message::Ping("there?".into()))).await.unwrap();
    assert!(tokio::time::timeout(SILENCE, exec.socket.next()).await.is_err());
}

#[tokio::test]
async fn pings_are_answered_otherwise() {
    let cluster = cluster().await;
    let mut exec = open(&cluster, &path(&["cat"]), V5).await.unwrap();
    soon(exec.socket.send(Message::Ping("there?".into()))).await.unwrap();
    while !soon(exec.socket.next()).await.unwrap().unwrap().is_pong() {}
}

#[tokio::test]
async fn the_idle_limit_cuts_silence_only() {
    let cluster = cluster().await;
    cluster.set_idle_limit(Some(Duration::from_millis(500)));
    let silent = open(&cluster, &path(&["sleep", "100"]), V5).await.unwrap();
    let script = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.1; done";
    let busy = open(&cluster, &path(&["sh", "-c", script]), V5).await.unwrap();
    let (silent, busy) = tokio::join!(silent.rest(), busy.rest());
    assert!(!silent.closed && silent.status.is_none());
    assert_eq!(busy.exit_code(), Some("0"));
}

#[tokio::test]
async fn a_restart_of_the_server_loses_connections_but_no_processes() {
    let cluster = cluster().await;
    let exec = open(&cluster, &path(&["sh", "-c", "echo on; sleep 0.2; touch ended"]), V5).await.unwrap();
    cluster.stop().await;
    let got = exec.rest().await;
    assert!(!got.closed && got.status.is_none());
    assert!(tokio::net::TcpStream::connect(cluster.address()).await.is_err());
    cluster.start_again(true).await.unwrap();
    let script = "until [ -e ended ]; do sleep 0.01; done";
    assert_eq!(run(&cluster, V5, &["sh", "-c", script]).await.exit_code(), Some("0"));
}
