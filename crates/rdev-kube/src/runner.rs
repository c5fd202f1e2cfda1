//! The runner of a pod: the image's own, or one that is copied in.

use rdev_domain::{Failure, Reason, Timestamp};
use rdev_ports::Diagnosis;

use crate::cluster::Cluster;
use crate::exec::{ExecError, ExecTarget};
use crate::pod::PodView;
use crate::runner_error::RunnerError;
use crate::shared_runs::{Owner, SharedRuns, pod_of};

/// Name of the program in images that have it.
const IN_IMAGE: &str = "rdev-runner";
/// Exit codes of `rdev-runner identity`: another pod took the folder over while this one lived, and a run
/// of the pod before is still running in it.
const EXIT_SHARED: i32 = 69;
const EXIT_IN_USE: i32 = 75;
/// Most bytes of output of the short programs here.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Prints the machine's architecture, whether this very runner is already installed, its path, and the
/// folder of runs, `-` for the default. A folder may exist, be writable, and be mounted so that no
/// program starts from it. $1: the runner's checksum.
const PROBE_SCRIPT: &str = r##"
usual=${RDEV_RUNS_DIR:-/run/rdev}
for runs in "$usual" /tmp/rdev; do
    mkdir -p "$runs" 2>/dev/null && [ -w "$runs" ] && break
    runs=
done
[ -n "$runs" ] || { echo "neither $usual nor /tmp/rdev can be written" >&2; exit 3; }
for bin in "$runs/bin" /tmp/rdev/bin /dev/shm/rdev/bin; do
    probe=$bin/.probe.$$
    mkdir -p "$bin" 2>/dev/null && { echo '#!/bin/sh' >"$probe"; } 2>/dev/null && chmod 700 "$probe" && {
        "$probe" 2>/dev/null
        [ $? -ne 126 ]
    } && rm -f "$probe" && break
    rm -f "$probe" 2>/dev/null
    bin=
done
[ -n "$bin" ] || { echo "no program can be started from $runs/bin, /tmp/rdev/bin or /dev/shm/rdev/bin (noexec?)" >&2; exit 3; }
program=$bin/rdev-runner-$(printf %.16s "$1")
there=no
[ -x "$program" ] && [ "$(sha256sum <"$program" | cut -c1-64)" = "$1" ] && there=yes
[ "$runs" = "$usual" ] && runs=-
echo "$(uname -m) $there $program $runs"
"##;

/// Writes standard input to a file, checks it, and renames it; prints its size meanwhile. $1: its name,
/// $2: its size, $3: its checksum, $4: pause between two reports, in seconds.
const COPY_SCRIPT: &str = r#"
umask 077
new=$1.$$
: >"$new"
(while sleep "$4" </dev/null >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do wc -c <"$new" 2>/dev/null; done) &
head -c "$2" >"$new" && [ "$(sha256sum <"$new" | cut -c1-64)" = "$3" ] && chmod 700 "$new" && mv "$new" "$1"
ended=$?
kill $! 2>/dev/null
[ $ended -eq 0 ] && exit 0
rm -f "$new"
echo "the copy of rdev-runner does not have the checksum $3" >&2
exit 4
"#;
/// Pause between two reports.
const COPY_REPORT_EVERY: &str = "1";

/// Executes an installed runner after a check of its checksum: the file belongs to the user of the jobs,
/// and a job may have replaced it to read the requests of the next. $1: its checksum, $2: its name, then
/// its arguments.
const VERIFIED_EXEC: &str = r#"
[ "$(sha256sum <"$2" | cut -c1-64)" = "$1" ] || { echo "$2 is not the runner that rdev has copied there" >&2; exit 71; }
shift
exec "$@"
"#;
/// Exit code for a runner that was replaced.
pub(crate) const EXIT_REPLACED: i32 = 71;
/// Effect of a lack of memory under version 2 of control groups, by default.
pub(crate) const KILLS_ALL: &str = "a lack of memory ends every command of the pod at once (memory.oom.group is 1); rdev ends the largest before that";

/// The runner that rdev brings along.
#[derive(Debug, Clone, Copy)]
pub struct Bundled {
    /// The program.
    pub program: &'static [u8],
    /// SHA-256 of the program in hexadecimal, lower case.
    pub sha256: &'static str,
    /// Version of its format and command line.
    pub protocol: u8,
    /// Machine that the program runs on, as `uname -m` names it.
    pub machine: &'static str,
}

/// Call of a pod's runner: program, checksum and folder of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Runner {
    program: String,
    /// Checksum, where the runner was copied in.
    checksum: Option<&'static str>,
    /// The folder of runs, where it is not the default.
    runs: Option<String>,
    /// Identity of that folder.
    pub(crate) runs_uid: String,
    /// Identities of the folder in earlier pods.
    pub(crate) former: Vec<String>,
    /// True when a lack of memory ends every process of the container at once; `None` where the runner
    /// does not report it.
    pub(crate) kills_all: Option<bool>,
}

impl Runner {
    /// Returns the arguments that call the runner, in place of those that begin with its name.
    pub(crate) fn argv(&self, mut argv: Vec<String>) -> Vec<String> {
        if argv.first().is_some_and(|program| program == IN_IMAGE) {
            argv[0].clone_from(&self.program);
            if let Some(runs) = &self.runs {
                argv.splice(2..2, ["--runs".to_owned(), runs.clone()]);
            }
            if let Some(checksum) = self.checksum {
                argv.splice(..0, checked(checksum));
            }
        }
        argv
    }

    /// Tells whether the folder has this identity, or had it before.
    pub(crate) fn has_runs_of(&self, identity: &str) -> bool {
        self.runs_uid == identity || self.former.iter().any(|former| former == identity)
    }

    /// Diagnosis of the node's handling of a lack of memory.
    pub(crate) fn finding_of_memory(&self) -> Diagnosis {
        match self.kills_all {
            Some(true) => Diagnosis::warning(
                "memory",
                KILLS_ALL,
                "singleProcessOOMKill: true in the kubelet's configuration (Kubernetes 1.32 on), or one task in a worker",
            ),
            Some(false) => {
                Diagnosis::good("memory", "a lack of memory ends one process (memory.oom.group is 0)")
            }
            None => {
                Diagnosis::good("memory", "a lack of memory ends one process (control groups of version 1)")
            }
        }
    }

    /// Diagnosis of the runner.
    pub(crate) fn finding(&self) -> Diagnosis {
        if self.program == IN_IMAGE {
            return Diagnosis::good("runner", "the image's own, of this version");
        }
        let seen = format!("copied in as {}", self.program);
        Diagnosis::warning(
            "runner",
            seen,
            "an image with this version's rdev-runner starts commands faster, and none of them can replace it",
        )
    }

    /// Finds the runner of a pod, or copies one in, and creates the folder of runs.
    pub(crate) async fn of(
        cluster: &Cluster,
        bundled: Bundled,
        target: &ExecTarget,
        pod: &PodView,
        shared_runs: &SharedRuns,
        now: Timestamp,
    ) -> Result<Self, RunnerError> {
        let mut query = IdentityQuery { cluster, target, program: IN_IMAGE.to_owned(), runs: None, pod };
        let mut checksum = None;
        let answer = match query.query(None).await {
            Ok(answer) if answer.protocol == bundled.protocol => answer,
            // The image has the runner of another version, one whose folder cannot be written, or none:
            // the bundled one is copied in. A report of a missing program may mean something else: the
            // shell's words are clearer.
            Ok(_) | Err(ExecError::NoProgram(_) | ExecError::Exit { .. } | ExecError::NotRun(_)) => {
                (query.program, query.runs) = install(cluster, bundled, target).await?;
                checksum = Some(bundled.sha256);
                query.query(None).await.map_err(|error| RunnerError::of(target, error))?
            }
            Err(error) => return Err(RunnerError::of(target, error)),
        };
        let Answer { uid, former, kills_all, .. } = query.claim_folder(answer, shared_runs, now).await?;
        Ok(Self { program: query.program, checksum, runs: query.runs, runs_uid: uid, former, kills_all })
    }
}

/// Query for the identity of a folder of runs.
struct IdentityQuery<'a> {
    cluster: &'a Cluster,
    target: &'a ExecTarget,
    program: String,
    runs: Option<String>,
    pod: &'a PodView,
}

/// Answer to the query.
struct Answer {
    protocol: u8,
    /// Identity of the folder.
    uid: String,
    /// Identities of the folder in earlier pods.
    former: Vec<String>,
    kills_all: Option<bool>,
}

impl IdentityQuery<'_> {
    /// Queries the runner's version and the identity of its folder of runs. A folder without an identity
    /// gets one of this pod; one with the identity `instead_of` is renamed.
    async fn query(&self, instead_of: Option<&str>) -> Result<Answer, ExecError> {
        let mut argv = vec![self.program.as_str(), "identity", "--within", &self.pod.uid];
        argv.extend(instead_of.iter().flat_map(|uid| ["--instead-of", uid]));
        argv.extend(self.runs.iter().flat_map(|runs| ["--runs", runs]));
        let answer = run(self.cluster, self.target, &argv, &[]).await?;
        let mut words = answer.split_whitespace();
        let (name, protocol, _folder, uid) = (words.next(), words.next(), words.next(), words.next());
        match (name, protocol.and_then(|protocol| protocol.parse().ok()), uid) {
            (Some(IN_IMAGE), Some(protocol), Some(uid)) => {
                let mut answer =
                    Answer { protocol, uid: uid.to_owned(), former: Vec::new(), kills_all: None };
                // Unknown words belong to a later version, and may be ignored.
                for (name, value) in words.filter_map(|word| word.split_once('=')) {
                    match name {
                        "before" => answer.former = value.split(',').map(str::to_owned).collect(),
                        "oom-group" => answer.kills_all = Some(value == "1"),
                        _ => {}
                    }
                }
                Ok(answer)
            }
            _ => Err(ExecError::Cut(anyhow::anyhow!("{} answered {answer:?}", self.program))),
        }
    }

    /// Makes this pod the owner of the folder. A folder that has outlived its pod is taken over.
    async fn claim_folder(
        &self,
        answer: Answer,
        shared_runs: &SharedRuns,
        now: Timestamp,
    ) -> Result<Answer, RunnerError> {
        let is_ours = |answer: &Answer| pod_of(&answer.uid) == self.pod.uid;
        if is_ours(&answer) {
            return Ok(answer);
        }
        let wait = |why: String| RunnerError::of(self.target, ExecError::Cut(anyhow::Error::msg(why)));
        if let Owner::Lives(words) = shared_runs.owner(&answer.uid, self.pod, now) {
            return Err(wait(format!("its folder of runs still belongs to {words}")));
        }
        match self.query(Some(&answer.uid)).await {
            Ok(taken) if is_ours(&taken) => {
                tracing::info!(
                    pod = self.pod.name,
                    before = answer.uid,
                    "folder of runs taken over from an earlier pod"
                );
                Ok(taken)
            }
            Ok(_) => Err(wait("another pod has taken over its folder of runs".to_owned())),
            Err(ExecError::Exit { code: EXIT_SHARED, stderr }) => {
                Err(RunnerError::Permanent(Failure::new(Reason::RunsShared, stderr)))
            }
            Err(ExecError::Exit { code: EXIT_IN_USE, stderr }) => Err(wait(stderr)),
            Err(error) => Err(RunnerError::of(self.target, error)),
        }
    }
}

/// Installs the runner. Returns its path, and the folder of runs where it is not the default.
///
/// Also in a pod that terminates: after an upgrade of rdev-api only the new runner attaches to the runs
/// there.
async fn install(
    cluster: &Cluster,
    bundled: Bundled,
    target: &ExecTarget,
) -> Result<(String, Option<String>), RunnerError> {
    let answer = shell(cluster, target, PROBE_SCRIPT, &[bundled.sha256], &[]).await?;
    let mut words = answer.split_whitespace();
    let mut word = || words.next();
    let (Some(machine), Some(there), Some(program), Some(runs)) = (word(), word(), word(), word()) else {
        return Err(RunnerError::of(
            target,
            ExecError::Cut(anyhow::anyhow!("its shell answered {answer:?}")),
        ));
    };
    if machine != bundled.machine {
        let message = format!(
            "the pod's machine is {machine}, and this rdev-api brings a runner for {}: use an image with {IN_IMAGE} in it",
            bundled.machine
        );
        return Err(RunnerError::Permanent(Failure::new(Reason::RunnerMissing, message)));
    }
    if there != "yes" {
        tracing::info!(pod = target.pod, program, "copying the runner into the pod");
        let size = bundled.program.len().to_string();
        let args = [program, &size, bundled.sha256, COPY_REPORT_EVERY];
        let argv = [&["sh", "-c", COPY_SCRIPT, "sh"], &args[..]].concat().into_iter().map(str::to_owned);
        let copied = cluster.feed(target, &argv.collect::<Vec<_>>(), bundled.program).await;
        copied.map_err(|error| of_shell(target, error))?;
    }
    Ok((program.to_owned(), (runs != "-").then(|| runs.to_owned())))
}

async fn shell(
    cluster: &Cluster,
    target: &ExecTarget,
    script: &str,
    args: &[&str],
    stdin: &[u8],
) -> Result<String, RunnerError> {
    let argv = [&["sh", "-c", script, "sh"], args].concat();
    run(cluster, target, &argv, stdin).await.map_err(|error| of_shell(target, error))
}

fn of_shell(target: &ExecTarget, error: ExecError) -> RunnerError {
    match error {
        ExecError::NoProgram(_) => RunnerError::Permanent(Failure::new(
            Reason::NoShell,
            format!("the image has neither {IN_IMAGE} nor a shell with which it could be copied in"),
        )),
        other => RunnerError::of(target, other),
    }
}

async fn run(
    cluster: &Cluster,
    target: &ExecTarget,
    argv: &[&str],
    stdin: &[u8],
) -> Result<String, ExecError> {
    let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
    cluster.run(target, &argv, stdin, ANSWER_BYTES_MAX).await
}

fn checked(checksum: &str) -> [String; 5] {
    ["sh", "-c", VERIFIED_EXEC, "sh", checksum].map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    use super::*;

    /// Probes inside a mount namespace: mounts of these folders, then the expected program and folder of
    /// runs.
    #[test]
    fn noexec_folders_are_skipped() {
        for (noexec, bin, runs) in [
            ("", "/tmp/runs/bin/", "-"),
            ("/tmp/runs", "/tmp/rdev/bin/", "-"),
            ("/tmp/runs /tmp/rdev", "/dev/shm/rdev/bin/", "-"),
        ] {
            let mounts = "mount -t tmpfs tmpfs /tmp && mount -t tmpfs tmpfs /dev/shm && mkdir -p /tmp/runs /tmp/rdev && \
                for folder in $NOEXEC; do mount -t tmpfs -o noexec tmpfs $folder || exit 9; done && exec sh -c \"$0\" sh \"$@\"";
            let output = Command::new("unshare")
                .args([
                    "--mount",
                    "--user",
                    "--map-root-user",
                    "sh",
                    "-c",
                    mounts,
                    PROBE_SCRIPT,
                    "0123456789abcdefg",
                ])
                .env("RDEV_RUNS_DIR", "/tmp/runs")
                .env("NOEXEC", noexec)
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let words: Vec<&str> = text.split_whitespace().collect();
            let program = format!("{bin}rdev-runner-0123456789abcdef");
            let seen = [std::env::consts::ARCH, "no", &program, runs];
            assert_eq!(words, seen, "{noexec}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    #[test]
    fn a_copy_reports_its_progress() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("copy");
        // Checksum of 200,000 times the letter a.
        let bytes = vec![b'a'; 200_000];
        let sum = Command::new("sh")
            .args(["-c", "head -c 200000 /dev/zero | tr '\\0' a | sha256sum | cut -c1-64"])
            .output();
        let sum = String::from_utf8(sum.unwrap().stdout).unwrap();
        let mut copy = Command::new("sh")
            .args(["-c", COPY_SCRIPT, "sh", name.to_str().unwrap(), "200000", sum.trim(), "0.02"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = copy.stdin.take().unwrap();
        let mut output =
            BufReader::new(copy.stdout.take().unwrap()).lines().map(|line| line.unwrap().trim().to_owned());
        stdin.write_all(&bytes[..100_000]).unwrap();
        stdin.flush().unwrap();
        assert!(output.any(|line| line.parse().is_ok_and(|bytes: u64| bytes > 50_000)), "it has half of it");
        stdin.write_all(&bytes[100_000..]).unwrap();
        assert!(copy.wait().unwrap().success());
        assert_eq!(std::fs::read(&name).unwrap(), bytes);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
