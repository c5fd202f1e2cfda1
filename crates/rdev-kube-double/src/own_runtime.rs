//! The double has a runtime of its own, so that a test that blocks does not block it.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

const WORKERS: usize = 2;
/// Tasks that do not end with their runtime in this time are left.
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
        // It may not be waited for on a thread of another one.
        let end = std::thread::spawn(move || runtime.shutdown_timeout(END_TIMEOUT));
        if end.join().is_err() {
            tracing::error!("the runtime of the cluster did not end");
        }
    }
}
