//! `/ready` compared with what a POST meets: 503 exactly while work cannot be stored.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::small_disk::SmallDisk;
use crate::oracle::{Accepted, Clients, Kind, Task, Tried};

/// `/ready` writes once a second at the most, and a file may have a little room left on a full disk: what it told is
/// another's answer for no longer than this.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Readiness<'a> {
    pub(super) clients: &'a Clients,
    pub(super) disk: &'a SmallDisk,
}

/// Tasks that were asked for.
#[derive(Default)]
pub(super) struct Occurrence {
    pub(super) accepted: Vec<Accepted>,
    /// Number of tasks that were refused while it was not ready.
    pub(super) refused: usize,
}

impl Readiness<'_> {
    /// Posts tasks with numbers from this one on until all is over. Each is posted until it is accepted.
    pub(super) async fn is_truthful(&self, first: usize, over: watch::Receiver<bool>) -> Occurrence {
        let mut asked = Occurrence::default();
        let mut untrue = None;
        for number in first.. {
            let task = Task { number, kind: Kind::Once, lines: 0 };
            let id = loop {
                let state = self.disk.changes();
                let (ready, tried) = (self.ready().await, self.clients.try_post(task, 0).await);
                let is_true = match (ready, &tried) {
                    (Some(ready), Tried::Accepted(_)) => ready,
                    (Some(ready), Tried::Refused) => {
                        asked.refused += usize::from(!ready);
                        self.disk.notice();
                        !ready
                    }
                    (None, _) | (_, Tried::Died) => true,
                };
                // While the disk changes both may be true.
                let now = (!is_true && state == self.disk.changes()).then_some(state);
                untrue = now.map(|state| match untrue {
                    Some((same, since)) if same == state => (state, since),
                    _ => (state, Instant::now()),
                });
                if let Some((_, since)) = untrue {
                    assert!(since.elapsed() < TOLD_WITHIN, "ready: {ready:?}, but {tried:?}");
                }
                if let Tried::Accepted(id) = tried {
                    break id;
                }
                sleep(PAUSE).await;
            };
            asked.accepted.push(Accepted { task, id, followed: None });
            if *over.borrow() {
                break;
            }
            // What room there is on a full disk is to be used up soon.
            if !self.disk.is_full() {
                sleep(PAUSE).await;
            }
        }
        asked
    }

    /// None where no server answers.
    async fn ready(&self) -> Option<bool> {
        let answer = self.clients.servers().of(0).get("/ready").try_send().await.ok()?;
        assert!(matches!(answer.status.as_u16(), 200 | 503), "{}", answer.text());
        Some(answer.status == 200)
    }
}
