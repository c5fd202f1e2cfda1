//! Quota of open event streams for each key: they last for hours, so one key could hold every connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{StatusCode, header};
use rdev_domain::KeyId;

use tokio_util::sync::CancellationToken;

use crate::error::ApiError;
use crate::metrics::{self, OpenStream};
use rdev_api_types::ErrorCode;

/// Seconds after which a caller beyond its quota may try again.
const RETRY_SECONDS: u64 = 10;

/// Quota of open streams for each key.
pub(super) struct StreamQuota {
    /// Largest number of streams of one key.
    max: usize,
    /// Cancelled when all streams are to end.
    drain: CancellationToken,
    open: Mutex<HashMap<KeyId, OpenOfKey>>,
}

/// Open streams of one key.
struct OpenOfKey {
    count: usize,
    /// Cancelled when the streams are to end: with the key, and with all others.
    ended: CancellationToken,
}

impl StreamQuota {
    /// Allows each key `max` streams, which end on `drain`.
    pub(super) fn new(max: usize, drain: CancellationToken) -> Arc<Self> {
        Arc::new(Self { max, drain, open: Mutex::default() })
    }

    /// Ends the streams of the keys that are no longer accepted.
    pub(super) fn end_where(&self, is_gone: impl Fn(&KeyId) -> bool) {
        let all = self.open();
        all.iter().filter(|(key, _)| is_gone(key)).for_each(|(_, of_key)| of_key.ended.cancel());
    }

    /// Returns a permit for one more stream.
    ///
    /// # Errors
    /// 429 `TOO_MANY_STREAMS` when the key has as many open as it may.
    pub(super) fn acquire(self: &Arc<Self>, key: KeyId) -> Result<StreamPermit, ApiError> {
        let mut all = self.open();
        let of_key =
            all.entry(key.clone()).or_insert_with(|| OpenOfKey { count: 0, ended: self.drain.child_token() });
        let open = of_key.count;
        if open >= self.max {
            metrics::stream_refused();
            let message = format!("this key has {open} event streams open, as many as it may: end one first");
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyStreams, message)
                .with_header(header::RETRY_AFTER, RETRY_SECONDS.into()));
        }
        of_key.count += 1;
        let ended = of_key.ended.clone();
        drop(all);
        Ok(StreamPermit { quota: self.clone(), key, ended, _open: OpenStream::begin() })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<KeyId, OpenOfKey>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Permit of one stream, released when this is dropped.
pub(super) struct StreamPermit {
    quota: Arc<StreamQuota>,
    key: KeyId,
    ended: CancellationToken,
    _open: OpenStream,
}

impl StreamPermit {
    /// Waits until the stream is to end.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut all = self.quota.open();
        if let Some(of_key) = all.get_mut(&self.key) {
            of_key.count -= 1;
            if of_key.count == 0 {
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
        let quota = StreamQuota::new(2, CancellationToken::new());
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

    #[tokio::test]
    async fn the_streams_of_a_key_end_with_the_key_and_all_end_with_the_server() {
        let drain = CancellationToken::new();
        let quota = StreamQuota::new(2, drain.clone());
        let acquire = |key: &str| quota.acquire(key.parse().unwrap()).ok().unwrap();
        let (gone, other) = (acquire("ops"), acquire("bot"));
        quota.end_where(|_| false);
        assert!(!gone.ended.is_cancelled());
        quota.end_where(|key| key.as_str() == "ops");
        gone.ended().await;
        assert!(!other.ended.is_cancelled());
        drop(gone);
        assert!(!acquire("ops").ended.is_cancelled(), "a key that is accepted again has new streams");
        drain.cancel();
        other.ended().await;
    }
}
