//! Limits of the listeners, each with its unit.

use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::Config;

/// Connections that wait to be accepted. With tokio's 1024 a storm of clients waits for SYN retries.
pub(super) const BACKLOG: i32 = 8192;
/// Largest number of connections at the same time. Further ones wait to be accepted, unless an idle one is evicted.
const CONNECTIONS_MAX: usize = 20_000;
/// Largest number of connections at the same time on the listener of probes.
pub(crate) const PROBE_CONNECTIONS_MAX: usize = 256;
/// Percentage of its connections that the public listener leaves to one key's event streams.
const STREAMS_OF_ONE_KEY_PERCENT: usize = 75;
/// Files that connections leave to others, such as the database and runners; of a low limit they leave a quarter.
const OTHER_FILES: usize = 2_048;
/// Longest time for a request's head.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time for a request's head while more than half of all connections are taken.
pub(super) const HEAD_TIMEOUT_CROWDED: Duration = Duration::from_secs(10);
/// Longest time that a client has to close its side after the last answer.
pub(super) const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// Time after which a peer that acknowledges nothing is cut; its client can resume.
pub(super) const PEER_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of one connection that wait to be written; hyper's own limit is over 400 KiB.
pub(super) const CONNECTION_BUFFER_BYTES: usize = 64 * 1024;
/// Largest head of a request, in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Longest time that connections have to end after a stop signal. With the workers' end this stays in 10 s.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a connection that could not be accepted, mostly for want of open files.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Returns the largest number of connections: what the files that this process may have open allow.
pub(crate) fn connections_max() -> usize {
    let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
    files.map_or(CONNECTIONS_MAX, |files| CONNECTIONS_MAX.min(files - OTHER_FILES.min(files / 4)))
}

/// Returns the largest number of event streams that one key may have open.
pub(crate) fn streams_per_key(config: &Config) -> usize {
    let share = || (connections_max() * STREAMS_OF_ONE_KEY_PERCENT / 100).max(1);
    config.http.streams_per_key.map_or_else(share, |streams| streams as usize)
}

/// Raises the soft limit of open files, often 1024, as far as allowed: every subscriber is an open file.
pub(super) fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
