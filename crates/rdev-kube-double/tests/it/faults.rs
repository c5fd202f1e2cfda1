//! Answers in place of the requested ones.

use std::time::{Duration, Instant};

use kube::Error;
use kube::api::{AttachParams, ListParams};
use rdev_kube_double::{Cluster, NewPod, Refusal, Times};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{pods, raw, soon};

#[tokio::test]
async fn requests_are_refused_as_often_as_wanted() {
    let cluster = Cluster::start().await.unwrap();
    cluster.add_pod(NewPod::new("default", "demo")).unwrap();
    let pods = pods(&cluster, "default").await;
    for (refusal, code) in [
        (Refusal::Unauthorized, 401),
        (Refusal::Forbidden, 403),
        (Refusal::NotFound, 404),
        (Refusal::Conflict, 409),
        (Refusal::Expired, 410),
        (Refusal::InternalError, 500),
    ] {
        cluster.refuse("list", "pods", Times::Next(1), refusal);
        let Err(Error::Api(status)) = pods.list(&ListParams::default()).await else { panic!("no error") };
        assert_eq!(status.code, code);
        assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 1);
    }
    cluster.refuse("*", "pods/exec", Times::All, Refusal::Forbidden);
    assert!(soon(pods.exec("demo", ["true"], &AttachParams::default())).await.is_err());
    assert!(soon(pods.exec("demo", ["true"], &AttachParams::default())).await.is_err());
    cluster.refuse_nothing();
    assert!(soon(pods.exec("demo", ["true"], &AttachParams::default())).await.is_ok());
}

#[tokio::test]
async fn a_busy_server_says_when_to_come_again() {
    let cluster = Cluster::start().await.unwrap();
    cluster.refuse("get", "/version", Times::Next(1), Refusal::TooManyRequests(7));
    let mut stream = raw::tls(&cluster).await;
    let request =
        format!("GET /version HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", cluster.address());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // The server ends without the end of TLS.
    soon(stream.read_to_string(&mut answer)).await.ok();
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after: 7\r\n"), "{answer}");
}

#[tokio::test]
async fn latency_delays_every_answer() {
    let cluster = Cluster::start().await.unwrap();
    let pods = pods(&cluster, "default").await;
    cluster.set_latency(Duration::from_millis(50));
    let started = Instant::now();
    pods.list(&ListParams::default()).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(50));
}
