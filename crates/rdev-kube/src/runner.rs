//! The runner of a pod: the image's own, or one that is copied in.

use rdev_domain::{Failure, Reason, Timestamp};
use rdev_ports::Diagnosis;

use crate::KILLS_ALL;
use crate::cluster::Cluster;
use crate::exec::{ExecError, Target};
use crate::missing::Missing;
use crate::neighbours::{Holder, Neighbours, pod_of};
use crate::pod::PodView;

/// The program's name in images that have it.
const IN_IMAGE: &str = "rdev-runner";
/// `rdev-runner place` says with these exit codes that the folder was taken over by another pod while this one lived, and
/// that something of the pod before still runs in it.
const EXIT_SHARED: i32 = 69;
const EXIT_IN_USE: i32 = 75;
/// Most that the short programs here write.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Says the machine's architecture, whether the runner, and no other, is there already, where it would be, and the folder
/// of runs, `-` for its usual one. A folder may be there, writable, and mounted so that no program is started from it.
/// $1: the runner's checksum.
const LOOK: &str = r##"
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

/// Writes standard input to a file, checks it, and gives it its name; says meanwhile how much of it has come.
/// $1: its name, $2: its size, $3: its checksum, $4: pause between two words, in seconds.
const COPY: &str = r#"
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
/// Pause between two of its words.
const COPY_SAYS_EVERY: &str = "1";

/// Becomes a runner that was copied in, if it is the same still: its file belongs to the user of the commands, and one of
/// them may have put another program there, to read the orders of the next.
/// $1: its checksum, $2: its name, then its arguments.
const CHECKED: &str = r#"
[ "$(sha256sum <"$2" | cut -c1-64)" = "$1" ] || { echo "$2 is not the runner that rdev has copied there" >&2; exit 71; }
shift
exec "$@"
"#;
/// Its exit code for a runner that is another.
pub(crate) const EXIT_REPLACED: i32 = 71;

/// The runner that rdev brings along.
#[derive(Debug, Clone, Copy)]
pub struct Bundled {
    /// The program.
    pub program: &'static [u8],
    /// Its SHA-256 in hexadecimal, lower case.
    pub sha256: &'static str,
    /// Version of its format and command line.
    pub protocol: u8,
    /// The machine that it runs on, as `uname -m` names it.
    pub machine: &'static str,
}

/// How the runner of a pod is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Runner {
    program: String,
    /// Its checksum, where it was copied in.
    checksum: Option<&'static str>,
    /// The folder of runs, where it is not the program's own default.
    runs: Option<String>,
    /// Identity of that folder.
    pub(crate) runs_uid: String,
    /// Identities that it had in pods before this one.
    pub(crate) former: Vec<String>,
    /// A lack of memory ends every process of the container at once; `None` where it does not say.
    pub(crate) kills_all: Option<bool>,
}

impl Runner {
    /// The arguments that call it, in place of those that begin with its name.
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

    /// Tells whether its folder is the place of this identity, or was before.
    pub(crate) fn has_runs_of(&self, identity: &str) -> bool {
        self.runs_uid == identity || self.former.iter().any(|former| former == identity)
    }

    /// For an examination: how the node treats a lack of memory.
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

    /// For an examination.
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

    /// Finds the runner of a pod, or copies it in, and has the folder of runs made. Nothing is copied into a pod that is
    /// to go.
    pub(crate) async fn of(
        cluster: &Cluster,
        bundled: Bundled,
        target: &Target,
        pod: &PodView,
        neighbours: &Neighbours,
        now: Timestamp,
    ) -> Result<Self, Missing> {
        let mut place = Asked { cluster, target, program: IN_IMAGE.to_owned(), runs: None, pod };
        let mut checksum = None;
        let answer = match place.ask(None).await {
            Ok(answer) if answer.protocol == bundled.protocol => answer,
            // Another version's, one whose folder cannot be written, or none: ours is copied in.
            // Whoever tells of a missing program in words of its own may mean it: a shell tells more.
            Ok(_) | Err(ExecError::NoProgram(_) | ExecError::Exit { .. } | ExecError::NotRun(_)) => {
                (place.program, place.runs) = copy_in(cluster, bundled, target).await?;
                checksum = Some(bundled.sha256);
                place.ask(None).await.map_err(|error| Missing::of(target, error))?
            }
            Err(error) => return Err(Missing::of(target, error)),
        };
        let Answer { uid, former, kills_all, .. } = place.own(answer, neighbours, now).await?;
        Ok(Self { program: place.program, checksum, runs: place.runs, runs_uid: uid, former, kills_all })
    }
}

/// A runner that is asked for its folder of runs.
struct Asked<'a> {
    cluster: &'a Cluster,
    target: &'a Target,
    program: String,
    runs: Option<String>,
    pod: &'a PodView,
}

/// Its answer.
struct Answer {
    protocol: u8,
    /// Identity of the folder.
    uid: String,
    /// Identities that it had before.
    former: Vec<String>,
    kills_all: Option<bool>,
}

impl Asked<'_> {
    /// Asks for the runner's version and the identity of its folder of runs. The folder gets one of this pod where it has
    /// none, or the one that it is to have another in the stead of.
    async fn ask(&self, instead_of: Option<&str>) -> Result<Answer, ExecError> {
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
                // What is not known is of a later version, and may be passed over.
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

    /// Sees to it that the folder stands in the name of this pod. One that has outlived its pod is taken over.
    async fn own(&self, answer: Answer, neighbours: &Neighbours, now: Timestamp) -> Result<Answer, Missing> {
        let is_ours = |answer: &Answer| pod_of(&answer.uid) == self.pod.uid;
        if is_ours(&answer) {
            return Ok(answer);
        }
        let wait = |why: String| Missing::of(self.target, ExecError::Cut(anyhow::Error::msg(why)));
        if let Holder::Lives(words) = neighbours.holder(&answer.uid, self.pod, now) {
            return Err(wait(format!("it waits for {words}")));
        }
        match self.ask(Some(&answer.uid)).await {
            Ok(taken) if is_ours(&taken) => {
                tracing::info!(
                    pod = self.pod.name,
                    before = answer.uid,
                    "a folder of runs has outlived its pod"
                );
                Ok(taken)
            }
            Ok(_) => Err(wait("another pod has taken its folder of runs".to_owned())),
            Err(ExecError::Exit { code: EXIT_SHARED, stderr }) => {
                Err(Missing::Unusable(Failure::new(Reason::RunsShared, stderr)))
            }
            Err(ExecError::Exit { code: EXIT_IN_USE, stderr }) => Err(wait(stderr)),
            Err(error) => Err(Missing::of(self.target, error)),
        }
    }
}

/// Gives the program's name, and the folder of runs where it is not the usual one.
///
/// Also in a pod that is to go: after an upgrade of rdev-api what runs there is attached to by the new runner alone.
async fn copy_in(
    cluster: &Cluster,
    bundled: Bundled,
    target: &Target,
) -> Result<(String, Option<String>), Missing> {
    let answer = shell(cluster, target, LOOK, &[bundled.sha256], &[]).await?;
    let mut words = answer.split_whitespace();
    let mut word = || words.next();
    let (Some(machine), Some(there), Some(program), Some(runs)) = (word(), word(), word(), word()) else {
        return Err(Missing::of(target, ExecError::Cut(anyhow::anyhow!("its shell answered {answer:?}"))));
    };
    if machine != bundled.machine {
        let message = format!(
            "the pod's machine is {machine}, and this rdev-api brings a runner for {}: use an image with {IN_IMAGE} in it",
            bundled.machine
        );
        return Err(Missing::Unusable(Failure::new(Reason::RunnerMissing, message)));
    }
    if there != "yes" {
        tracing::info!(pod = target.pod, program, "copying the runner into the pod");
        let size = bundled.program.len().to_string();
        let args = [program, &size, bundled.sha256, COPY_SAYS_EVERY];
        let argv = [&["sh", "-c", COPY, "sh"], &args[..]].concat().into_iter().map(str::to_owned);
        let copied = cluster.feed(target, &argv.collect::<Vec<_>>(), bundled.program).await;
        copied.map_err(|error| of_shell(target, error))?;
    }
    Ok((program.to_owned(), (runs != "-").then(|| runs.to_owned())))
}

async fn shell(
    cluster: &Cluster,
    target: &Target,
    script: &str,
    args: &[&str],
    stdin: &[u8],
) -> Result<String, Missing> {
    let argv = [&["sh", "-c", script, "sh"], args].concat();
    run(cluster, target, &argv, stdin).await.map_err(|error| of_shell(target, error))
}

fn of_shell(target: &Target, error: ExecError) -> Missing {
    match error {
        ExecError::NoProgram(_) => Missing::Unusable(Failure::new(
            Reason::NoShell,
            format!("the image has neither {IN_IMAGE} nor a shell with which it could be copied in"),
        )),
        other => Missing::of(target, other),
    }
}

async fn run(cluster: &Cluster, target: &Target, argv: &[&str], stdin: &[u8]) -> Result<String, ExecError> {
    let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
    cluster.run(target, &argv, stdin, ANSWER_BYTES_MAX).await
}

fn checked(checksum: &str) -> [String; 5] {
    ["sh", "-c", CHECKED, "sh", checksum].map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    use super::*;

    /// Looks from within a place of its own: mounts of these folders, then where programs and runs are to be.
    #[test]
    fn folders_from_which_no_program_is_started_are_passed_over() {
        for (noexec, bin, runs) in [
            ("", "/tmp/runs/bin/", "-"),
            ("/tmp/runs", "/tmp/rdev/bin/", "-"),
            ("/tmp/runs /tmp/rdev", "/dev/shm/rdev/bin/", "-"),
        ] {
            let mounts = "mount -t tmpfs tmpfs /tmp && mount -t tmpfs tmpfs /dev/shm && mkdir -p /tmp/runs /tmp/rdev && \
                for folder in $NOEXEC; do mount -t tmpfs -o noexec tmpfs $folder || exit 9; done && exec sh -c \"$0\" sh \"$@\"";
            let output = Command::new("unshare")
                .args(["--mount", "--user", "--map-root-user", "sh", "-c", mounts, LOOK, "0123456789abcdefg"])
                .env("RDEV_RUNS_DIR", "/tmp/runs")
                .env("NOEXEC", noexec)
                .output()
                .unwrap();
            let told = String::from_utf8(output.stdout).unwrap();
            let words: Vec<&str> = told.split_whitespace().collect();
            let program = format!("{bin}rdev-runner-0123456789abcdef");
            let seen = [std::env::consts::ARCH, "no", &program, runs];
            assert_eq!(words, seen, "{noexec}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    #[test]
    fn a_copy_tells_how_much_of_it_has_come() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("copy");
        // The sum of 200,000 times the letter a.
        let bytes = vec![b'a'; 200_000];
        let sum = Command::new("sh")
            .args(["-c", "head -c 200000 /dev/zero | tr '\\0' a | sha256sum | cut -c1-64"])
            .output();
        let sum = String::from_utf8(sum.unwrap().stdout).unwrap();
        let mut copy = Command::new("sh")
            .args(["-c", COPY, "sh", name.to_str().unwrap(), "200000", sum.trim(), "0.02"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = copy.stdin.take().unwrap();
        let mut told =
            BufReader::new(copy.stdout.take().unwrap()).lines().map(|line| line.unwrap().trim().to_owned());
        stdin.write_all(&bytes[..100_000]).unwrap();
        stdin.flush().unwrap();
        assert!(told.any(|line| line.parse().is_ok_and(|bytes: u64| bytes > 50_000)), "it has half of it");
        stdin.write_all(&bytes[100_000..]).unwrap();
        assert!(copy.wait().unwrap().success());
        assert_eq!(std::fs::read(&name).unwrap(), bytes);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
