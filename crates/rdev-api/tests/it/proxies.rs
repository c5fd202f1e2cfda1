//! A proxy between rdev and the cluster's API server.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::Runtime;

/// A proxy that makes tunnels, and counts them.
struct Proxy {
    url: String,
    tunnels: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    async fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        let tunnels = Arc::new(AtomicUsize::new(0));
        let counted = tunnels.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = socket.accept().await {
                let counted = counted.clone();
                // One that breaks off is the business of its two ends.
                tokio::spawn(async move { tunnel(client, &counted).await.ok() });
            }
        });
        Self { url, tunnels, accepting }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn tunnel(client: TcpStream, counted: &AtomicUsize) -> io::Result<()> {
    let mut client = BufStream::new(client);
    let (mut asked, mut header) = (String::new(), String::new());
    client.read_line(&mut asked).await?;
    while header != "\r\n" {
        header.clear();
        client.read_line(&mut header).await?;
    }
    let target = asked.split(' ').nth(1).filter(|_| asked.starts_with("CONNECT "));
    let mut server = TcpStream::connect(target.ok_or(io::ErrorKind::InvalidData)?).await?;
    counted.fetch_add(1, Ordering::SeqCst);
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    client.flush().await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

#[tokio::test]
async fn the_cluster_is_reached_through_the_proxy_of_the_environment() {
    let proxy = Proxy::start().await;
    let server = Runtime::Double.fixture().with("HTTPS_PROXY", proxy.url.clone()).start().await;
    assert_eq!(server.client().run("echo well").await.0, ["well"]);
    assert!(proxy.tunnels.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn a_cluster_that_is_an_exception_is_reached_without_it() {
    let proxy = Proxy::start().await;
    let fixture = Runtime::Double.fixture().with("HTTPS_PROXY", proxy.url.clone());
    let server = fixture.with("NO_PROXY", "127.0.0.0/8,.svc").start().await;
    assert_eq!(server.client().run("echo well").await.0, ["well"]);
    assert_eq!(proxy.tunnels.load(Ordering::SeqCst), 0);
}
