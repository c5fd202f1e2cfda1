//! Calls on workers of the pool.

use rdev_api_types::{DrainBody, Pool, Worker};

use crate::{Call, Client, Result};

impl Client {
    /// Returns the workers of the pool, by name.
    ///
    /// # Errors
    /// As every call.
    pub async fn workers(&self) -> Result<Vec<Worker>> {
        Ok(self.page(&["workers"], &()).await?.items)
    }

    /// Returns a worker.
    ///
    /// # Errors
    /// [`Error::Api`](crate::Error::Api) with `WORKER_NOT_FOUND`.
    pub async fn worker(&self, id: &str) -> Result<Worker> {
        self.get(&["workers", id]).await
    }

    /// Returns the pool in numbers.
    ///
    /// # Errors
    /// As every call.
    pub async fn pool(&self) -> Result<Pool> {
        self.get(&["workers", "pool"]).await
    }

    /// Lets a worker take no new task, or with `drain: false` take tasks again. Its running tasks go on. The setting
    /// survives restarts.
    pub fn drain_worker(&self, id: &str, drain: bool) -> Call<Worker> {
        self.post(&["workers", id, "drain"], Some(&DrainBody { drain }))
    }
}
