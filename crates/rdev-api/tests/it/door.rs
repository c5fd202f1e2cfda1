//! The door: connections that are silent, half-closed, or send what is no request.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::raw::{answer, heard, say};
use crate::support::{Client, Fixture, Server, eventually, free_address, within};

fn request(client: &Client, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: rdev\r\nX-API-Key: {}\r\n\r\n", client.key.as_deref().unwrap())
}

#[tokio::test]
async fn a_client_that_closes_its_side_is_answered() {
    let server = Server::start().await;
    let client = server.client();
    let address = client.address;
    let projects = answer(&say(address, request(&client, "/projects").as_bytes()).await);
    assert_eq!(projects.status, 200);
    assert!(projects.text().contains("\"demo\""));
    let body = r#"{"command":"echo heard > heard; echo said"}"#;
    let post = format!(
        "POST /projects/demo/shell HTTP/1.1\r\nHost: rdev\r\nX-API-Key: {}\r\nAccept: text/event-stream\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        client.key.as_deref().unwrap(),
        body.len()
    );
    let events = say(address, post.as_bytes()).await;
    assert!(events.contains("\"line\":\"said\"") && events.contains("event: complete"), "{events}");
    assert!(events.ends_with("\r\n0\r\n\r\n"), "the answer's own end: {events}");
    assert_eq!(server.file_written("heard").await, "heard\n");
}

#[tokio::test]
async fn a_subscriber_that_is_gone_is_noticed_also_when_it_went_quietly() {
    let server = Fixture::new().with("RDEV_HEARTBEAT_SECONDS", "1").start().await;
    let client = server.client();
    let accepted = client.shell("sleep 300").await;
    let mut stream = TcpStream::connect(client.address).await.unwrap();
    let path = format!("/projects/demo/events?stream_id={}", accepted.stream_id);
    stream.write_all(request(&client, &path).as_bytes()).await.unwrap();
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains("event: status") {
        assert_ne!(within("events", stream.read_buf(&mut text)).await.unwrap(), 0);
    }
    drop(stream);
    eventually("the stream's end", async || {
        let metrics = client.get("/metrics").send().await.text();
        metrics.contains("\nrdev_streams_open 0\n").then_some(())
    })
    .await;
    client.cancel(&accepted.id).await;
}

#[tokio::test]
async fn bytes_that_are_no_request_are_answered_in_the_envelope() {
    let server = Server::start().await;
    let client = server.client();
    let long = "x".repeat(70_000);
    let many: String = (0..200).map(|n| format!("X-{n}: {n}\r\n")).collect();
    for (bytes, status, code) in [
        (
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_owned(),
            400,
            "INVALID_REQUEST",
        ),
        ("nonsense\r\n\r\n".to_owned(), 400, "INVALID_REQUEST"),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), 400, "INVALID_REQUEST"),
        ("GET /a b HTTP/1.1\r\n\r\n".to_owned(), 400, "INVALID_REQUEST"),
        ("GET / HTTP/1.1\r\nHost: half".to_owned(), 400, "INVALID_REQUEST"),
        (format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n"), 431, "HEAD_TOO_LARGE"),
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), 431, "HEAD_TOO_LARGE"),
        (format!("GET /{} HTTP/1.1\r\n\r\n", long), 414, "URI_TOO_LONG"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 505, "HTTP_VERSION_NOT_SUPPORTED"),
    ] {
        let text = say(client.address, bytes.as_bytes()).await;
        let shown = &bytes[..bytes.len().min(60)];
        assert_eq!(text.matches("\r\nx-request-id: ").count(), 1, "{shown}: {text}");
        let failure = answer(&text).failure(status, code);
        assert_eq!(failure.meta.request_id.len(), 32, "{shown}: {text}");
        assert_eq!(answer(&text).header("connection"), "close");
    }
    // After an answer on the same connection, and nothing of it is lost.
    let two = format!("{}nonsense\r\n\r\n", request(&client, "/projects"));
    let text = say(client.address, two.as_bytes()).await;
    let second = text.rfind("HTTP/1.1 400").unwrap_or_else(|| panic!("{text}"));
    assert_eq!(answer(&text[..second]).status, 200);
    answer(&text[second..]).failure(400, "INVALID_REQUEST");
    // Whoever says nothing is told nothing.
    assert_eq!(say(client.address, b"").await, "");
}

#[tokio::test]
async fn a_file_that_looks_like_an_answer_is_sent_as_it_is() {
    let server = Server::start().await;
    let client = server.client();
    let looks = "HTTP/1.1 400 Bad Request\\r\\ncontent-length: 0\\r\\nconnection: close\\r\\n\\r\\n";
    let accepted = client.shell(&format!("for i in 1 2 3; do printf '{looks}'; sleep 0.1; done")).await;
    client.ended(&accepted.id).await;
    let plain = looks.replace("\\r\\n", "\r\n").repeat(3);
    assert_eq!(client.output(&accepted.id).await, plain);
}

#[tokio::test]
async fn a_refusal_of_a_large_body_arrives_whole() {
    let server = Server::start().await;
    let client = server.client().with_key(None);
    let post = "POST /projects/demo/shell HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n";
    let body = [post.as_bytes(), &vec![b' '; 4_000_000]].concat();
    for _ in 0..5 {
        answer(&say(client.address, &body).await).failure(401, "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    // Room for 300 connections: what the files of a process allow is what there is.
    let server = Fixture::new().started_by("ulimit -n 400; exec \"$0\"").start().await;
    let client = server.client();
    let mut stream = client.shell("sleep 300").await;
    let mut events = client.follow(&stream.stream_id, None).await;
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(TcpStream::connect(client.address).await.unwrap());
    }
    assert_eq!(client.with_key(None).get("/health").send().await.status, 200);
    stream = client.shell("echo in").await;
    client.ended(&stream.id).await;
    // The oldest have made room; a reader in the middle of its stream has not.
    let mut first = silent.remove(0);
    assert_eq!(within("its end", first.read(&mut [0; 8])).await.unwrap_or(0), 0);
    events.event().await;
    let mut newest = silent.pop().unwrap();
    newest.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    assert_eq!(answer(&heard(newest).await.unwrap()).status, 200);
}

#[tokio::test]
async fn silent_sockets_keep_no_probe_waiting() {
    // Of 300 places.
    probed_beside(600, Fixture::new().started_by("ulimit -n 400; exec \"$0\"")).await;
}

#[tokio::test]
#[ignore = "full size: scripts/silent.sh"]
async fn silent_sockets_keep_no_probe_waiting_at_full_size() {
    let files = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files }).unwrap();
    let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap());
    let sockets = 22_000.min(files.saturating_sub(500));
    assert!(sockets > 18_000, "ulimit -Hn is {files}: 20000 is the least for this");
    probed_beside(sockets, Fixture::new()).await;
    println!("answered beside {sockets} silent sockets");
}

/// Opens silent sockets until there is no place for another one, from many addresses, of which none has too many;
/// then asks how the server is, by both of its listeners.
async fn probed_beside(sockets: usize, fixture: Fixture) {
    let probes = free_address();
    let server = fixture.with("RDEV_PROBE_BIND", probes.to_string()).start().await;
    let public = server.client().with_key(None);
    let probes = Client::new(probes, None);
    let mut silent = Vec::new();
    for n in 0..sockets {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 1, u8::try_from(n / 200).unwrap(), 1], 0).into()).unwrap();
        let connected = within("a place in line", socket.connect(public.address)).await;
        silent.push(connected.unwrap());
    }
    for client in [&probes, &public] {
        for path in ["/health", "/ready"] {
            assert_eq!(client.get(path).send().await.status, 200, "{path}");
        }
    }
    let figures = probes.get("/metrics").send().await.text();
    let made_room = figures.lines().find_map(|line| {
        line.strip_prefix("rdev_connections_closed_total{reason=\"made_room\"} ")?.parse::<usize>().ok()
    });
    assert!(made_room.unwrap() > 0, "there was a place for everybody: {figures}");
    drop(silent);
}
