//! Cache of rendered entries, shared by all readers of a stream.

use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use rdev_domain::{Entry, EntryBody, Position, Seq};

use super::agent::AgentForm;
use super::render::{self, Form, Reading};
use super::shape::Shape;

/// Bytes of rendered entries that are kept.
const CACHE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Number of entries that the cache expects; only a hint.
const CACHE_ENTRIES: usize = 256;
/// Memory of an entry beside its bytes, roughly.
const ENTRY_OVERHEAD_BYTES: u64 = 64;

/// Entry, first number of the part of it, form and shape of a rendering.
type Rendering = (Position, Seq, Form, Shape);

/// Cache of rendered entries and parts of them, by position, number, form and shape.
#[derive(Clone)]
pub(super) struct RenderCache(Arc<Cache<Rendering, Bytes, ByBytes>>);

#[derive(Clone)]
struct ByBytes;

impl Weighter<Rendering, Bytes> for ByBytes {
    fn weight(&self, _: &Rendering, bytes: &Bytes) -> u64 {
        bytes.len() as u64 + ENTRY_OVERHEAD_BYTES
    }
}

impl Default for RenderCache {
    fn default() -> Self {
        Self(Arc::new(Cache::with_weighter(CACHE_ENTRIES, CACHE_BYTES_MAX, ByBytes)))
    }
}

impl RenderCache {
    /// Returns all events of an entry, rendered once for all readers of one shape.
    pub(super) fn whole(&self, form: Form, reading: Reading<'_>, entry: &Entry) -> anyhow::Result<Bytes> {
        let render = || {
            let mut out = Vec::new();
            render::entries_read_by(&mut out, form, reading, (entry, &[]), Seq::ZERO)?;
            Ok(out.into())
        };
        match entry.body {
            // The cache may still hold the rendering of the time when this entry was the end.
            EntryBody::FormerEnd(_) => render(),
            _ => {
                let agent = reading.agent.map_or(AgentForm::Raw, |lines| lines.form);
                let shape = Shape { agent, ..reading.shape };
                self.0.get_or_insert_with(&(entry.position, entry.first_seq, form, shape), render)
            }
        }
    }
}
