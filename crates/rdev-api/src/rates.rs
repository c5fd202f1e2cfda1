//! Rates of keys: how many requests each may make, and how that is told.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use rdev_api_types::{ErrorCode, RATE_LIMIT, RATE_LIMIT_POLICY};
use rdev_domain::KeyId;

use crate::error::ApiError;

/// Seconds of a minute, in which a rate is configured.
const MINUTE: u32 = 60;

/// Rates of keys. Clones share them.
#[derive(Clone)]
pub(crate) struct Rates {
    limiter: Arc<DefaultKeyedRateLimiter<KeyId, StateInformationMiddleware>>,
    per_minute: NonZeroU32,
    burst: NonZeroU32,
    /// Value of `RateLimit-Policy`.
    policy: HeaderValue,
}

/// Rest of a key's rate after a request, as the headers `RateLimit` and `RateLimit-Policy` say it
/// (draft-ietf-httpapi-ratelimit-headers).
pub(crate) struct Allowance {
    policy: HeaderValue,
    /// Requests that the key may make at once.
    remaining: u32,
    /// Seconds until it has its whole burst again; of a refused request, until it may come back.
    seconds: u64,
}

impl Rates {
    /// Lets each key make `per_minute` requests, a tenth of them at once.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self::with_burst(per_minute, per_minute / 10)
    }

    /// Lets each key make `per_minute` requests, all of them at once.
    pub(crate) fn at_once(per_minute: u32) -> Self {
        Self::with_burst(per_minute, per_minute)
    }

    fn with_burst(per_minute: u32, burst: u32) -> Self {
        let [per_minute, burst] =
            [per_minute, burst].map(|number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN));
        let quota = Quota::per_minute(per_minute).allow_burst(burst);
        let window = seconds_for(burst.get(), per_minute);
        let policy = ascii(format!("\"key\";q={burst};w={window}"));
        Self { limiter: Arc::new(RateLimiter::keyed(quota).with_middleware()), per_minute, burst, policy }
    }

    /// Counts a request of a key. Returns what is left, and whether the request is within the rate.
    pub(crate) fn take(&self, key: &KeyId) -> (Allowance, Result<(), ApiError>) {
        let allowance = |remaining, seconds| Allowance { policy: self.policy.clone(), remaining, seconds };
        let until = match self.limiter.check_key(key) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let missing = self.burst.get().saturating_sub(remaining);
                return (allowance(remaining, seconds_for(missing, self.per_minute)), Ok(()));
            }
            Err(until) => until,
        };
        let wait = until.wait_time_from(DefaultClock::default().now());
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let message = format!("too many requests with this key; try again in {seconds} s");
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, message)
            .with_header(header::RETRY_AFTER, HeaderValue::from(seconds));
        (allowance(0, seconds), Err(error))
    }
}

/// Returns the seconds in which a key gets so many requests, rounded up.
fn seconds_for(requests: u32, per_minute: NonZeroU32) -> u64 {
    (u64::from(requests) * u64::from(MINUTE)).div_ceil(per_minute.get().into())
}

fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("visible ASCII")
}

impl Allowance {
    /// Adds the headers to a response.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let left = ascii(format!("\"key\";r={};t={}", self.remaining, self.seconds));
        headers.insert(HeaderName::from_static(RATE_LIMIT_POLICY), self.policy.clone());
        headers.insert(HeaderName::from_static(RATE_LIMIT), left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(allowance: &Allowance) -> [String; 2] {
        let mut headers = HeaderMap::new();
        allowance.tell(&mut headers);
        [RATE_LIMIT_POLICY, RATE_LIMIT].map(|name| headers[name].to_str().unwrap().to_owned())
    }

    #[test]
    fn each_request_tells_what_is_left() {
        let key: KeyId = "ops".parse().unwrap();
        assert_eq!(told(&Rates::new(20).take(&key).0), ["\"key\";q=2;w=6", "\"key\";r=1;t=3"]);
        // The next one would come after a minute.
        let rates = Rates::new(1);
        let (last, passed) = rates.take(&key);
        passed.unwrap();
        assert_eq!(told(&last), ["\"key\";q=1;w=60", "\"key\";r=0;t=60"]);
        let (none, refused) = rates.take(&key);
        refused.unwrap_err();
        assert!(told(&none)[1].starts_with("\"key\";r=0;t="), "{:?}", told(&none));
        rates.take(&"other".parse().unwrap()).1.unwrap();
    }

    #[test]
    fn the_policy_is_that_of_the_burst() {
        for (per_minute, policy) in
            [(600, "\"key\";q=60;w=6"), (7, "\"key\";q=1;w=9"), (0, "\"key\";q=1;w=60")]
        {
            let (allowance, _) = Rates::new(per_minute).take(&"ops".parse().unwrap());
            assert_eq!(told(&allowance)[0], policy, "{per_minute}");
        }
    }
}
