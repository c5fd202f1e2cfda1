//! Background tasks of adapters, none of which ends unseen.

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

/// Spawns a task that has no end. When the task ends all the same, also by a panic, `failed` is cancelled, so that those
/// who rely on the task learn of it.
pub fn spawn_for_good(
    failed: &CancellationToken,
    task: impl Future<Output = ()> + Send + 'static,
) -> AbortHandle {
    let ended = failed.clone().drop_guard();
    let task = async move {
        task.await;
        drop(ended);
    };
    tokio::spawn(task).abort_handle()
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_task_is_told_however_it_comes() {
        let failed = CancellationToken::new();
        spawn_for_good(&failed, async { panic!("as it happens") });
        failed.cancelled().await;
        let failed = CancellationToken::new();
        spawn_for_good(&failed, async {});
        failed.cancelled().await;
    }

    #[tokio::test]
    async fn nothing_is_told_while_it_goes_on() {
        let failed = CancellationToken::new();
        let task = spawn_for_good(&failed, pending());
        tokio::task::yield_now().await;
        assert!(!failed.is_cancelled());
        task.abort();
        failed.cancelled().await;
    }
}
