//! The share of event streams that one key may have open: they last for hours, so one key could hold every place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use rdev_domain::KeyId;

use super::Streams;
use crate::error::ApiError;
use crate::extract::Caller;
use crate::metrics::{self, OpenStream};
use crate::server::Handoff;

/// Seconds after which a caller may ask again that has as many streams as it may.
const RETRY_SECONDS: u64 = 10;

/// Share that an event stream takes of its key and of its connection, before anything else is done for it.
pub(crate) struct Opening {
    pub(super) share: Share,
    /// The connection, where it can be written to without hyper.
    pub(super) handoff: Option<Handoff>,
}

impl<S: Send + Sync> FromRequestParts<S> for Opening
where
    Streams: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Caller(caller) = Caller::from_request_parts(parts, state).await?;
        let share = Streams::from_ref(state).shares.take(caller.key)?;
        Ok(Self { share, handoff: parts.extensions.get::<Handoff>().cloned() })
    }
}

/// The streams that are open, by key.
pub(super) struct Shares {
    /// Streams of one key.
    max: usize,
    open: Mutex<HashMap<KeyId, usize>>,
}

impl Shares {
    pub(super) fn of(max: usize) -> Arc<Self> {
        Arc::new(Self { max, open: Mutex::default() })
    }

    fn take(self: Arc<Self>, key: KeyId) -> Result<Share, ApiError> {
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
        Ok(Share { shares: self, key, _open: OpenStream::begin() })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<KeyId, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One stream of a key's share, until this is dropped.
pub(super) struct Share {
    shares: Arc<Shares>,
    key: KeyId,
    _open: OpenStream,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut all = self.shares.open();
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
    fn a_key_has_its_share_and_no_more_and_leaves_nothing() {
        let shares = Shares::of(2);
        let take = |key: &str| shares.clone().take(key.parse().unwrap());
        let (first, second) = (take("ops").ok().unwrap(), take("ops").ok().unwrap());
        assert!(take("ops").is_err());
        let other = take("bot").ok().unwrap();
        drop(first);
        let third = take("ops").ok().unwrap();
        assert!(take("ops").is_err());
        drop((second, third, other));
        assert!(shares.open().is_empty());
    }
}
