//! A proxy before Postgres that is at fault when a test says so.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The end of an answer after which no transaction is under way: ReadyForQuery, its length, and "idle".
const DONE: &[u8] = b"Z\0\0\0\x05I";

/// Stands between a store and its server, and can fall silent without closing anything, cut everything, or lose an
/// answer.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    line: watch::Sender<Line>,
    marked: Marked,
}

/// Bytes of the statement whose answer is to be lost, until it comes.
type Marked = Arc<Mutex<Option<Vec<u8>>>>;

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
        let marked = Marked::default();
        let proxy = Self { address, line, marked: marked.clone() };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server, seen.clone(), marked.clone()));
            }
        });
        proxy
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

    /// Loses the answer to the next statement that carries this value: it is carried out, to the end of its
    /// transaction, and its connection is cut then.
    pub fn lose_answer_to(&self, value: &str) {
        *self.marked.lock().unwrap_or_else(PoisonError::into_inner) = Some(value.as_bytes().to_vec());
    }

    /// Tells whether a statement has come whose answer was to be lost.
    pub fn has_lost_answer(&self) -> bool {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

async fn connect(client: TcpStream, server: SocketAddr, line: watch::Receiver<Line>, marked: Marked) {
    // The client sees its connection closed.
    let Ok(server) = TcpStream::connect(server).await else { return };
    let cuts = line.borrow().cuts;
    let ((read, write), (answers, questions)) = (client.into_split(), server.into_split());
    let losing = Arc::new(AtomicBool::new(false));
    let (mut end, to_lose) = (Vec::new(), losing.clone());
    let look = move |bytes: &[u8]| {
        end.extend_from_slice(bytes);
        if is_marked(&marked, &mut end) {
            to_lose.store(true, Ordering::SeqCst);
        }
        true
    };
    tokio::spawn(pass(read, questions, line.clone(), cuts, look));
    let lose = move |bytes: &[u8]| !(losing.load(Ordering::SeqCst) && bytes.ends_with(DONE));
    pass(answers, write, line, cuts, lose).await;
}

/// Tells whether the bytes that came last are those of the statement; of them as many are kept as may be its beginning.
fn is_marked(marked: &Marked, end: &mut Vec<u8>) -> bool {
    let mut marked = marked.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(value) = marked.as_deref() else {
        end.clear();
        return false;
    };
    let found = end.windows(value.len()).any(|bytes| bytes == value);
    end.drain(..end.len().saturating_sub(value.len() - 1));
    if found {
        *marked = None;
    }
    found
}

/// Passes bytes on in one direction, as long as these are to be.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut line: watch::Receiver<Line>,
    cuts_before: u64,
    mut passes: impl FnMut(&[u8]) -> bool,
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
            Ok(read) if read > 0 && passes(&bytes[..read]) => {
                if to.write_all(&bytes[..read]).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}
