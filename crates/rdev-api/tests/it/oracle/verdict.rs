//! The verdict on the outcome: judged by what tasks did and what servers tell.

use std::collections::{BTreeMap, BTreeSet};

use rdev_client::Received;
use rdev_client::types::{Data, Event, GapReason, List, Reason, Status};
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::clients::{Accepted, Clients, Projects};
use super::tasks::{Kind, PROJECTS, Task};
use crate::support::{ReceivedExt, looking, within};

/// Streams are read by so many at once.
const READERS: usize = 8;

pub(crate) struct Severity<'a> {
    clients: &'a Clients,
    ended: Vec<Ended>,
    followed: Vec<(usize, Vec<Received>)>,
}

/// A task that has ended.
#[derive(Debug, Clone)]
struct Ended {
    task: Task,
    id: String,
    told: Answer,
}

/// Answer of a server about a task.
#[derive(Debug, Clone, Deserialize)]
struct Answer {
    id: String,
    status: Status,
    exit_code: Option<i32>,
    #[expect(dead_code, reason = "shown where a task has failed that must not")]
    reason: Option<Reason>,
    #[expect(dead_code, reason = "as above")]
    message: Option<String>,
    /// A command of a project is tried once.
    attempts: Option<usize>,
}

impl<'a> Severity<'a> {
    /// Waits until every task has ended.
    pub(crate) async fn over(accepted: Vec<Accepted>, clients: &'a Clients, until: Instant) -> Self {
        let (mut ended, mut followed) = (Vec::new(), Vec::new());
        for Accepted { task, id, followed: following } in accepted {
            let path = task.path(&id);
            let over = async || {
                let told = clients.get::<Data<Answer>>(&path).await.data;
                told.status.is_ended().then_some(told)
            };
            let told = timeout_at(until, looking(over)).await;
            let told = told.unwrap_or_else(|_| panic!("{task:?} has not ended in time: {path}"));
            if let Some(following) = following {
                let seen = timeout_at(until, following).await.expect("its end is told, and soon");
                followed.push((ended.len(), seen.expect("it has read to the end")));
            }
            ended.push(Ended { task, id, told });
        }
        Self { clients, ended, followed }
    }

    /// Nothing was wrong but what was done to servers, so all have succeeded; and of each attempt that is told
    /// there is one side effect.
    pub(crate) fn each_ran_as_often_as_it_says(&self) {
        let ran = std::fs::read_to_string(self.clients.marks().join("ran")).expect("some have run");
        let mut times: BTreeMap<usize, usize> = BTreeMap::new();
        for number in ran.lines() {
            *times.entry(number.parse().expect("a number a line")).or_default() += 1;
        }
        let wrong = self.ended.iter().filter(|Ended { task, told, .. }| {
            let times = times.get(&task.number).copied().unwrap_or_default();
            let least = if task.kind == Kind::FailsFirst { 2 } else { 1 };
            let attempts = told.attempts.unwrap_or(1);
            told.status != Status::Completed
                || told.exit_code != Some(0)
                || times != attempts
                || times < least
                || times > 1 && !task.may_repeat()
        });
        let wrong: Vec<String> =
            wrong.map(|ended| format!("{ended:?} ran {:?}", times.get(&ended.task.number))).collect();
        assert!(wrong.is_empty(), "{} tasks: {}", wrong.len(), wrong.join("\n"));
        assert_eq!(times.len(), self.ended.len(), "nothing else has run");
    }

    /// However often it was posted.
    pub(crate) async fn none_is_stored_twice(&self) {
        let mut stored = self.stored("/queue/tasks").await;
        for project in PROJECTS {
            stored.extend(self.stored(&format!("/projects/{project}/commands")).await);
        }
        let accepted: BTreeSet<&str> = self.ended.iter().map(|ended| ended.id.as_str()).collect();
        assert_eq!(stored.len(), accepted.len(), "there are more than were accepted");
        assert!(stored.iter().all(|id| accepted.contains(id.as_str())));
    }

    async fn stored(&self, path: &str) -> Vec<String> {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let page: List<Answer> = self.clients.get(&format!("{path}?limit=100{cursor}")).await;
            ids.extend(page.data.into_iter().map(|task| task.id));
            match page.meta.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return ids,
            }
        }
    }

    /// Returns the number of lines of all streams.
    pub(crate) async fn every_server_tells_the_same_streams(&self) -> usize {
        let mut reading = JoinSet::new();
        for reader in 0..READERS {
            let ended: Vec<Ended> = self.ended.iter().skip(reader).step_by(READERS).cloned().collect();
            let clients = self.clients.clone();
            reading.spawn(async move {
                let mut lines = 0;
                for ended in &ended {
                    let events = read_from_each(&clients, &ended.task.stream(&ended.id), 1).await;
                    lines += whole(ended, &events);
                }
                lines
            });
        }
        reading.join_all().await.into_iter().sum()
    }

    /// Returns the number of streams that were followed meanwhile.
    pub(crate) async fn followers_saw_the_same(&self, projects: Projects) -> usize {
        let streams = self.followed.len() + projects.len();
        for (index, seen) in &self.followed {
            let ended = &self.ended[*index];
            let stored = self.clients.read(0, &ended.task.stream(&ended.id), 1).await;
            assert_eq!(numbered(seen), numbered(&stored), "{ended:?}");
        }
        for (project, follower) in projects {
            let commands: Vec<&Ended> =
                self.ended.iter().filter(|ended| ended.task.kind == Kind::InProject(project)).collect();
            let seen = within("the project's end", follower).await.expect("it has read to the end");
            let path = format!("/projects/{project}/events");
            let stored = read_from_each(self.clients, &path, commands.len()).await;
            assert_eq!(texts(&seen), texts(&stored), "{project}");
            for ended in commands {
                let of = |event: &&Received| event.stream() == Some(ended.id.as_str());
                whole(ended, &stored.iter().filter(of).cloned().collect::<Vec<_>>());
            }
        }
        streams
    }
}

/// A stream, of which every server tells the same.
async fn read_from_each(clients: &Clients, path: &str, ends: usize) -> Vec<Received> {
    let first = clients.read(0, path, ends).await;
    for server in 1..clients.servers().count() {
        let other = clients.read(server, path, ends).await;
        assert_eq!(texts(&first), texts(&other), "{path} of server {server}");
    }
    first
}

/// Holds a stream to be whole: every number is an event's, or a gap says that there was no room for it; there is one end,
/// and every line that the task wrote. How many events with a number there are before it.
fn whole(ended: &Ended, events: &[Received]) -> usize {
    let (mut next, mut missing) = (1, 0);
    for event in events {
        match (&event.event, event.seq()) {
            (Event::Gap(gap), _) if gap.reason == GapReason::DiskFull => {
                let to = gap.to.expect("it is known how much there was no room for");
                assert_eq!(gap.from, next, "{ended:?}: {events:?}");
                missing += to + 1 - gap.from;
                next = to + 1;
            }
            (Event::Gap(_) | Event::ProjectGap(_), _) => panic!("{ended:?}: {events:?}"),
            (_, Some(seq)) => {
                assert_eq!(seq, next, "{ended:?}: {events:?}");
                next += 1;
            }
            (_, None) => {}
        }
    }
    let ends = events.iter().filter(|event| matches!(event.event, Event::Complete(_))).count();
    assert!(
        ends == 1 && matches!(events.last().map(|event| &event.event), Some(Event::Complete(_))),
        "{ended:?}"
    );
    let says = format!("{} says ", ended.task.number);
    let said = events.iter().filter_map(|event| match &event.event {
        Event::Output(line) if line.line.starts_with(&says) => Some(line.line.clone()),
        _ => None,
    });
    let (said, mut written): (Vec<String>, _) = (said.collect(), ended.task.output());
    assert!(said.iter().all(|line| written.any(|written| written == *line)), "{ended:?}: {events:?}");
    let lost = ended.task.lines - said.len();
    assert!(lost as u64 <= missing, "{ended:?} has lost {lost} lines: {events:?}");
    events.iter().filter(|event| event.seq().is_some()).count() - 1
}

fn texts(events: &[Received]) -> Vec<String> {
    events.iter().map(|event| format!("{event:?}")).collect()
}

/// A status has no number, and comes again to whoever resumes at the event before it.
fn numbered(events: &[Received]) -> Vec<String> {
    let numbered: Vec<Received> = events.iter().filter(|event| event.seq().is_some()).cloned().collect();
    texts(&numbered)
}
