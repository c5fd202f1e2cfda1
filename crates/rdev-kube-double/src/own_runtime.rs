//! Runtime of the double, so that a test that blocks does not block it.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

const WORKERS: usize = 2;
/// Time after which unfinished tasks are abandoned.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// A runtime that may be dropped anywhere.
pub(crate) struct OwnRuntime {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl OwnRuntime {
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("kube-double")
            .enable_all()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        // A thread of another runtime must not block on the shutdown.
        let end = std::thread::spawn(move || runtime.shutdown_timeout(END_TIMEOUT));
        if end.join().is_err() {
            tracing::error!("the runtime of the cluster did not end");
        }
    }
}
