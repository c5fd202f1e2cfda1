//! The signals that stop the server.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Returns a token that is cancelled by SIGTERM, SIGINT, and by SIGHUP, which a closing terminal sends, unless SIGHUP was
/// ignored at the start.
///
/// # Errors
/// When the signals cannot be listened for, or /proc does not say which ones are ignored.
pub(crate) fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let mut kinds = vec![SignalKind::terminate(), SignalKind::interrupt()];
    // `nohup` has it ignored: whoever starts rdev so wants it to outlive the terminal.
    if !is_ignored(SignalKind::hangup())? {
        kinds.push(SignalKind::hangup());
    }
    let stop = CancellationToken::new();
    for kind in kinds {
        let (mut signal, stop) = (signal(kind)?, stop.clone());
        tokio::spawn(async move {
            signal.recv().await;
            stop.cancel();
        });
    }
    Ok(stop)
}

/// Tells whether this process was started with the signal ignored.
fn is_ignored(signal: SignalKind) -> anyhow::Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).context("SigIgn")?;
    let mask = u64::from_str_radix(mask.trim(), 16).context("SigIgn")?;
    Ok(mask >> (signal.as_raw_value() - 1) & 1 == 1)
}
