//! Calls on the server itself.

use rdev_api_types::{Health, ReadinessAnswer, ReadinessPart, ReadinessQuery};
use reqwest::Method;

use crate::{Client, Download, Result};

impl Client {
    /// Returns the health of the process.
    ///
    /// # Errors
    /// [`Error::Transport`](crate::Error::Transport) or [`Error::Timeout`](crate::Error::Timeout) where it is not alive.
    pub async fn health(&self) -> Result<Health> {
        Ok(self.json(self.request(Method::GET, &["health"])).await?.1)
    }

    /// Returns the status of each component, also where one is down; with a part, the readiness for that part alone.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) where something else than rdev answers.
    pub async fn ready(&self, only: Option<ReadinessPart>) -> Result<ReadinessAnswer> {
        let request =
            self.request(Method::GET, &["ready"]).query(&ReadinessQuery { only: only.map(Into::into) });
        self.json_of_any_status(request).await
    }

    /// Returns the metrics in Prometheus' text format.
    ///
    /// # Errors
    /// As every call.
    pub async fn metrics(&self) -> Result<String> {
        self.text(&["metrics"]).await
    }

    /// Returns the OpenAPI document.
    ///
    /// # Errors
    /// As every call.
    pub async fn openapi(&self) -> Result<String> {
        self.text(&["openapi.json"]).await
    }

    async fn text(&self, segments: &[&str]) -> Result<String> {
        let body = Download::open(self, self.request(Method::GET, segments), "*/*").await?.bytes().await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}
