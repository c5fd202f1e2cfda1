//! The stored output of a job, as one response that ends where the log ends.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::stream::try_unfold;
use futures_util::{Stream, TryStreamExt};
use rdev_domain::{Entry, Error, Resource, Seq};
use rdev_engine::{LogReader, Next};

use super::event_id::{is_counted, missing};
use super::parts::parts;
use super::render::{self, Form, Unsent};

/// Size from which on a piece of the response takes no more: short lines grow to many times their size.
const PIECE_BYTES: usize = 256 * 1024;

/// Output of a job that is about to be sent.
pub(crate) struct Stored {
    reader: LogReader,
    form: Form,
    /// Pages that were read already.
    read: VecDeque<Next>,
    /// Number of the last event sent.
    last: Seq,
    /// Number of the last event missing at the beginning.
    missing_to: Seq,
}

impl Stored {
    /// Reads until the first event, to know whether the beginning is missing.
    ///
    /// # Errors
    /// `NotFound` when retention has just removed the job.
    pub(crate) async fn begin(mut reader: LogReader, form: Form) -> rdev_domain::Result<Self> {
        let (mut read, mut missing_to, mut begun) = (VecDeque::new(), Seq::ZERO, false);
        while !begun && let Some(next) = reader.ready().await? {
            match &next {
                Next::Entries(entries) => {
                    let first = entries.iter().position(|entry| is_counted(entry));
                    let beginning = &entries[..first.map_or(entries.len(), |first| first + 1)];
                    let missing = beginning.iter().filter_map(|entry| missing(entry, Seq::ZERO));
                    missing_to = missing.map(|(_, to)| Seq(to)).fold(missing_to, Seq::max);
                    begun = first.is_some();
                }
                Next::Missing(Some(last)) => (missing_to, begun) = (*last, true),
                Next::Missing(None) => {
                    let stream = reader.stream().map_or("", |stream| stream.as_str());
                    return Err(Error::not_found(Resource::Stream, stream));
                }
                Next::Pruned(_) => {}
            }
            read.push_back(next);
        }
        Ok(Self { reader, form, read, last: Seq::ZERO, missing_to })
    }

    /// Returns the range of events that are missing at the beginning, if any.
    pub(crate) fn missing(&self) -> Option<String> {
        (self.missing_to > Seq::ZERO).then(|| format!("1-{}", self.missing_to.0))
    }

    /// Returns the bytes of the response.
    pub(crate) fn bytes(self) -> impl Stream<Item = anyhow::Result<Bytes>> {
        // Once the response has begun, cutting it is the only way left to signal that it is incomplete.
        try_unfold(self, |mut stored| async { Ok(stored.next().await?.map(|bytes| (bytes, stored))) })
            .inspect_err(|error: &anyhow::Error| {
                tracing::error!(
                    error = format!("{error:#}"),
                    "reading an output failed, the response is cut"
                );
            })
    }

    async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        let next = match self.read.pop_front() {
            Some(next) => Some(next),
            None => self.reader.ready().await?,
        };
        let Some(next) = next else { return Ok(None) };
        let mut out = Vec::new();
        match next {
            Next::Entries(entries) => {
                let mut parts: VecDeque<_> = entries.into_iter().flat_map(parts).collect();
                while out.len() < PIECE_BYTES
                    && let Some(part) = parts.pop_front()
                {
                    self.entry(&mut out, &part)?;
                }
                if !parts.is_empty() {
                    self.read.push_front(Next::Entries(parts.into()));
                }
            }
            Next::Missing(Some(last)) if last <= self.last => {}
            Next::Missing(last) => self.gap(&mut out, self.last.next().0, last.map(|last| last.0))?,
            Next::Pruned(_) => {}
        }
        Ok(Some(out.into()))
    }

    fn entry(&mut self, out: &mut Vec<u8>, entry: &Entry) -> anyhow::Result<()> {
        if let Some((from, to)) = missing(entry, self.last) {
            self.gap(out, from, Some(to))?;
        }
        render::entry(out, self.form, entry, Seq::ZERO)?;
        self.last = entry.last_seq.max(self.last);
        Ok(())
    }

    /// Writes the announcement of a gap. Plain bytes have none: there only the head of the response announces it.
    fn gap(&mut self, out: &mut Vec<u8>, from: u64, to: Option<u64>) -> anyhow::Result<()> {
        let announced = to.is_some_and(|to| to <= self.missing_to.0);
        anyhow::ensure!(
            self.form != Form::Bytes || announced,
            "the events from {from} on were removed while they were read"
        );
        if let Some(stream) = self.reader.stream() {
            render::gap(out, self.form, stream, (from, to), Unsent::Removed);
        }
        self.last = to.map_or(self.last, Seq);
        Ok(())
    }
}
