//! The client: how a request is sent, and its answer read.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rdev_api_types::{Data, Details, ErrorBody, List, Meta, WaitQuery};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::address::Address;
use crate::{ApiFailure, Error, Reconnect, Result};

/// Largest answer in JSON: a page of 200 entries is far smaller.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Client of one server. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) http: reqwest::Client,
    pub(crate) address: Address,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) answer_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) reconnect: Reconnect,
}

/// Page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// Entries of the page.
    pub items: Vec<T>,
    /// Cursor of the next page; `None` on the last page.
    pub next_cursor: Option<String>,
}

impl Client {
    /// Begins a request to a path, given as its segments.
    pub(crate) fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let request = self.inner.http.request(method, self.inner.address.url(segments));
        match &self.inner.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        }
    }

    /// Reads one resource.
    pub(crate) async fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<T> {
        let answer: Data<T> = self.json(self.request(Method::GET, segments)).await?.1;
        Ok(answer.data)
    }

    /// Reads one resource, whose answer the server may hold back for so many seconds.
    pub(crate) async fn get_waiting<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        seconds: u32,
    ) -> Result<T> {
        let wait = WaitQuery { wait: Some(seconds) };
        let request = self.request(Method::GET, segments).query(&wait).header(ACCEPT, "application/json");
        let limit = self.inner.answer_timeout + Duration::from_secs(seconds.into());
        let answer = async {
            let answer = success(request.send().await.map_err(Error::Transport)?).await?;
            serde_json::from_slice::<Data<T>>(&body(answer).await?).map_err(Error::Shape)
        };
        let answer = timeout(limit, answer).await;
        answer.unwrap_or(Err(Error::Timeout { what: "an answer", limit })).map(|answer| answer.data)
    }

    /// Reads one page of resources.
    pub(crate) async fn page<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &(impl Serialize + Sync),
    ) -> Result<Page<T>> {
        let answer: List<T> = self.json(self.request(Method::GET, segments).query(query)).await?.1;
        Ok(Page { items: answer.data, next_cursor: answer.meta.next_cursor })
    }

    /// Sends a request and reads its answer as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<(HeaderMap, T)> {
        let read = async {
            let answer = request.header(ACCEPT, "application/json").send().await.map_err(Error::Transport)?;
            let answer = success(answer).await?;
            let headers = answer.headers().clone();
            let body = body(answer).await?;
            Ok((headers, serde_json::from_slice(&body).map_err(Error::Shape)?))
        };
        self.in_time(read).await
    }

    /// Sends a request and reads its answer as JSON, whatever its status.
    pub(crate) async fn json_of_any_status<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let read = async {
            let body = body(request.send().await.map_err(Error::Transport)?).await?;
            serde_json::from_slice(&body).map_err(Error::Shape)
        };
        self.in_time(read).await
    }

    /// Sends a request and returns its answer, whose body is still to come.
    pub(crate) async fn open(&self, request: RequestBuilder) -> Result<Response> {
        self.in_time(async { success(request.send().await.map_err(Error::Transport)?).await }).await
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T>>) -> Result<T> {
        let limit = self.inner.answer_timeout;
        timeout(limit, answer).await.unwrap_or(Err(Error::Timeout { what: "an answer", limit }))
    }
}

/// Turns an answer that tells of a failure into an error.
async fn success(answer: Response) -> Result<Response> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let retry_after = seconds.map(Duration::from_secs);
    let body = body(answer).await?;
    let failure = match serde_json::from_slice(&body) {
        Ok(ErrorBody { error, meta: Meta { request_id, .. } }) => ApiFailure {
            status: status.as_u16(),
            code: error.code,
            message: error.message,
            in_the_way: match &error.details {
                Some(Details::Job(job)) => Some(job.clone()),
                Some(Details::Fields(_)) | None => None,
            },
            details: match error.details {
                Some(Details::Fields(fields)) => fields,
                Some(Details::Job(_)) | None => Vec::new(),
            },
            request_id: Some(request_id),
            retry_after,
        },
        // A proxy's page, say: its status is all that is known.
        Err(_) => ApiFailure {
            status: status.as_u16(),
            code: ApiFailure::NO_CODE.to_owned(),
            message: format!("the answer is not rdev's: {status}"),
            details: Vec::new(),
            in_the_way: None,
            request_id: None,
            retry_after,
        },
    };
    Err(Error::Api(Box::new(failure)))
}

/// Reads a whole body.
async fn body(mut answer: Response) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(bytes) = answer.chunk().await.map_err(Error::Transport)? {
        if body.len() + bytes.len() > ANSWER_BYTES_MAX {
            return Err(Error::TooLarge { limit: ANSWER_BYTES_MAX });
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body)
}
