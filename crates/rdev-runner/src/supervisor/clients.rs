//! Attached clients. They read the journal themselves; the socket only wakes them.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

/// Sent by a client to end the command, and sent back once the end is under way.
pub(crate) const CANCEL: u8 = b'c';
/// Sent to a client when the journal has grown.
const WAKE: u8 = b'w';
/// Most clients; one more drops the oldest, which connects again if it still reads.
const CLIENTS_MAX: usize = 64;

/// The listening socket and its connections.
#[derive(Debug)]
pub(crate) struct Clients {
    listener: UnixListener,
    connected: VecDeque<UnixStream>,
}

impl Clients {
    pub(crate) fn new(listener: UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener, connected: VecDeque::new() })
    }

    pub(crate) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    pub(crate) fn connected(&self) -> impl Iterator<Item = &UnixStream> {
        self.connected.iter()
    }

    /// Accepts all waiting clients.
    pub(crate) fn accept(&mut self) {
        while let Ok((mut client, _)) = self.listener.accept() {
            // The client may have read the journal before it was connected, so it is woken once.
            if client.set_nonblocking(true).is_ok() && send(&mut client, WAKE) {
                if self.connected.len() == CLIENTS_MAX {
                    self.connected.pop_front();
                }
                self.connected.push_back(client);
            }
        }
    }

    /// Wakes all clients: the journal has grown.
    pub(crate) fn wake(&mut self) {
        self.connected.retain_mut(|client| send(client, WAKE));
    }

    /// Reads the requests of clients. Returns true when one requests the end of the command.
    pub(crate) fn read_requests(&mut self) -> bool {
        let mut cancel = false;
        self.connected.retain_mut(|client| {
            let mut request = [0];
            match client.read(&mut request) {
                Ok(0) => false,
                Ok(_) if request[0] == CANCEL => {
                    cancel = true;
                    send(client, CANCEL)
                }
                Ok(_) => true,
                Err(error) => again(&error),
            }
        });
        cancel
    }
}

/// Returns false when the client is gone. A client with an unread byte needs no other.
fn send(client: &mut UnixStream, word: u8) -> bool {
    match client.write_all(&[word]) {
        Ok(()) => true,
        Err(error) => again(&error),
    }
}

fn again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
