//! What a request becomes as a program with arguments, environment and input.

use std::time::Duration;

use rdev_domain::{AgentRequest, CommandRequest, Job, JobSpec, TaskRequest};
use rdev_ports::{Pod, Slot};
use rdev_runner::spec::Spec;

use crate::run::control::RunId;

mod git;

/// Time between the polite signal and SIGKILL.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// Output kept of one command; what is beyond it is announced as a gap.
const OUTPUT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// The runner's specification of a command. `git_remotes` is [`rdev_ports::Pods::git_remotes`].
pub(crate) fn spec(
    job: &Job,
    pod: &Pod,
    git_remotes: Option<&str>,
    slot: Option<&Slot>,
    attempt: u32,
) -> Spec {
    let mut spec = match &job.spec {
        JobSpec::Command { request: CommandRequest::Shell(shell), .. } => {
            let mut spec = Spec::new(words(["sh", "-c", "--", &shell.command]));
            spec.env = shell.env.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
            spec
        }
        JobSpec::Command { request: CommandRequest::Git(git), .. } => {
            let mut spec = Spec::new(git::argv(&git.args));
            spec.env = git::env(git_remotes);
            spec
        }
        JobSpec::Command { request: CommandRequest::Claude(agent), .. } => claude(agent),
        JobSpec::Task(work) => work_spec(job, work, pod, slot, attempt),
    };
    spec.cwd.clone_from(&pod.workspace);
    spec.timeout_ms = millis(job.timeout);
    spec.grace_ms = millis(GRACE);
    spec.journal_bytes_max = OUTPUT_BYTES_MAX;
    spec
}

/// Claude Code in print mode. The prompt goes in on standard input: an argument has a length limit, and
/// one that begins with a dash would be read as an option.
fn claude(agent: &AgentRequest) -> Spec {
    let mut argv = words(["claude", "-p", "--output-format", "stream-json", "--verbose"]);
    // The place itself is the sandbox, and nobody is there to be asked.
    argv.push("--dangerously-skip-permissions".to_owned());
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            argv.extend([name.to_owned(), value]);
        }
    };
    option("--model", agent.model.clone());
    option("--max-turns", agent.max_turns.map(|turns| turns.to_string()));
    option("--resume", agent.session_id.clone());
    let mut spec = Spec::new(argv);
    // Without it the agent refuses to skip permissions as root.
    spec.env = vec![("IS_SANDBOX".to_owned(), "1".to_owned())];
    spec.stdin = Some(agent.prompt.clone().into_bytes());
    spec.interrupt_first = true;
    spec
}

/// The folder of an attempt of a task, in its place.
pub(crate) fn checkout(job: &Job, pod: &Pod, slot: Option<&Slot>, attempt: u32) -> String {
    format!("{}/{}{}", pod.workspace, checkouts(slot), RunId::of(job, attempt))
}

/// The folders that an attempt has beside its checkout, and its tools' variables for them: what one task leaves in its
/// home, no other finds. The usual places below a home are named too, as the worker's own environment may name others.
fn own_folders(checkout: &str) -> [(&'static str, String); 7] {
    let (target, scratch) = (format!("{checkout}.home"), format!("{checkout}.tmp"));
    [
        ("XDG_CACHE_HOME", format!("{target}/.cache")),
        ("XDG_CONFIG_HOME", format!("{target}/.config")),
        ("XDG_DATA_HOME", format!("{target}/.local/share")),
        ("XDG_STATE_HOME", format!("{target}/.local/state")),
        ("XDG_RUNTIME_DIR", scratch.clone()),
        ("HOME", target),
        ("TMPDIR", scratch),
    ]
}

/// What the folders of a seat begin with.
fn checkouts(slot: Option<&Slot>) -> String {
    format!("task-{}-", slot.map_or(0, |slot| slot.number))
}

/// Checks out a repository in a new folder, and has each step run there by a shell of its own, until one
/// fails. Everything comes in as arguments: nothing of a request is read as a part of this program. What an
/// earlier task has left at this seat goes first: it was killed, or its files were collected. With files to be collected
/// the checkout stays; home and scratch folder never do.
const CHECKOUT_AND_STEPS: &str = r#"
before=$1 folder=$2 stays=$3 repository=$4 ref=$5
shift 5
rm -rf "$before"*
mkdir "$folder" && mkdir -m 700 "$folder.home" "$folder.tmp" || exit
if [ -n "$stays" ]; then
    trap 'rm -rf "$folder.home" "$folder.tmp"' EXIT
else
    trap 'cd / && rm -rf "$folder" "$folder.home" "$folder.tmp"' EXIT
fi
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$folder" || exit
if [ -n "$repository" ]; then
    echo "+ git clone $repository"
    git clone --quiet --no-checkout -- "$repository" . || exit
    if [ -n "$ref" ]; then
        echo "+ git checkout $ref"
        git checkout --quiet "$ref" -- 2>/dev/null ||
            { git fetch --quiet origin "$ref" && git checkout --quiet --detach FETCH_HEAD; } || exit
    else
        git checkout --quiet || exit
    fi
fi
number=0
for step; do
    number=$((number + 1))
    printf '+ %s\n' "$step"
    sh -ec -- "$step" || {
        code=$?
        echo "step $number failed with exit code $code" >&2
        exit "$code"
    }
done
"#;

fn work_spec(job: &Job, work: &TaskRequest, pod: &Pod, slot: Option<&Slot>, attempt: u32) -> Spec {
    let before = format!("{}/{}", pod.workspace, checkouts(slot));
    let folder = checkout(job, pod, slot, attempt);
    let stays = if work.artefacts.is_empty() { "" } else { "yes" };
    let mut argv = words(["sh", "-c", CHECKOUT_AND_STEPS, "sh", &before, &folder, stays]);
    argv.push(work.repository.clone().unwrap_or_default());
    argv.push(work.git_ref.clone().unwrap_or_default());
    argv.extend(work.steps.iter().cloned());
    let mut spec = Spec::new(argv);
    let about = [git::PROTOCOLS, ("RDEV_TASK_ID", job.id.as_str()), ("RDEV_TASK_KIND", work.kind.as_str())];
    let fixed = git::UNATTENDED.into_iter().chain(about);
    spec.env = fixed.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    spec.env.extend(own_folders(&folder).map(|(k, v)| (k.to_owned(), v)));
    spec.env.extend(work.env.iter().map(|(k, v)| (k.clone(), v.clone())));
    spec
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
