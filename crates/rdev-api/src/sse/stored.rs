//! What is stored of a command, as one answer that ends where the log ends.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::stream::try_unfold;
use futures_util::{Stream, TryStreamExt};
use rdev_domain::{Entry, Error, Resource, Seq};
use rdev_engine::{LogReader, Next};

use super::render::{self, Form, Unsent};
use super::{is_counted, missing};

/// A command's output that is about to be sent.
pub(crate) struct Stored {
    follow: LogReader,
    form: Form,
    /// What was read already.
    read: VecDeque<Next>,
    /// The last event that was sent.
    last: Seq,
    /// The events from the first to this one are missing.
    missing_to: Seq,
}

impl Stored {
    /// Reads as far as it takes to know whether the beginning is there.
    ///
    /// # Errors
    /// `NotFound` when the command was removed just now.
    pub(crate) async fn begin(mut follow: LogReader, form: Form) -> rdev_domain::Result<Self> {
        let (mut read, mut missing_to, mut begun) = (VecDeque::new(), Seq::ZERO, false);
        while !begun && let Some(next) = follow.ready().await? {
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
                    let stream = follow.stream().map_or("", |stream| stream.as_str());
                    return Err(Error::not_found(Resource::Stream, stream));
                }
                Next::Pruned(_) => {}
            }
            read.push_back(next);
        }
        Ok(Self { follow, form, read, last: Seq::ZERO, missing_to })
    }

    /// The events that are missing at its beginning, if any are.
    pub(crate) fn missing(&self) -> Option<String> {
        (self.missing_to > Seq::ZERO).then(|| format!("1-{}", self.missing_to.0))
    }

    /// The bytes of the answer.
    pub(crate) fn bytes(self) -> impl Stream<Item = anyhow::Result<Bytes>> {
        // Once the answer has begun, cutting it is the only way left to say that it is not whole.
        try_unfold(self, |mut stored| async { Ok(stored.next().await?.map(|bytes| (bytes, stored))) })
            .inspect_err(|error: &anyhow::Error| {
                tracing::error!(error = format!("{error:#}"), "an output could not be read to its end");
            })
    }

    async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        let next = match self.read.pop_front() {
            Some(next) => Some(next),
            None => self.follow.ready().await?,
        };
        let Some(next) = next else { return Ok(None) };
        let mut out = Vec::new();
        match next {
            Next::Entries(entries) => {
                entries.iter().try_for_each(|entry| self.entry(&mut out, entry))?;
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

    /// In plain bytes only the head of the answer can tell of a gap.
    fn gap(&mut self, out: &mut Vec<u8>, from: u64, to: Option<u64>) -> anyhow::Result<()> {
        let told = to.is_some_and(|to| to <= self.missing_to.0);
        anyhow::ensure!(
            self.form != Form::Bytes || told,
            "the events from {from} on were removed while they were read"
        );
        if let Some(stream) = self.follow.stream() {
            render::gap(out, self.form, stream, (from, to), Unsent::Removed);
        }
        self.last = to.map_or(self.last, Seq);
        Ok(())
    }
}
