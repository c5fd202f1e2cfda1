//! Clients of the servers: each asks one, and the next one when that does not answer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rdev_client::Received;
use rdev_client::types::{Data, Event};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, sleep, timeout};

use super::addresses::Addresses;
use super::tasks::{Kind, PROJECTS, Task};
use crate::support::{Answer, Call, Client, Item};

/// Pause before the next server is asked.
const PAUSE: Duration = Duration::from_millis(50);
/// Tasks that are being posted at once: more than one server has connections to its database.
const POSTERS: usize = 32;
/// Every tenth task is posted to two servers at once, as by a caller who has lost patience.
const POSTED_TWICE: usize = 10;
/// Every fifteenth task has its stream followed while it runs.
const FOLLOWED: usize = 15;

#[derive(Clone)]
pub(crate) struct Clients {
    servers: Addresses,
    marks: PathBuf,
    patience: Duration,
    manners: Manners,
}

/// Manners of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    /// A connection is closed when the answer has come.
    Usual,
    /// Every second request closes its side of the connection at its end.
    HalfClosing,
}

/// A task that was accepted, and what somebody has seen who followed it from then on.
pub(crate) struct Accepted {
    pub(crate) task: Task,
    pub(crate) id: String,
    pub(crate) followed: Option<JoinHandle<Vec<Received>>>,
}

/// An attempt to have a task accepted.
#[derive(Debug)]
pub(crate) enum Tried {
    /// With this id.
    Accepted(String),
    /// The caller is to come again.
    Refused,
    /// No answer has come: the server has died, or is dying.
    Died,
}

/// Followers of projects, each with the events that it has seen when all commands have ended.
pub(crate) type Projects = BTreeMap<&'static str, JoinHandle<Vec<Received>>>;

#[derive(Deserialize)]
struct Stored {
    id: String,
}

impl Clients {
    pub(crate) fn new(servers: Addresses, marks: &Path, patience: Duration, manners: Manners) -> Self {
        Self { servers, marks: marks.to_owned(), patience, manners }
    }

    pub(crate) fn servers(&self) -> &Addresses {
        &self.servers
    }

    /// The folder of the side effects.
    pub(crate) fn marks(&self) -> &Path {
        &self.marks
    }

    /// Posts all tasks, spread over this time.
    pub(crate) async fn post_all(&self, tasks: Vec<Task>, over: Duration) -> Vec<Accepted> {
        let mut turns = interval(over / u32::try_from(tasks.len()).expect("there are few"));
        let (mut posting, posters) = (JoinSet::new(), Arc::new(Semaphore::new(POSTERS)));
        for task in tasks {
            turns.tick().await;
            let poster = posters.clone().acquire_owned().await.expect("it is never closed");
            let clients = self.clone();
            posting.spawn(async move {
                let accepted = clients.post(task).await;
                drop(poster);
                accepted
            });
        }
        let mut accepted = posting.join_all().await;
        accepted.sort_by_key(|accepted| accepted.task.number);
        accepted
    }

    async fn post(self, task: Task) -> Accepted {
        let id = if task.number.is_multiple_of(POSTED_TWICE) {
            let (one, other) =
                tokio::join!(self.accepted(task, task.number), self.accepted(task, task.number + 1));
            assert_eq!(one, other, "{task:?} was accepted twice");
            one
        } else {
            self.accepted(task, task.number).await
        };
        let followed = task.number.is_multiple_of(FOLLOWED).then(|| {
            let (clients, stream) = (self.clone(), task.stream(&id));
            tokio::spawn(async move { clients.follow(&stream, 1).await })
        });
        Accepted { task, id, followed }
    }

    /// Asks until a server has accepted the task, beginning with this one, always with one key.
    async fn accepted(&self, task: Task, first: usize) -> String {
        let (path, body, key) = (task.home(), task.body(&self.marks), task.key());
        let stored: Data<Stored> =
            self.ask(first, 202, |client| client.post(&path, &body).header("idempotency-key", &key)).await;
        stored.data.id
    }

    /// Asks one server once; however often a task is posted, it is accepted once.
    pub(crate) async fn try_post(&self, task: Task, server: usize) -> Tried {
        let call = self.servers.of(server).post(&task.home(), &task.body(&self.marks));
        match call.header("idempotency-key", &task.key()).try_send().await {
            Ok(answer) if answer.status == 503 => {
                comes_again(&answer);
                Tried::Refused
            }
            Ok(answer) => Tried::Accepted(answer.part::<Data<Stored>>(202).data.id),
            Err(_) => Tried::Died,
        }
    }

    /// Reads a resource from whichever server is there.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.ask(0, 200, |client| client.get(path)).await
    }

    async fn ask<T: DeserializeOwned>(&self, first: usize, status: u16, call: impl Fn(&Client) -> Call) -> T {
        let asking = async {
            for server in first.. {
                let call = call(&self.servers.of(server));
                let answer = match self.manners {
                    Manners::HalfClosing if server.is_multiple_of(2) => call.try_send_half_closed().await,
                    Manners::Usual | Manners::HalfClosing => call.try_send().await,
                };
                match answer {
                    Ok(answer) if answer.status == 503 => comes_again(&answer),
                    Ok(answer) => return answer.part(status),
                    // It has died.
                    Err(_) => {}
                }
                sleep(PAUSE).await;
            }
            unreachable!("there is no last number")
        };
        timeout(self.patience, asking).await.expect("some server answers some time")
    }

    /// Follows every project until as many commands as it is to have have ended.
    pub(crate) fn follow_projects(&self, tasks: &[Task]) -> Projects {
        let follower = |project: &'static str| {
            let commands = tasks.iter().filter(|task| task.kind == Kind::InProject(project)).count();
            let clients = self.clone();
            let following =
                async move { clients.follow(&format!("/projects/{project}/events"), commands).await };
            (project, tokio::spawn(following))
        };
        PROJECTS.into_iter().map(follower).collect()
    }

    /// Reads a stream until so many ends were told: where a server dies, the next one is asked for what comes
    /// after the last event.
    async fn follow(&self, path: &str, ends: usize) -> Vec<Received> {
        let (mut events, mut server) = (Vec::new(), 0);
        let mut left = ends;
        while left > 0 {
            let call = self.servers.of(server).get(path);
            let last = events.iter().rev().find_map(|event: &Received| event.id.as_deref());
            let call = match last {
                Some(id) => call.header("last-event-id", id),
                None => call,
            };
            server += 1;
            let Some(stream) = call.events_or_later().await else {
                sleep(PAUSE).await;
                continue;
            };
            let mut stream = stream.patient_for(self.patience);
            while left > 0
                && let Some(item) = stream.next().await
            {
                if let Some(event) = told(item) {
                    left -= usize::from(matches!(event.event, Event::Complete(_)));
                    events.push(event);
                }
            }
        }
        events
    }

    /// Reads a stream that has ended from one server, as [`Clients::follow`] does from all.
    pub(crate) async fn read(&self, server: usize, path: &str, ends: usize) -> Vec<Received> {
        let mut events = Vec::new();
        let mut left = ends;
        let mut stream = self.servers.of(server).get(path).events().await;
        while left > 0 {
            let event = stream.event().await;
            left -= usize::from(matches!(event.event, Event::Complete(_)));
            events.extend(told(Item::Event(event)));
        }
        events
    }
}

/// Signs of life are no content.
fn told(item: Item) -> Option<Received> {
    match item {
        Item::Event(Received { event: Event::Heartbeat(_), .. }) | Item::Retry(_) => None,
        Item::Event(event) => Some(event),
    }
}

/// A refusal that passes says when to come again.
fn comes_again(answer: &Answer) {
    assert!(answer.header("retry-after").parse::<u64>().is_ok(), "{answer:?}");
}
