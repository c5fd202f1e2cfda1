//! Calls of the runner in a place, and the names that runs have there.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use futures_util::StreamExt;
use rdev_domain::{Job, JobId, Target};
use rdev_ports::{Exec, Pod, Pods, Stdin};
use rdev_runner::spec::encode_arguments;
use tokio::time::timeout;

/// A channel that is silent this long is dead: the runner speaks every 10 s.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Runs that are freed by one call: the time for it has an end.
pub(crate) const FREED_AT_ONCE: usize = 64;

/// The name of a run: a command of a project is one, and each attempt of a task is one of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunId {
    pub(crate) job: JobId,
    /// The attempt's number, from 1; `None` for a command of a project.
    pub(crate) attempt: Option<u32>,
}

impl RunId {
    /// The run of a command that has begun so often.
    pub(crate) fn of(job: &Job, attempt: u32) -> Self {
        let attempt = match job.target() {
            Target::Project(_) => None,
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

/// The run was not started by rdev: people may use the runner as well.
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

/// A program of a place.
pub(crate) fn exec(argv: &[&str], stdin: Stdin) -> Exec {
    Exec { argv: argv.iter().map(|&word| word.to_owned()).collect(), stdin }
}

/// A call of the runner of this place, which does nothing where another place has come in its stead. `call` is a verb of
/// the runner and what follows it; `more` are arguments that go by standard input: the whole command line is part of a
/// URL in a cluster, which has a longest length and is logged.
pub(crate) fn in_place(pod: &Pod, call: &[&str], more: &[String]) -> Exec {
    let (verb, rest) = call.split_at(call.len().min(1));
    let argv = [&["rdev-runner"], verb, &["--identity", &pod.uid], rest].concat();
    if more.is_empty() {
        return exec(&argv, Stdin::None);
    }
    exec(&[&argv[..], &["--arguments-stdin"]].concat(), Stdin::Given(encode_arguments(more).into()))
}

/// Calls the runner of a place, to the call's end.
pub(crate) async fn control(pods: &dyn Pods, pod: &Pod, call: &[&str]) -> anyhow::Result<()> {
    to_its_end(pods, pod, in_place(pod, call, &[]), |_| Ok(())).await
}

/// Has the output of runs dropped that are over, [`FREED_AT_ONCE`] at most. How they ended stays.
pub(crate) async fn free(pods: &dyn Pods, pod: &Pod, runs: &[RunId]) -> anyhow::Result<()> {
    let ids: Vec<String> = runs.iter().flat_map(|run| ["--id".to_owned(), run.to_string()]).collect();
    to_its_end(pods, pod, in_place(pod, &["gc"], &ids), |_| Ok(())).await
}

/// Removes folders of a place.
pub(crate) async fn remove(pods: &dyn Pods, pod: &Pod, folders: &[String]) -> anyhow::Result<()> {
    let removal = ["--", "rm", "-rf", "--"].map(str::to_owned);
    let removal: Vec<String> = removal.into_iter().chain(folders.iter().cloned()).collect();
    to_its_end(pods, pod, in_place(pod, &["exec"], &removal), |_| Ok(())).await
}

/// Calls the runner of a place, and gives the text that it writes. More than `bytes_max` is an error.
pub(crate) async fn read(
    pods: &dyn Pods,
    pod: &Pod,
    call: &[&str],
    bytes_max: usize,
) -> anyhow::Result<String> {
    let mut text = Vec::new();
    to_its_end(pods, pod, in_place(pod, call, &[]), |bytes| {
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
