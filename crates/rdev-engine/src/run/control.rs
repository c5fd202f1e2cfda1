//! Control of the runner in a pod: its calls, and the names of runs.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use futures_util::StreamExt;
use rdev_domain::{Job, JobId, Target};
use rdev_ports::{EXEC_START_TIMEOUT, EXEC_TURN_TIMEOUT, Exec, Pod, Pods, Stdin};
use rdev_runner::spec::encode_arguments;
use tokio::time::timeout;

/// Longest start of a program, with its wait for a turn.
pub(crate) const EXEC_ANSWER_MAX: Duration = EXEC_TURN_TIMEOUT.saturating_add(EXEC_START_TIMEOUT);

/// Longest silence of a channel that is alive: the runner sends a frame every 10 s.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Most runs that one call frees, as a call has a timeout.
pub(crate) const FREED_AT_ONCE: usize = 64;

/// Name of a run. A command of a project is one run, and each attempt of a task is a run of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunId {
    pub(crate) job: JobId,
    /// Number of the attempt, from 1; `None` for a command of a project.
    pub(crate) attempt: Option<u32>,
}

impl RunId {
    /// Returns the name of a job's run in this attempt.
    pub(crate) fn of(job: &Job, attempt: u32) -> Self {
        let attempt = match job.target() {
            Target::Project(_) | Target::Operations => None,
            Target::Pool => Some(attempt),
        };
        Self { job: job.id.clone(), attempt }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attempt {
            None => write!(f, "{}", self.job),
            Some(attempt) => write!(f, "{}-{attempt}", self.job),
        }
    }
}

/// Name of a run that rdev has not started: people may use the runner as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Foreign;

impl FromStr for RunId {
    type Err = Foreign;

    fn from_str(text: &str) -> Result<Self, Foreign> {
        if let Ok(job) = text.parse() {
            return Ok(Self { job, attempt: None });
        }
        let (job, attempt) = text.rsplit_once('-').ok_or(Foreign)?;
        let job = job.parse().map_err(|_| Foreign)?;
        Ok(Self { job, attempt: Some(attempt.parse().map_err(|_| Foreign)?) })
    }
}

/// Returns the exec of a program.
pub(crate) fn exec(argv: &[&str], stdin: Stdin) -> Exec {
    Exec { argv: argv.iter().map(|&word| word.to_owned()).collect(), stdin }
}

/// Returns a call of the runner in this pod, which does nothing in a pod that has replaced it. `call` is a verb of the
/// runner with its options; `more` are arguments that go by standard input: in a cluster the command line is part of a
/// URL, whose length is limited and which is logged.
pub(crate) fn in_pod(pod: &Pod, call: &[&str], more: &[String]) -> Exec {
    let (verb, rest) = call.split_at(call.len().min(1));
    let argv = [&["rdev-runner"], verb, &["--identity", &pod.uid], rest].concat();
    if more.is_empty() {
        return exec(&argv, Stdin::None);
    }
    exec(&[&argv[..], &["--arguments-stdin"]].concat(), Stdin::Given(encode_arguments(more).into()))
}

/// Calls the runner of a pod, and waits for the end of the call, 30 s at most.
pub(crate) async fn control(pods: &dyn Pods, pod: &Pod, call: &[&str]) -> anyhow::Result<()> {
    to_its_end(pods, pod, in_pod(pod, call, &[]), |_| Ok(())).await
}

/// Drops the output of ended runs, [`FREED_AT_ONCE`] at most. Their ends are kept.
pub(crate) async fn free(pods: &dyn Pods, pod: &Pod, runs: &[RunId]) -> anyhow::Result<()> {
    let ids: Vec<String> = runs.iter().flat_map(|run| ["--id".to_owned(), run.to_string()]).collect();
    to_its_end(pods, pod, in_pod(pod, &["gc"], &ids), |_| Ok(())).await
}

/// Removes folders of a pod.
pub(crate) async fn remove(pods: &dyn Pods, pod: &Pod, folders: &[String]) -> anyhow::Result<()> {
    let removal = ["--", "rm", "-rf", "--"].map(str::to_owned);
    let removal: Vec<String> = removal.into_iter().chain(folders.iter().cloned()).collect();
    to_its_end(pods, pod, in_pod(pod, &["exec"], &removal), |_| Ok(())).await
}

/// Calls the runner of a pod, and returns the text that it writes. More than `bytes_max` is an error.
pub(crate) async fn read(
    pods: &dyn Pods,
    pod: &Pod,
    call: &[&str],
    bytes_max: usize,
) -> anyhow::Result<String> {
    let mut text = Vec::new();
    to_its_end(pods, pod, in_pod(pod, call, &[]), |bytes| {
        text.extend_from_slice(bytes);
        anyhow::ensure!(text.len() <= bytes_max, "{call:?} wrote more than {bytes_max} bytes");
        Ok(())
    })
    .await?;
    Ok(String::from_utf8(text)?)
}

async fn to_its_end(
    pods: &dyn Pods,
    pod: &Pod,
    call: Exec,
    mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let run = async {
        let mut output = pods.exec(pod, call).await?;
        while let Some(bytes) = output.next().await {
            take(&bytes?)?;
        }
        Ok(())
    };
    timeout(SILENCE_MAX, run).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runs_name_comes_back_and_names_of_others_are_foreign() {
        let job = format!("cmd-{}", "0a".repeat(16));
        for name in [job.clone(), format!("{job}-1"), format!("{job}-4294967295")] {
            assert_eq!(name.parse::<RunId>().map(|run| run.to_string()), Ok(name));
        }
        for name in ["build-7", "cmd-7", &format!("{job}-x"), &format!("{job}-"), &format!("{job}-1-2")] {
            assert_eq!(name.parse::<RunId>(), Err(Foreign), "{name}");
        }
    }
}
