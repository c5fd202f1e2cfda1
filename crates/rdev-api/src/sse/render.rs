//! Rendering: from entries of the log to the bytes that clients read.

mod form;
mod lines;
mod reading;

use std::sync::Arc;

use bytes::Bytes;
use rdev_api_types::{
    CompleteEvent, EventName, GapEvent, GapReason, HeartbeatEvent, ProjectGapEvent, Reason, StatusEvent,
    StepEvent, Ticket,
};
use rdev_domain::{
    Entry, EntryBody, Failure, JobStatus, Outcome, Retrying, Seq, StepChange, StreamId, Timestamp,
};
use rdev_runner::frame::{Body, CutReason, Frame, decode_all};
use serde::Serialize;

use self::form::event;
pub(crate) use self::form::{Form, Ids};
use self::lines::{Batch, FrameLines};
pub(crate) use self::reading::Reading;
use super::event_id::LogEventId;
use super::negotiation::Framing;
use crate::convert::{ending_reason, event_job, millis, reason, status, step_error, step_state, time};

/// Cause for which events are not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// Retention has removed them.
    Removed,
    /// The reader named a last event that this stream has never had: it knows another stream of that name, or a
    /// store that was put back to an earlier state.
    UnknownId,
}

impl Unsent {
    fn reason(self) -> GapReason {
        match self {
            Self::Removed => GapReason::Retention,
            Self::UnknownId => GapReason::UnknownId,
        }
    }
}

/// Appends the events of an entry that come after `after`, all of them and as they were written.
pub(crate) fn entry(out: &mut Vec<u8>, form: Form, entry: &Entry, after: Seq) -> anyhow::Result<()> {
    entries_read_by(out, form, Reading::default(), (entry, &[]), after)
}

/// Appends the events of an entry, and of those of the same job that follow it at once, that come after `after`.
pub(crate) fn entries_read_by(
    out: &mut Vec<u8>,
    form: Form,
    reading: Reading<'_>,
    (first, more): (&Entry, &[Arc<Entry>]),
    after: Seq,
) -> anyhow::Result<()> {
    let mut batch = reading.shape.batch.map(|max| Batch::new(max, &first.stream));
    for entry in std::iter::once(first).chain(more.iter().map(Arc::as_ref)) {
        Writer { form, entry, reading, batch: batch.as_mut() }.entry(out, after)?;
    }
    if let Some(batch) = &mut batch {
        batch.flush(out, form);
    }
    Ok(())
}

/// Appends the announcement that the events `from` to `to` of a stream are not sent; without `to`, that nothing
/// follows.
pub(crate) fn gap(
    out: &mut Vec<u8>,
    form: Form,
    stream: &StreamId,
    (from, to): (u64, Option<u64>),
    why: Unsent,
) {
    let id = to.filter(|_| matches!(form, Form::Events(_, Ids::Numbers))).map(|to| to.to_string());
    let gap = GapEvent { stream_id: stream.to_string(), from, to, reason: why.reason() };
    event(out, form, id.as_deref(), EventName::Gap, &gap);
}

/// Renders the announcement that entries between two ids of a log of several jobs are not sent. It has no id of its own: a
/// reader that resumes from the id before it gets the announcement again, and the entries that are left.
pub(crate) fn log_gap(framing: Framing, from: Option<LogEventId>, to: LogEventId, why: Unsent) -> Bytes {
    let from = from.map(|from| from.to_string());
    let gap = ProjectGapEvent { from, to: to.to_string(), reason: why.reason() };
    alone(framing, None, EventName::Gap, &gap)
}

/// Renders a heartbeat, with the id from which its reader resumes.
pub(crate) fn heartbeat(framing: Framing, id: Option<&str>, now: Timestamp) -> Bytes {
    alone(framing, id, EventName::Heartbeat, &HeartbeatEvent { timestamp: time(now) })
}

/// Renders a new ticket.
pub(crate) fn ticket(framing: Framing, ticket: &Ticket) -> Bytes {
    alone(framing, None, EventName::Ticket, ticket)
}

fn alone(framing: Framing, id: Option<&str>, name: EventName, data: &impl Serialize) -> Bytes {
    let mut out = Vec::new();
    // Whatever ids the stream has: this one is given.
    event(&mut out, Form::Events(framing, Ids::Numbers), id, name, data);
    out.into()
}

/// Cause of a status, where it has one beyond the normal progress.
#[derive(Default)]
struct Why<'a> {
    attempt: Option<u32>,
    reason: Option<Reason>,
    message: Option<&'a str>,
    counted: bool,
}

impl<'a> From<&'a Retrying> for Why<'a> {
    fn from(retrying: &'a Retrying) -> Self {
        let Retrying { attempt, reason, message, counted } = retrying;
        // Stores keep the name of the reason.
        let reason = Some(reason.parse().unwrap_or(Reason::Unknown));
        Self { attempt: Some(*attempt), reason, message: Some(message), counted: *counted }
    }
}

/// The cause of a former end, which keeps its number.
impl<'a> From<&'a Outcome> for Why<'a> {
    fn from(outcome: &'a Outcome) -> Self {
        let (reason, message) = (ending_reason(outcome.ending), outcome.message.as_deref());
        Self { attempt: None, reason, message, counted: true }
    }
}

impl<'a> From<&'a Failure> for Why<'a> {
    fn from(failure: &'a Failure) -> Self {
        let reason = Some(reason(failure.reason));
        Self { reason, message: Some(&failure.message), ..Self::default() }
    }
}

struct Writer<'a> {
    form: Form,
    entry: &'a Entry,
    reading: Reading<'a>,
    /// Lines that are not yet written, where several come in one event.
    batch: Option<&'a mut Batch>,
}

impl Writer<'_> {
    fn entry(&mut self, out: &mut Vec<u8>, after: Seq) -> anyhow::Result<()> {
        match &self.entry.body {
            body if !self.reading.shape.types.has_any_of(body) => {}
            EntryBody::Status(status) => self.status(out, *status, &Why::default()),
            EntryBody::Stalled(failure) => self.status(out, JobStatus::Running, &failure.into()),
            EntryBody::Retry(retrying) => self.status(out, JobStatus::Pending, &retrying.into()),
            EntryBody::Step(_) | EntryBody::Complete(_) | EntryBody::FormerEnd(_)
                if self.entry.last_seq <= after => {}
            EntryBody::Step(change) => self.step(out, change),
            EntryBody::Complete(outcome) => self.complete(out, outcome),
            EntryBody::FormerEnd(outcome) => self.status(out, outcome.ending.into(), &outcome.into()),
            EntryBody::Output(frames) => {
                for frame in decode_all(frames.clone()) {
                    self.frame(out, &frame?, after);
                }
            }
        }
        Ok(())
    }

    fn frame(&mut self, out: &mut Vec<u8>, frame: &Frame, after: Seq) {
        match &frame.body {
            Body::Output { bytes, .. } if self.form == Form::Bytes => {
                debug_assert!(after == Seq::ZERO, "the plain output is always read from its start");
                out.extend_from_slice(bytes);
            }
            Body::Output { stream, end, bytes } => {
                let place = (self.form, self.reading, self.entry);
                let lines = FrameLines::of(place, frame, (*stream, *end), bytes, after);
                match &mut self.batch {
                    Some(batch) => lines.gather(out, batch),
                    None => lines.write(out),
                }
            }
            Body::Cut { reason, .. } if frame.last_seq() > after.0 => {
                let reason = match reason {
                    CutReason::SizeLimit => GapReason::OutputLimit,
                    CutReason::DiskFull => GapReason::DiskFull,
                    CutReason::Damaged => GapReason::JournalDamaged,
                    CutReason::Lost => GapReason::RunnerLost,
                };
                let (from, to) = (frame.first_seq.max(after.0 + 1), frame.last_seq());
                let stream_id = self.entry.stream.to_string();
                let gap = GapEvent { stream_id, from, to: Some(to), reason };
                self.event(out, Some(to), EventName::Gap, &gap);
            }
            Body::Cut { .. } | Body::Hello { .. } | Body::Exit(_) | Body::KeepAlive | Body::Lost(_) => {}
        }
    }

    fn status(&mut self, out: &mut Vec<u8>, to: JobStatus, why: &Why<'_>) {
        let has_id = why.counted || matches!(self.form, Form::Events(_, Ids::Positions));
        let status_event = StatusEvent {
            stream_id: self.entry.stream.to_string(),
            status: status(to),
            attempt: why.attempt,
            reason: why.reason,
            message: why.message.map(str::to_owned),
            job: event_job(self.entry),
            timestamp: time(self.entry.at),
        };
        let number = has_id.then_some(self.entry.last_seq.0);
        self.event(out, number, EventName::Status, &status_event);
    }

    fn step(&mut self, out: &mut Vec<u8>, change: &StepChange) {
        let step = StepEvent {
            stream_id: self.entry.stream.to_string(),
            seq: self.entry.last_seq.0,
            name: change.name.to_string(),
            state: step_state(change.state),
            attempt: change.attempt,
            error: change.error.as_ref().map(step_error),
            timestamp: time(self.entry.at),
        };
        self.event(out, Some(step.seq), EventName::Step, &step);
    }

    fn complete(&mut self, out: &mut Vec<u8>, outcome: &Outcome) {
        let complete = CompleteEvent {
            stream_id: self.entry.stream.to_string(),
            seq: self.entry.last_seq.0,
            status: status(outcome.ending.into()),
            exit_code: outcome.exit_code,
            reason: ending_reason(outcome.ending),
            message: outcome.message.clone(),
            duration_ms: millis(outcome.duration),
            job: event_job(self.entry),
            timestamp: time(self.entry.at),
        };
        self.event(out, Some(complete.seq), EventName::Complete, &complete);
    }

    /// Writes an event of the entry, behind the lines that were gathered before it.
    fn event(&mut self, out: &mut Vec<u8>, number: Option<u64>, name: EventName, data: &impl Serialize) {
        if let Some(batch) = &mut self.batch {
            batch.flush(out, self.form);
        }
        let id = number.and_then(|number| self.form.id(self.entry.position, number));
        event(out, self.form, id.as_deref(), name, data);
    }
}

#[cfg(test)]
mod tests;
