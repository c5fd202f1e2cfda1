//! Quota of open event streams for each key: they last for hours, so one key could hold every connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{StatusCode, header};
use rdev_domain::KeyId;

use crate::error::ApiError;
use crate::metrics::{self, OpenStream};

/// Seconds after which a caller beyond its quota may try again.
const RETRY_SECONDS: u64 = 10;

/// Quota of open streams for each key.
pub(super) struct StreamQuota {
    /// Largest number of streams of one key.
    max: usize,
    open: Mutex<HashMap<KeyId, usize>>,
}

impl StreamQuota {
    /// Allows each key `max` streams.
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, open: Mutex::default() })
    }

    /// Returns a permit for one more stream.
    ///
    /// # Errors
    /// 429 `TOO_MANY_STREAMS` when the key has as many open as it may.
    pub(super) fn acquire(self: &Arc<Self>, key: KeyId) -> Result<StreamPermit, ApiError> {
        let mut all = self.open();
        let open = all.entry(key.clone()).or_default();
        if *open >= self.max {
            metrics::stream_refused();
            let message = format!("this key has {open} event streams open, as many as it may: end one first");
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_STREAMS", message)
                .with_header(header::RETRY_AFTER, RETRY_SECONDS.into()));
        }
        *open += 1;
        drop(all);
        Ok(StreamPermit { quota: self.clone(), key, _open: OpenStream::begin() })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<KeyId, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Permit of one stream, released when this is dropped.
pub(super) struct StreamPermit {
    quota: Arc<StreamQuota>,
    key: KeyId,
    _open: OpenStream,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut all = self.quota.open();
        if let Some(open) = all.get_mut(&self.key) {
            *open -= 1;
            if *open == 0 {
                all.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_quota_and_no_more_and_leaves_nothing() {
        let quota = StreamQuota::new(2);
        let acquire = |key: &str| quota.acquire(key.parse().unwrap());
        let (first, second) = (acquire("ops").ok().unwrap(), acquire("ops").ok().unwrap());
        assert!(acquire("ops").is_err());
        let other = acquire("bot").ok().unwrap();
        drop(first);
        let third = acquire("ops").ok().unwrap();
        assert!(acquire("ops").is_err());
        drop((second, third, other));
        assert!(quota.open().is_empty());
    }
}
