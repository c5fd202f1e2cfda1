//! Programs over the exec protocol: complete and cut.

use std::time::Duration;

use futures_util::StreamExt;
use rdev_kube_double::{Cluster, Config, Cut, How};
use rdev_ports::{Exec, ExecError, Pods, Stdin};

use crate::support::{demo, demo_on, project, ready_pod, run, within};

#[tokio::test]
async fn output_comes_byte_for_byte_over_both_protocols() {
    for config in [Config::kubernetes_1_20(), Config::kubernetes_1_35()] {
        let (_cluster, _pod, kube) =
            demo_on(Cluster::start_with(config).await.unwrap(), project("demo")).await;
        let run_pod = ready_pod(&kube).await;
        let (bytes, end) = run(&kube, &run_pod, &["seq", "1", "100000"], Stdin::None).await;
        assert_eq!(end, Ok(()));
        let expected: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
        assert!(bytes == expected.as_bytes(), "{} bytes", bytes.len());
        // Standard error beside it neither mixes in nor blocks.
        let script = "seq 1 20000 >&2; echo out";
        assert_eq!(&run(&kube, &run_pod, &["sh", "-c", script], Stdin::None).await.0[..], b"out\n");
        let input = vec![b'x'; 2 * 1024 * 1024];
        let count = ["sh", "-c", "head -c 2097152 | sha256sum | cut -c1-8; echo done"];
        let (answer, end) = run(&kube, &run_pod, &count, Stdin::WaitedFor(input.into())).await;
        assert_eq!((end, &answer[9..]), (Ok(()), &b"done\n"[..]));
    }
}

#[tokio::test]
async fn an_unsuccessful_end_is_reported() {
    let (_cluster, _pod, kube) = demo().await;
    let run_pod = ready_pod(&kube).await;
    for (argv, words) in [
        (&["sh", "-c", "echo why >&2; exit 3"][..], "program ended with code 3: why"),
        (&["sh", "-c", "kill -9 $$"], "137"),
        (&["no-such-program"], "not found"),
    ] {
        let (_, end) = run(&kube, &run_pod, argv, Stdin::None).await;
        assert!(end.clone().unwrap_err().contains(words), "{argv:?}: {end:?}");
    }
}

/// What could not be sent has certainly not begun.
#[tokio::test]
async fn an_api_server_that_is_away_is_not_reached() {
    let (cluster, _pod, kube) = demo().await;
    let run_pod = ready_pod(&kube).await;
    cluster.stop().await;
    let program = Exec { argv: vec!["true".to_owned()], stdin: Stdin::None };
    let error = kube.exec(&run_pod, program).await.err().expect("nothing answers");
    assert!(matches!(error, ExecError::Unreached(_)), "{error:?}");
}

/// An end without a status must never look like success, wherever the connection is lost.
#[tokio::test]
async fn a_cut_is_an_error_at_every_point() {
    let (cluster, _pod, kube) = demo().await;
    let run_pod = ready_pod(&kube).await;
    for after in [0, 1, 2, 3, 100, 1000, 65_536, 500_000] {
        cluster.cut_next([Cut::close(after)]);
        let script = "seq 1 100000; sleep 60";
        let (bytes, end) = run(&kube, &run_pod, &["sh", "-c", script], Stdin::None).await;
        assert!(end.is_err(), "cut after {after}: {} bytes and {end:?}", bytes.len());
        let expected: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
        assert!(expected.as_bytes().starts_with(&bytes), "cut after {after}");
    }
    assert_eq!(run(&kube, &run_pod, &["echo", "well"], Stdin::None).await, ("well\n".into(), Ok(())));
}

#[tokio::test]
async fn a_half_open_connection_is_noticed() {
    let (cluster, _pod, kube) = demo().await;
    let run_pod = ready_pod(&kube).await;
    cluster.cut_next([Cut::half_open(300)]);
    let (bytes, end) = run(&kube, &run_pod, &["sh", "-c", "seq 1 1000; sleep 300"], Stdin::None).await;
    assert!(bytes.len() < 1000, "{}", bytes.len());
    assert!(end.unwrap_err().contains("no message arrived"), "a ping was sent, and had no answer");
}

#[tokio::test]
async fn a_slow_reader_slows_the_program_and_loses_nothing() {
    let (_cluster, pod, kube) = demo().await;
    let run_pod = ready_pod(&kube).await;
    let argv = ["sh", "-c", "seq 1 3000000; touch wrote-all"].map(str::to_owned).to_vec();
    let mut output = kube.exec(&run_pod, Exec { argv, stdin: Stdin::None }).await.unwrap();
    let first = within("the first bytes", output.next()).await.unwrap().unwrap();
    let wrote_all = pod.workspace().unwrap().join("wrote-all");
    // Without a reader the buffers fill up, and the program blocks.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!wrote_all.exists(), "20 MiB went somewhere");
    let mut bytes = first.len();
    while let Some(piece) = within("output", output.next()).await {
        bytes += piece.unwrap().len();
    }
    let all: usize = (1..=3_000_000_u32).map(|n| n.to_string().len() + 1).sum();
    assert_eq!(bytes, all);
    assert!(wrote_all.exists());
}

#[tokio::test]
async fn a_connection_that_is_cut_from_outside_ends_the_reading() {
    let (cluster, _pod, kube) = demo().await;
    let run_pod = ready_pod(&kube).await;
    let argv = ["sh", "-c", "echo up; sleep 300"].map(str::to_owned).to_vec();
    let mut output = kube.exec(&run_pod, Exec { argv, stdin: Stdin::None }).await.unwrap();
    assert_eq!(within("output", output.next()).await.unwrap().unwrap(), "up\n");
    cluster.cut_execs_now(How::Close);
    assert!(within("the end", output.next()).await.unwrap().is_err());
    assert!(within("the end", output.next()).await.is_none());
}
