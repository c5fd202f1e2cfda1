//! The API at a Unix socket, behind a proxy on the same machine.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, UnixStream};
use tokio::process::Child;

use crate::support::{Client, Fixture, eventually, within};

const KEY: &str = "rdev_ops_0123456789abcdef0123456789";

fn listening_at(path: &Path) -> Fixture {
    Fixture::new().with("RDEV_BIND", format!("unix:{}", path.display())).with("RDEV_ADMIN_KEY", KEY)
}

/// Starts a server at the socket; returns it with the first line of its greeting, once it listens.
async fn start(fixture: &Fixture, log: &Path) -> (Child, String) {
    let mut program = fixture.program();
    let mut server = program.stdout(Stdio::piped()).stderr(File::create(log).unwrap()).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let first = within("the first line", lines.next_line()).await.unwrap();
    // The pipe must stay open.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (server, first.unwrap_or_else(|| panic!("{}", fs::read_to_string(log).unwrap())))
}

/// Starts a proxy in front of the socket.
async fn proxy(path: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let path = path.clone();
            tokio::spawn(async move {
                let mut server = UnixStream::connect(path).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    address
}

async fn end(server: &mut Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(server.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
    within("the end of the server", server.wait()).await.unwrap();
}

#[tokio::test]
async fn a_proxy_reaches_the_server_by_its_socket_and_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (path, log) = (folder.path().join("rdev.sock"), folder.path().join("log"));
    let fixture = listening_at(&path);
    let (mut server, greeting) = start(&fixture, &log).await;
    assert!(greeting.starts_with(&format!("rdev listens on unix:{} ", path.display())), "{greeting}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let client = Client::new(proxy(path.clone()).await, Some(KEY));
    let (lines, _) = client.run("echo here").await;
    assert_eq!(lines, ["here"]);
    client.get("/projects").header("x-forwarded-for", "203.0.113.7").send().await;
    let is_logged = async || fs::read_to_string(&log).unwrap().contains("client=203.0.113.7").then_some(());
    eventually("the client's line", is_logged).await;
    // What listens is not replaced.
    let other = listening_at(&path).refused().await;
    assert!(other.stderr.contains("another server listens there"), "{}", other.stderr);
    client.run("true").await;
    end(&mut server, rustix::process::Signal::TERM).await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_that_a_killed_server_has_left_is_replaced_and_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, log) = (folder.path().join("rdev.sock"), folder.path().join("log"));
    let fixture = listening_at(&path);
    let (mut server, _) = start(&fixture, &log).await;
    end(&mut server, rustix::process::Signal::KILL).await;
    assert!(path.exists());
    let (mut server, _) = start(&fixture, &log).await;
    Client::new(proxy(path.clone()).await, Some(KEY)).run("true").await;
    end(&mut server, rustix::process::Signal::TERM).await;

    fs::write(&path, "mine").unwrap();
    let refused = fixture.refused().await;
    assert!(refused.stderr.contains("there is a file that is no socket"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}
