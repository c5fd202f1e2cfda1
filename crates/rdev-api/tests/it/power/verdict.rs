//! Promises that the server after a cut must have kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rdev_client::Received;
use rdev_client::types::{Data, Event, Reason, Status};
use serde::Deserialize;

use super::Accepted;
use super::told::{Told, in_stream};
use crate::oracle::Task;
use crate::support::{Client, ReceivedExt, Server, eventually};

pub(super) struct Severity<'a> {
    pub(super) accepted: &'a [Accepted],
    /// Promises made before the cut.
    pub(super) told: &'a Told,
    /// A client from before the cut.
    pub(super) before: &'a Client,
    /// The server after it.
    pub(super) server: &'a Server,
}

/// End of a task.
#[derive(Debug, Clone, Deserialize)]
struct Ended {
    status: Status,
    exit_code: Option<i32>,
    reason: Option<Reason>,
}

impl Severity<'_> {
    pub(super) async fn every_promise_is_kept(&self, effects: &Path) {
        let (promised, events) = (self.told.accepted(), self.told.events());
        let client = self.server.client();
        assert!(
            promised.is_empty() || client.key == self.before.key,
            "the key that clients have is another's now"
        );
        let mut ended = Vec::new();
        for accepted in self.accepted.iter().filter(|accepted| promised.contains(&accepted.id)) {
            let path = accepted.task.path(&accepted.id);
            let over = async || {
                let told = client.get(&path).send().await.part::<Data<Ended>>(200).data;
                told.status.is_ended().then_some(told)
            };
            ended.push((accepted, eventually("the end of what was accepted", over).await));
        }
        let ran = fs::read_to_string(effects).expect("there are effects");
        for (Accepted { task, id }, ended) in ended {
            let times = ran.lines().filter(|line| *line == task.number.to_string()).count();
            ended_honestly(*task, &ended, times);
            let told = events.get(id).map(Vec::as_slice).unwrap_or_default();
            self.stream_is_kept(*task, id, told).await;
        }
    }

    /// A stream tells what it has told, or that it cannot any more.
    async fn stream_is_kept(&self, task: Task, id: &str, told: &[Received]) {
        let (client, path) = (self.server.client(), task.stream(id));
        let events = in_stream(&client.get(&path).send().await.body);
        let known: BTreeMap<u64, String> =
            events.iter().filter_map(|event| Some((event.seq()?, content(event)))).collect();
        let gone = |seq: u64| events.iter().any(|event| is_gap_over(event, seq));
        let end = events.last().and_then(Received::seq).expect("it has ended");
        assert!(
            (1..=end).all(|seq| known.contains_key(&seq) || gone(seq)),
            "{task:?} has a hole: {events:?}"
        );
        let Some(last) = told.last().and_then(Received::seq) else { return };
        for event in told {
            let seq = event.seq().expect("it has a number");
            match known.get(&seq) {
                Some(now) => assert_eq!(*now, content(event), "{task:?}: another one under {seq}"),
                None => assert!(gone(seq) || seq > end, "{task:?} has lost {seq}: {events:?}"),
            }
        }
        let over = told.iter().any(|event| matches!(event.event, Event::Complete(_)));
        let answer = client.get(&path).header("last-event-id", &last.to_string()).send().await;
        assert_eq!(answer.status == 204, over, "{task:?}: who has {last} is told {}", answer.text());
        if !over {
            let events = in_stream(&answer.body);
            assert!(
                matches!(events.last().map(|event| &event.event), Some(Event::Complete(_))),
                "{events:?}"
            );
            let announced = last < end || events.iter().any(|event| is_gap_over(event, 1));
            assert!(announced, "{task:?}: who has {last} is not told that it is gone: {events:?}");
        }
    }
}

/// A run that was started may be lost with its machine, and then it says so. Nothing runs twice that must not.
fn ended_honestly(task: Task, ended: &Ended, times: usize) {
    let lost = ended.status == Status::Failed && ended.reason == Some(Reason::RunnerLost);
    let done = ended.status == Status::Completed && ended.exit_code == Some(0) && times >= 1;
    assert!(done || lost, "{task:?} ended as {ended:?} and ran {times} times");
    assert!(times <= 1 || task.may_repeat(), "{task:?} ran {times} times: {ended:?}");
}

fn is_gap_over(event: &Received, seq: u64) -> bool {
    matches!(&event.event, Event::Gap(gap) if gap.from <= seq && gap.to.is_none_or(|to| seq <= to))
}

/// Part of an answer that must be the same whenever it is told: of an end, how it was, and not when somebody has
/// learned of it.
fn content(event: &Received) -> String {
    match &event.event {
        Event::Complete(complete) => {
            format!("{:?}", (&complete.status, complete.exit_code, &complete.reason))
        }
        told => format!("{told:?}"),
    }
}
