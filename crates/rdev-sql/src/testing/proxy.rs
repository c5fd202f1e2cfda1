use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Stands between a store and its server, and can fall silent without closing anything, or cut everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    line: watch::Sender<Line>,
}

/// What becomes of the bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Line {
    silent: bool,
    cuts: u64,
}

impl Proxy {
    /// Passes everything on to this server, until something else is said.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it listens somewhere");
        let (line, seen) = watch::channel(Line::default());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server, seen.clone()));
            }
        });
        Self { address, line }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Passes nothing on from now on. What was under way is never heard of again.
    pub fn fall_silent(&self) {
        self.line.send_modify(|line| line.silent = true);
    }

    /// Passes on what comes on new connections; those that have met the silence stay in it.
    pub fn speak(&self) {
        self.line.send_modify(|line| line.silent = false);
    }

    /// Cuts every connection that is not in a silence.
    pub fn cut(&self) {
        self.line.send_modify(|line| line.cuts += 1);
    }
}

async fn connect(client: TcpStream, server: SocketAddr, line: watch::Receiver<Line>) {
    // The client sees its connection closed.
    let Ok(server) = TcpStream::connect(server).await else { return };
    let cuts = line.borrow().cuts;
    let ((read, write), (answers, questions)) = (client.into_split(), server.into_split());
    tokio::spawn(pass(read, questions, line.clone(), cuts));
    pass(answers, write, line, cuts).await;
}

/// Passes bytes on in one direction.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut line: watch::Receiver<Line>,
    cuts_before: u64,
) {
    let mut bytes = [0; 8192];
    loop {
        let at_fault = async {
            let seen = line.wait_for(|line| line.silent || line.cuts > cuts_before).await;
            seen.is_ok_and(|line| line.silent)
        };
        let read = tokio::select! {
            read = from.read(&mut bytes) => read,
            silent = at_fault => match silent {
                true => return std::future::pending().await,
                false => return,
            },
        };
        match read {
            Ok(read) if read > 0 => {
                if to.write_all(&bytes[..read]).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}
