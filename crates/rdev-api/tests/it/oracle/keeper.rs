//! A keeper of one server: starts it again whenever it is killed.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Addresses;
use crate::support::{Server, within};

pub(crate) struct Keeper {
    kills: mpsc::Sender<()>,
    server: JoinHandle<Server>,
}

impl Keeper {
    /// Keeps a server that runs, one of those at these addresses.
    pub(crate) fn of(number: usize, mut server: Server, addresses: Addresses) -> Self {
        let (kills, mut killed) = mpsc::channel(1);
        let server = tokio::spawn(async move {
            while killed.recv().await.is_some() {
                server.kill9().await;
                // One that is starting dies like any other.
                while !server.restarts_before(killed.recv()).await {}
                addresses.moved(number, server.client());
            }
            server
        });
        Self { kills, server }
    }

    /// Has the server killed, whatever it does.
    pub(crate) async fn kill(&self) {
        within("a turn to be killed", self.kills.send(())).await.expect("its keeper lives");
    }

    /// The server, which runs, and is nobody's to keep any more.
    pub(crate) async fn end(self) -> Server {
        drop(self.kills);
        within("the last start", self.server).await.expect("its keeper has had no trouble")
    }
}
