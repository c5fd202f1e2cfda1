//! Figures of the queue, of the pool and of the follower that counts.

use std::time::Duration;

use metrics::{describe_gauge, gauge};
use rdev_domain::{TaskKind, Timestamp};
use rdev_ports::{Backlog, BacklogState, Unread};
use rdev_services::WorkerView;

use super::ended;

/// Records the jobs that have not ended.
pub(super) fn record_backlog(backlog: &Backlog, workers: &[WorkerView], now: Timestamp) {
    describe_gauge!("rdev_pool_tasks", "Tasks of the pool that have not ended, by type and state");
    for kind in TaskKind::ALL {
        for stage in BacklogState::ALL {
            let of = backlog.tasks.iter().filter(|(k, s, _)| (*k, *s) == (kind, stage));
            let count: u64 = of.map(|(.., count)| count).sum();
            gauge!("rdev_pool_tasks", "type" => kind.as_str(), "state" => stage.as_str()).set(count as f64);
        }
    }
    describe_gauge!(
        "rdev_pool_load",
        "Load of the pool in tasks: those that run in workers which stay, or wait for one"
    );
    // A worker that leaves is no part of the pool any more: its tasks need no other worker.
    let leaves = workers.iter().filter(|worker| worker.leaves).map(|worker| worker.tasks.len() as u64).sum();
    let running = backlog.count(BacklogState::Running).saturating_sub(leaves);
    gauge!("rdev_pool_load").set((running + backlog.count(BacklogState::Waiting)) as f64);
    describe_gauge!("rdev_pool_oldest_waiting_seconds", "How long the task has waited that waits longest");
    let waited = backlog.waiting_since.map_or(Duration::ZERO, |since| now.since(since));
    gauge!("rdev_pool_oldest_waiting_seconds").set(waited.as_secs_f64());
    describe_gauge!(
        "rdev_commands_oldest_waiting_seconds",
        "How long the command has waited that waits longest, and not for a running one of its workspace"
    );
    let waited = backlog.command_waiting_since.map_or(Duration::ZERO, |since| now.since(since));
    gauge!("rdev_commands_oldest_waiting_seconds").set(waited.as_secs_f64());
    describe_gauge!("rdev_commands", "Commands of projects that have not ended, by state");
    gauge!("rdev_commands", "state" => "waiting").set(backlog.commands_waiting as f64);
    gauge!("rdev_commands", "state" => "running").set(backlog.commands_running as f64);
}

/// Records how far the follower is behind; nothing before its first opening, when nobody follows.
pub(super) fn record_lag(unread: Unread, now: Timestamp) {
    let lag = match unread {
        Unread::NoCursor => return,
        Unread::Nothing => Duration::ZERO,
        Unread::Since(at) => now.since(at),
    };
    describe_gauge!(
        "rdev_log_follower_lag_seconds",
        "Age of the oldest entry of the log that a follower has not handled"
    );
    gauge!("rdev_log_follower_lag_seconds", "follower" => ended::FOLLOWER.as_str()).set(lag.as_secs_f64());
}

/// Records the workers of the pool.
pub(super) fn record_workers(workers: &[WorkerView]) {
    let state = |worker: &WorkerView| match () {
        () if !worker.is_ready() => "not_ready",
        () if worker.draining => "draining",
        () if worker.tasks.is_empty() => "idle",
        () => "busy",
    };
    describe_gauge!("rdev_pool_workers", "Workers of the pool; a busy one has at least one task");
    for name in ["idle", "busy", "draining", "not_ready"] {
        let count = workers.iter().filter(|worker| state(worker) == name).count();
        gauge!("rdev_pool_workers", "state" => name).set(count as f64);
    }
    describe_gauge!("rdev_pool_capacity", "Tasks that the workers which take some run at once");
    let takes = workers.iter().filter(|worker| worker.takes_tasks());
    gauge!("rdev_pool_capacity").set(takes.map(|worker| f64::from(worker.capacity)).sum::<f64>());
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn a_follower_that_nobody_has_opened_has_no_lag() {
        let of = |unread| {
            let recorder = PrometheusBuilder::new().build_recorder();
            metrics::with_local_recorder(&recorder, || record_lag(unread, Timestamp::from_micros(7_000_000)));
            recorder.handle().render()
        };
        assert_eq!(of(Unread::NoCursor), "");
        for (unread, expected) in
            [(Unread::Nothing, "0"), (Unread::Since(Timestamp::from_micros(5_000_000)), "2")]
        {
            let text = of(unread);
            let line = format!("rdev_log_follower_lag_seconds{{follower=\"metrics\"}} {expected}\n");
            assert!(text.contains(&line), "{text}");
        }
    }
}
