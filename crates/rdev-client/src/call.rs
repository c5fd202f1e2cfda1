//! Calls that change something: a POST or DELETE, with its idempotency key.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;

use rdev_api_types::{Data, IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED, Meta};
use reqwest::header::HeaderValue;
use reqwest::{Method, RequestBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Client, Error, Result};

/// Body of a POST that has none.
pub(crate) const NO_BODY: Option<&()> = None;

/// Call that is sent when it is awaited, and gives the resource of its answer.
#[derive(Debug)]
#[must_use = "a call is sent when it is awaited"]
pub struct Call<T> {
    client: Client,
    request: RequestBuilder,
    idempotency_key: Option<String>,
    answer: PhantomData<fn() -> T>,
}

/// Answer to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// Resource as it is now.
    pub data: T,
    /// Facts about the answer.
    pub meta: Meta,
    /// True where the idempotency key was used before: this is the first answer again.
    pub is_replayed: bool,
}

impl Client {
    /// Begins a POST that gives one resource.
    pub(crate) fn post<T>(&self, segments: &[&str], body: Option<&impl Serialize>) -> Call<T> {
        let request = self.request(Method::POST, segments);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        Call::new(self.clone(), request)
    }

    /// Begins a DELETE that gives one resource.
    pub(crate) fn delete<T>(&self, segments: &[&str]) -> Call<T> {
        Call::new(self.clone(), self.request(Method::DELETE, segments))
    }
}

impl<T> Call<T> {
    fn new(client: Client, request: RequestBuilder) -> Self {
        Self { client, request, idempotency_key: None, answer: PhantomData }
    }

    /// Sets the idempotency key: a repetition with the same key, within 24 hours, gives the first answer again.
    pub fn idempotency_key(mut self, key: &str) -> Self {
        self.idempotency_key = Some(key.to_owned());
        self
    }
}

impl<T: DeserializeOwned> Call<T> {
    /// Sends the call and returns the whole answer.
    ///
    /// # Errors
    /// [`Error::Api`] where the server refuses it; after any other error the call may have been accepted.
    pub async fn answer(self) -> Result<Answer<T>> {
        let request = match &self.idempotency_key {
            Some(key) => {
                let value = HeaderValue::try_from(key).map_err(|_| Error::IdempotencyKey)?;
                self.request.header(IDEMPOTENCY_KEY, value)
            }
            None => self.request,
        };
        let (headers, Data { data, meta }) = self.client.json(request).await?;
        let is_replayed = headers.get(IDEMPOTENT_REPLAYED).is_some_and(|value| value == "true");
        Ok(Answer { data, meta, is_replayed })
    }
}

impl<T: DeserializeOwned + 'static> IntoFuture for Call<T> {
    type Output = Result<T>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { Ok(self.answer().await?.data) })
    }
}
