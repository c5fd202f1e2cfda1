//! Those who are attached. They read the journal themselves; over the socket they only learn that it grew.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

/// Sent by a client that wants the command to end, and sent back once that is under way.
pub(crate) const CANCEL: u8 = b'c';
/// Sent to a client when there is something new in the journal.
const WAKE: u8 = b'w';
/// More than this many lose the oldest, which connects again if it still wants to know.
const CLIENTS_MAX: usize = 64;

/// The listening socket and the connections that came in by it.
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

    /// Takes in everybody who is waiting.
    pub(crate) fn accept(&mut self) {
        while let Ok((mut client, _)) = self.listener.accept() {
            // It may have read the journal before it was on our list, so it is woken once to read it again.
            if client.set_nonblocking(true).is_ok() && tell(&mut client, WAKE) {
                if self.connected.len() == CLIENTS_MAX {
                    self.connected.pop_front();
                }
                self.connected.push_back(client);
            }
        }
    }

    /// Tells everybody that the journal has grown.
    pub(crate) fn wake(&mut self) {
        self.connected.retain_mut(|client| tell(client, WAKE));
    }

    /// Reads what clients have sent. True: one of them wants the command to end.
    pub(crate) fn listen(&mut self) -> bool {
        let mut cancel = false;
        self.connected.retain_mut(|client| {
            let mut request = [0];
            match client.read(&mut request) {
                Ok(0) => false,
                Ok(_) if request[0] == CANCEL => {
                    cancel = true;
                    tell(client, CANCEL)
                }
                Ok(_) => true,
                Err(error) => again(&error),
            }
        });
        cancel
    }
}

/// False when the client is gone. One that has not yet read an earlier word needs no other.
fn tell(client: &mut UnixStream, word: u8) -> bool {
    match client.write_all(&[word]) {
        Ok(()) => true,
        Err(error) => again(&error),
    }
}

fn again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
